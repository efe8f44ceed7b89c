import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.answers import answers
from tfcompress.errors import UserError
from tfcompress.models.functional import as_functional
from tfcompress.models.layers import MaskBias, ScaledDotProductAttention

layers = tf_keras.layers


def usual_vit(**attention) -> tf_keras.Model:
    """Returns a ViT as in most tutorials: Conv2D patches, MultiHeadAttention, softmax in the head."""
    image = tf_keras.Input((8, 8, 3), name="pixels")
    x = layers.Conv2D(16, 4, 4, name="patches")(image)
    x = layers.Reshape((4, 16))(x)
    h = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8, name="mha", **attention)(h, h)])
    x = layers.GlobalAveragePooling1D()(x)
    return tf_keras.Model(image, layers.Dense(10, activation="softmax", name="scores")(x))


def types(model):
    return [type(layer) for layer in model.layers]


@pytest.mark.parametrize(
    "attention", [{}, {"use_bias": False}, {"value_dim": 4}, {"output_shape": 16}, {"dropout": 0.1}]
)
def test_attention_patches_and_softmax_are_rewritten_with_the_same_outputs(images, attention):
    model = usual_vit(**attention)
    model.set_weights([np.random.default_rng(0).normal(size=w.shape, scale=0.3) for w in model.get_weights()])
    rewritten = as_functional(model)
    np.testing.assert_allclose(answers(rewritten, images), answers(model, images), atol=1e-5)
    assert layers.MultiHeadAttention not in types(rewritten)
    assert layers.Conv2D not in types(rewritten)
    names = {layer.name for layer in rewritten.layers if type(layer) is layers.Dense}
    assert names == {"patches", "mha_query", "mha_key", "mha_value", "mha_output", "scores"}
    assert rewritten.layers[-1].name == "scores_softmax"
    assert rewritten.input_names == ["pixels"]


def test_frozen_layers_stay_frozen():
    model = usual_vit()
    for name in ("patches", "mha"):
        model.get_layer(name).trainable = False
    frozen = {layer.name for layer in as_functional(model).layers if not layer.trainable}
    assert frozen == {"patches", "mha_query", "mha_key", "mha_value", "mha_output"}


def test_a_mask_becomes_a_bias():
    tokens, mask = tf_keras.Input((5, 8)), tf_keras.Input((5,), dtype="int32")
    x = layers.MultiHeadAttention(2, 4)(tokens, tokens, attention_mask=mask[:, None, :])
    model = tf_keras.Model([tokens, mask], layers.Dense(3)(layers.Flatten()(x)))
    rewritten = as_functional(model)
    assert {MaskBias, ScaledDotProductAttention} <= set(types(rewritten))
    values = np.random.default_rng(0).normal(size=(4, 5, 8)).astype(np.float32)
    kept = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 1, 0]], np.int32)
    expected, found = (answers(m, [values, kept]) for m in (model, rewritten))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_cross_attention_keeps_query_key_and_value_apart():
    query, value, key = tf_keras.Input((3, 8)), tf_keras.Input((5, 6)), tf_keras.Input((5, 7))
    x = layers.MultiHeadAttention(2, 4, value_dim=3)(query, value, key)
    model = tf_keras.Model([query, value, key], layers.Dense(2)(layers.Flatten()(x)))
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(2, *x.shape[1:])).astype(np.float32) for x in model.inputs]
    expected, found = (answers(m, inputs) for m in (model, as_functional(model)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_shared_layers_stay_shared(images):
    image = tf_keras.Input((8, 8, 3))
    shared = layers.Dense(3, name="shared")
    model = tf_keras.Model(image, layers.Dense(10)(layers.Flatten()(shared(shared(image)))))
    rewritten = as_functional(model)
    assert [layer.name for layer in rewritten.layers].count("shared") == 1
    np.testing.assert_allclose(answers(rewritten, images), answers(model, images), atol=1e-5)


def test_a_sequential_model_is_accepted(images):
    model = tf_keras.Sequential([tf_keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(10)])
    rewritten = as_functional(model)
    np.testing.assert_allclose(answers(rewritten, images), answers(model, images), atol=1e-6)


def test_an_overlapping_convolution_is_not_rewritten():
    image = tf_keras.Input((8, 8, 3))
    model = tf_keras.Model(image, layers.Dense(2)(layers.Flatten()(layers.Conv2D(4, 3, 2)(image))))
    assert layers.Conv2D in types(as_functional(model))


class Subclassed(tf_keras.Model):
    def call(self, inputs):
        return inputs


def two_outputs():
    x = tf_keras.Input((4,))
    return tf_keras.Model(x, [layers.Dense(2)(x), layers.Dense(3)(x)])


def test_shared_attention_stays_shared():
    x = tf_keras.Input((4, 8))
    shared = layers.MultiHeadAttention(2, 4, name="mha")
    model = tf_keras.Model(x, layers.Dense(2)(layers.Flatten()(shared(shared(x, x), x))))
    rewritten = as_functional(model)
    assert [layer.name for layer in rewritten.layers].count("mha_query") == 1
    values = np.random.default_rng(0).normal(size=(3, 4, 8)).astype(np.float32)
    np.testing.assert_allclose(answers(rewritten, values), answers(model, values), atol=1e-5)


def open_shape():
    x = tf_keras.Input((None, 4), name="tokens")
    return tf_keras.Model(x, layers.Dense(2)(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Subclassed, "has never been called"),
        (lambda: tf_keras.Sequential([layers.Dense(2)]), "has never been called"),
        (lambda: 3, "builtins.int; pass a model of tf_keras or Keras 3"),
        (open_shape, "input tokens has shape .* all dimensions but the batch must be fixed"),
    ],
)
def test_models_that_cannot_be_rewritten_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        as_functional(make())


def test_all_outputs_are_kept():
    model = two_outputs()
    inputs = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    for found, expected in zip(as_functional(model)(inputs), model(inputs), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_losses_that_layers_add_are_named_and_those_of_keras_stay(library):
    class Penalty(library.layers.Layer):
        def call(self, x):
            self.add_loss(0.1 * tf.reduce_sum(tf.square(x)) if library is tf_keras else keras.ops.sum(x * x))
            return x

    x = library.Input((4,))
    penalized = Penalty(name="penalty")(library.layers.ActivityRegularization(0.1)(x))
    model = library.Model(x, library.layers.Dense(3, kernel_regularizer="l2")(penalized), name="mine")
    with pytest.warns(
        UserWarning, match="^model mine is trained without the losses .* with add_loss, here in penalty;"
    ):
        copy = as_functional(model)
    copy(np.ones((2, 4), np.float32))
    assert len(copy.losses) == 2


@pytest.mark.parametrize(
    "activation",
    ["relu6", lambda x: keras.ops.clip(x, -10, 10), lambda x: keras.ops.minimum(x * keras.ops.sigmoid(x), 10)],
)
def test_activations_that_are_cut_off_far_from_zero_stay_cut_off(activation):
    x = keras.Input((8,))
    h = keras.layers.Dense(4, activation=activation, kernel_initializer="ones")(x)
    model = keras.Model(x, keras.layers.Dense(3)(h))
    large = np.linspace(-9, 9, 40, dtype=np.float32).reshape(5, 8)
    np.testing.assert_allclose(answers(as_functional(model), large), answers(model, large), rtol=1e-5, atol=1e-5)


class AboveFive(layers.Layer):
    def call(self, ids):
        tf.debugging.assert_greater(ids, 5)
        return tf.cast(ids, tf.float32)


def test_a_model_that_fails_with_other_examples_than_its_own_is_refused():
    x = tf_keras.Input((2,), dtype="int32", name="x")
    model = tf_keras.Model(x, layers.Dense(3)(AboveFive()(x)), name="picky")
    with pytest.raises(UserError, match=r"model picky fails when it is called with a batch of examples: .*;"):
        as_functional(model)


@pytest.mark.parametrize("library", [tf_keras, keras])
def test_a_state_between_calls_is_refused(library):
    x = library.Input((5, 3), batch_size=2, name="x")
    model = library.Model(x, library.layers.LSTM(4, stateful=True, name="counter")(x))
    with pytest.raises(UserError, match="layer counter keeps a state between calls"):
        as_functional(model)
