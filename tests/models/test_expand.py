"""Models as people write them, of Keras 2 and Keras 3, taken apart into stock layers with the same outputs."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from keras import ops

from tfcompress.errors import UserError
from tfcompress.models.functional import as_functional
from tfcompress.models.layers import ScaledDotProductAttention

WIDTH, PATCHES = 16, 4


class Patches(keras.layers.Layer):
    """Cuts patches of 8 × 8 with a batch size that only the tensor knows."""

    def call(self, images):
        patches = ops.image.extract_patches(images, size=8)
        return ops.reshape(patches, (ops.shape(images)[0], -1, 8 * 8 * 3))


class Encoder(keras.layers.Layer):
    """Projects patches, and adds a class token and positions that it holds by itself."""

    def __init__(self, **options):
        super().__init__(**options)
        self.project = keras.layers.Dense(WIDTH)
        self.positions = keras.layers.Embedding(PATCHES, WIDTH)
        self.token = self.add_weight(shape=(1, 1, WIDTH), name="token")

    def call(self, patches):
        embedded = self.project(patches) + self.positions(ops.arange(0, PATCHES))
        token = ops.broadcast_to(self.token, (ops.shape(patches)[0], 1, WIDTH))
        return ops.concatenate([token, embedded], axis=1)


class Block(keras.layers.Layer):
    """A transformer block with the default LayerNormalization."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norms = [keras.layers.LayerNormalization() for _ in range(2)]
        self.attention = keras.layers.MultiHeadAttention(2, 8, dropout=0.1)
        self.expand = keras.layers.Dense(2 * WIDTH, activation=keras.activations.gelu)
        self.dropout = keras.layers.Dropout(0.1)
        self.contract = keras.layers.Dense(WIDTH)

    def call(self, x, training=None):
        y = self.norms[0](x)
        x = x + self.attention(y, y, training=training)
        y = self.dropout(self.expand(self.norms[1](x)), training=training)
        return x + self.contract(y)


class Transformer(keras.Model):
    """A subclassed vision transformer in the manner of keras.io."""

    def __init__(self, **options):
        super().__init__(**options)
        self.patches, self.encoder = Patches(), Encoder()
        self.blocks = [Block() for _ in range(2)]
        self.head = keras.layers.Dense(3)

    def call(self, images, training=None):
        x = self.encoder(self.patches(images))
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(ops.mean(x, axis=1))


class Mixer(tf_keras.Model):
    """A subclassed tf_keras model with operations between its layers."""

    def __init__(self):
        super().__init__()
        self.inner = tf_keras.Sequential([tf_keras.layers.Dense(WIDTH), tf_keras.layers.Dense(WIDTH)])
        self.scale = self.add_weight("scale", (WIDTH,), initializer="ones")
        self.head = tf_keras.layers.Dense(3)

    def call(self, x, training=None):
        x = tf.reshape(x, [tf.shape(x)[0], -1, 24])
        y = tf.nn.gelu(self.inner(x)) * self.scale
        return self.head(tf.reduce_mean(y - tf.transpose(y, [0, 1, 2]) * 0.5, axis=1))


def kinds(model: tf_keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def check(model, features, tolerance: float = 2e-5) -> tf_keras.Model:
    """Takes a model apart, saves and loads the result, and compares outputs."""
    expected = np.asarray(tf.cast(model(features), tf.float32))
    functional = as_functional(model)
    np.testing.assert_allclose(functional(features), expected, atol=tolerance * max(1, np.abs(expected).max()))
    assert all(type(layer).__module__.startswith(("tf_keras.", "tfcompress.")) for layer in functional.layers)
    return functional


def test_a_subclassed_transformer_of_keras_3(tmp_path):
    model, images = Transformer(), np.random.default_rng(0).uniform(size=(3, 16, 16, 3)).astype(np.float32)
    model(images)
    functional = check(model, images)
    found = kinds(functional)
    assert found.count("LayerNormalization") == 4
    assert found.count("ScaledDotProductAttention") == found.count("Dropout") == 2
    assert found.count("Dense") == 1 + 2 * 6 + 1
    functional.save(tmp_path / "a.h5")
    loaded = tf_keras.models.load_model(tmp_path / "a.h5")
    np.testing.assert_allclose(loaded(images), model(images), atol=2e-5)


def test_a_subclassed_model_of_tf_keras():
    model, x = Mixer(), np.random.default_rng(0).normal(size=(2, 4, 24)).astype(np.float32)
    model(x)
    assert kinds(check(model, x)).count("Dense") == 3


@pytest.mark.parametrize("library", [tf_keras, keras])
def test_models_inside_models(library):
    layers = library.layers
    inner = library.Sequential([library.Input((8,)), layers.Dense(6, activation="relu"), layers.Dropout(0.5)])
    x = library.Input((8,), name="x")
    middle = library.Model(x, layers.Dense(4)(inner(x)))
    outer = library.Input((8,), name="features")
    model = library.Model(outer, layers.Dense(3)(middle(layers.Rescaling(1 / 255)(outer))))
    functional = check(model, np.random.default_rng(0).uniform(0, 255, (2, 8)).astype(np.float32))
    assert kinds(functional) == ["InputLayer", "Rescaling", "Dense", "Dropout", "Dense", "Dense"]
    assert functional.input_names == ["features"]


@pytest.mark.parametrize("library", [tf_keras, keras])
def test_masks_are_kept(library):
    layers = library.layers
    ids = library.Input((6,), dtype="int32", name="ids")
    x = layers.Embedding(9, 8, mask_zero=True)(ids)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)])
    model = library.Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    functional = check(model, np.array([[3, 4, 5, 0, 0, 0], [1, 2, 3, 4, 5, 6]], np.int32))
    assert not any(getattr(layer, "mask_zero", False) for layer in functional.layers)


def test_a_mask_that_is_an_input_goes_no_further():
    layers = tf_keras.layers
    inputs = tf_keras.Input((5, 4))
    model = as_functional(tf_keras.Model(inputs, layers.GRU(6, return_sequences=True)(layers.Masking()(inputs))))
    mean = tf_keras.Model(model.inputs, layers.GlobalAveragePooling1D()(model.output))
    rows = np.random.default_rng(0).random((2, 5, 4), np.float32)
    rows[:, 3:] = 0
    np.testing.assert_allclose(mean(rows), model(rows).numpy().mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("library", [tf_keras, keras])
def test_a_causal_mask_is_kept(library):
    x = library.Input((5, 8), name="x")
    y = library.layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)
    model = library.Model(x, library.layers.Flatten()(y))
    functional = check(model, np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32))
    assert any(isinstance(layer, ScaledDotProductAttention) for layer in functional.layers)


@pytest.mark.parametrize("layer", ["LSTM", "GRU"])
def test_recurrent_layers_see_the_mask(layer):
    ids = keras.Input((6,), dtype="int32", name="ids")
    x = keras.layers.Embedding(9, 8, mask_zero=True)(ids)
    x = getattr(keras.layers, layer)(4)(x)
    check(keras.Model(ids, keras.layers.Dense(2)(x)), np.array([[3, 4, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]], np.int32))


def test_keras_3_gives_no_mask_to_a_recurrent_layer_with_initial_states():
    first, second = keras.Input((6,), dtype="int32", name="first"), keras.Input((4,), dtype="int32", name="second")
    embedding = keras.layers.Embedding(9, 8, mask_zero=True)
    _, state = keras.layers.GRU(5, return_state=True)(embedding(first))
    x = keras.layers.GRU(5)(embedding(second), initial_state=state)
    ids = [np.array([[3, 4, 5, 0, 0, 0]], np.int32), np.array([[3, 4, 0, 0]], np.int32)]
    check(keras.Model([first, second], keras.layers.Dense(2)(x)), ids)


class Product(keras.Model):
    """Takes two arguments, of which Keras 3 records the first."""

    def __init__(self):
        super().__init__()
        self.left, self.right = keras.layers.Dense(3), keras.layers.Dense(3)

    def call(self, x, other=None):
        return self.left(x) * self.right(other)


def test_inputs_that_are_passed_by_keyword():
    model, rng = Product(), np.random.default_rng(0)
    features = {name: rng.normal(size=(2, 4)).astype(np.float32) for name in ("x", "other")}
    expected = np.asarray(model(features["x"], other=features["other"]))
    functional = as_functional(model, {name: tf.TensorSpec((4,), tf.float32) for name in features})
    np.testing.assert_allclose(functional(features), expected, atol=1e-5)


def test_a_failure_in_the_models_code_is_told_by_its_reason():
    model = Product()
    model(tf.zeros((2, 4)), other=tf.zeros((2, 4)))
    with pytest.raises(UserError, match=r"model \w+ cannot be taken apart.*Inputs to a layer should be tensors"):
        as_functional(model)


@pytest.mark.parametrize("library", [tf_keras, keras])
def test_grouped_convolutions(library):
    layers = library.layers
    images = library.Input((8, 8, 3))
    x = layers.SeparableConv2D(4, 3, dilation_rate=2)(images)
    x = layers.Conv2D(8, 3, groups=2, activation="swish")(x)
    model = library.Model(images, layers.Dense(2)(layers.GlobalMaxPooling2D()(x)))
    check(model, np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32))


class LastToken(keras.layers.Layer):
    """Takes the last token that is not padding, by the number of each example."""

    def call(self, x, ids):
        last = ops.sum(ops.cast(ops.not_equal(ids, 0), "int32"), axis=1) - 1
        return tf.gather_nd(x, tf.stack([tf.range(tf.shape(x)[0]), last], axis=1))


def test_examples_may_be_numbered():
    ids = keras.Input((6,), dtype="int32", name="ids")
    x = LastToken()(keras.layers.Embedding(9, 8)(ids), ids)
    check(keras.Model(ids, keras.layers.Dense(2)(x)), np.array([[3, 4, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]], np.int32))


class Less(keras.layers.Layer):
    """Takes something of the whole batch off each example."""

    def __init__(self, of_batch):
        super().__init__()
        self.of_batch = of_batch

    def call(self, x):
        return x - self.of_batch(x)


@pytest.mark.parametrize("of_batch", [lambda x: ops.mean(x, axis=0, keepdims=True), lambda x: x[:1], lambda x: x[-1:]])
def test_examples_that_depend_on_each_other_are_refused(of_batch):
    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(2)(Less(of_batch)(x)))
    with pytest.raises(UserError, match="gives an example another output alone than in a batch"):
        as_functional(model)


def own_cell(library):
    """Returns a recurrent cell of one Dense layer per argument."""
    layers = library.layers

    class Cell(layers.Layer):
        def __init__(self, units):
            super().__init__()
            self.state_size = self.output_size = units
            self.of_input, self.of_state = layers.Dense(units), layers.Dense(units, use_bias=False)

        def build(self, shape):
            self.of_input.build(shape)
            self.of_state.build((None, self.state_size))
            super().build(shape)

        def call(self, x, states):
            state = tf.nn.tanh(self.of_input(x) + self.of_state(states[0]))
            return state, [state]

    return Cell(5)


@pytest.mark.parametrize("library", [tf_keras, keras])
def test_recurrent_layers_with_a_users_cell_are_unrolled(library):
    layers = library.layers
    ids = library.Input((3,), dtype="int32", name="ids")
    recurrent = layers.RNN(own_cell(library))
    model = library.Model(ids, layers.Dense(2)(recurrent(layers.Embedding(9, 4, mask_zero=True)(ids))))
    functional = check(model, np.array([[3, 4, 0], [1, 2, 3]], np.int32))
    assert kinds(functional).count("Dense") == 3
    assert not recurrent.unroll


class Repeated(keras.layers.Layer):
    """Repeats a row, for a number of examples that only the tensor knows."""

    def call(self, x):
        return tf.broadcast_to(x[:, None], [tf.shape(x)[0], 5, 8])


def test_a_shape_made_of_the_batch_is_known_to_the_layers_that_follow():
    x = keras.Input((8,), name="x")
    model = keras.Model(x, keras.layers.Flatten()(keras.layers.Dense(2)(Repeated()(x))))
    check(model, np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32))


def python_code(x):
    return tf.ensure_shape(tf.numpy_function(lambda array: array * 2, [x], tf.float32), [None, 4])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (python_code, r"layer lambda\w* uses TensorFlow's PyFunc, which runs Python code"),
        (lambda x: x + tf.random.normal(tf.shape(x)), "gives other outputs each time that it is called"),
    ],
)
def test_functions_that_no_file_can_hold_are_refused_by_what_they_do(function, message):
    x = tf_keras.Input((4,), name="x")
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(tf_keras.layers.Lambda(function)(x)))
    with pytest.raises(UserError, match=message):
        as_functional(model)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.nan_to_num(ops.where(x > 0, x, float("nan"))),
        lambda x: ops.median(x, axis=1),
        lambda x: ops.cast(ops.argmax(x, axis=-1, keepdims=True), "float32"),
        lambda x: ops.cast(ops.argmin(x, axis=-1, keepdims=True), "float32"),
    ],
    ids=["nan", "median", "argmax", "argmin"],
)
def test_operations_of_keras_3(function):
    x = keras.Input((6, 8), name="x")
    model = keras.Model(x, keras.layers.Dense(3)(keras.layers.Flatten()(function(x))))
    check(model, np.random.default_rng(0).normal(size=(4, 6, 8)).astype(np.float32))


@pytest.mark.parametrize("library", [tf_keras, keras])
@pytest.mark.parametrize("mode", ["multi_hot", "count"])
def test_encoded_categories_are_one_hot_vectors_put_together(library, mode):
    x = library.Input((4,), name="x", dtype="int32")
    model = library.Model(x, library.layers.Dense(3)(library.layers.CategoryEncoding(20, output_mode=mode)(x)))
    check(model, np.random.default_rng(0).integers(0, 20, (5, 4)))


class WithConstant(keras.layers.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.positions = ops.cast(np.arange(48).reshape(6, 8) / 48, self.compute_dtype)

    def call(self, x):
        return x + self.positions


class WithFixedType(tf_keras.layers.Layer):
    def call(self, x):
        return x * tf.constant(0.5, tf.float16)


def test_constants_in_half_precision_become_float32_and_a_fixed_type_is_named():
    x = keras.Input((6, 8), name="x")
    check(keras.Model(x, WithConstant(dtype="mixed_float16")(x)), np.ones((2, 6, 8), np.float32), 1e-2)
    x = tf_keras.Input((6, 8), name="x")
    with pytest.raises(UserError, match=r"layer with_fixed_type fails .* use the layer's compute_dtype in place of a"):
        as_functional(tf_keras.Model(x, WithFixedType(dtype="mixed_float16")(x)))
