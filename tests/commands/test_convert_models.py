"""Models of all kinds as `convert` takes them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert.interpreter import Interpreter

from tfcompress.commands.convert import convert_file
from tfcompress.errors import UserError
from tfcompress.export.serving import ServingFunction
from tfcompress.export.sources import Source
from tfcompress.measure.interpreter import Runner, predict
from tfcompress.tflite.reading import read


def test_all_outputs_are_compared(tmp_path):
    x = tf_keras.Input((4,), name="x")
    outputs = [tf_keras.layers.Dense(n, name=f"dense_of_{n}")(x) for n in (3, 1)]
    done = convert_file(tf_keras.Model(x, outputs), tmp_path / "out.tflite", "float32")
    assert done.outputs == {"dense_of_3": "float32 (1, 3)", "dense_of_1": "float32 (1, 1)"}
    assert done.difference.largest_difference < 1e-6


@pytest.mark.parametrize(
    "layer", [keras.layers.LSTM(4), keras.layers.GRU(4), keras.layers.Bidirectional(keras.layers.LSTM(4))]
)
def test_recurrent_layers_of_keras_3_are_converted(tmp_path, layer):
    keras.Sequential([keras.Input((6, 3)), layer, keras.layers.Dense(2)]).save(tmp_path / "a.keras")
    assert convert_file(tmp_path / "a.keras", tmp_path / "a.tflite", "float32").difference.largest_difference < 1e-5


@pytest.mark.parametrize("wrap", [lambda layer: layer, tf_keras.layers.Bidirectional])
def test_a_recurrent_layer_forgets_its_state_after_each_inference(tmp_path, wrap):
    x = tf_keras.Input((6, 3), name="x")
    model = tf_keras.Model(x, wrap(tf_keras.layers.LSTM(4))(x))
    convert_file(model, tmp_path / "a.tflite", "float32")
    series = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)
    found = predict(tmp_path / "a.tflite", list(series))
    np.testing.assert_allclose(found, model(series), atol=1e-5)


def test_a_file_that_keeps_a_state_is_refused(tmp_path):
    """The converter fuses this layer, as it does in a SavedModel, into an operator with a state."""
    x = tf_keras.Input((6, 3), name="x")
    model = tf_keras.Model(x, tf_keras.layers.LSTM(4)(x))
    spec = [tf.TensorSpec((1, 6, 3), tf.float32, "x")]
    serve = tf.function(lambda x: {"y": model(x)}, spec, autograph=False)
    with pytest.raises(UserError, match="mine as float32: it keeps a state between its calls"):
        convert_file(Source("mine", ServingFunction(serve, model, "mine")), tmp_path / "a.tflite", "float32")
    assert not list(tmp_path.iterdir())


def test_augmentation_of_keras_3_is_left_out(tmp_path):
    layers = keras.layers
    augment = [layers.RandomFlip(), layers.RandomRotation(0.1), layers.Dropout(0.5), layers.GaussianNoise(0.1)]
    keras.Sequential([keras.Input((8, 8, 3)), *augment, layers.Flatten(), layers.Dense(2)]).save(tmp_path / "a.keras")
    found = convert_file(tmp_path / "a.keras", tmp_path / "a.tflite", "float32")
    assert found.difference.largest_difference < 1e-5
    assert len(list(read((tmp_path / "a.tflite").read_bytes()).operators())) <= 2


@pytest.mark.parametrize("library", [tf_keras, keras])
def test_outputs_keep_their_names_and_order(tmp_path, library):
    first, second = library.Input((3,), name="first"), library.Input((4,), name="second")
    dense = library.layers.Dense(2, name="dense")(second)
    both = library.layers.Concatenate(name="both")([first, second])
    library.Model([first, second], [both, dense, dense, first]).save(tmp_path / "a.keras")
    found = convert_file(tmp_path / "a.keras", tmp_path / "a.tflite", "float32")
    assert found.difference.largest_difference < 1e-6
    assert list(found.outputs.items()) == [
        ("both", "float32 (1, 7)"),
        ("dense", "float32 (1, 2)"),
        ("dense_1", "float32 (1, 2)"),
        ("first", "float32 (1, 3)"),
    ]


@pytest.mark.parametrize("library", [tf_keras, keras])
@pytest.mark.parametrize("keys", [("z", "a"), ()])
def test_outputs_of_a_subclassed_model_keep_their_names_and_order(tmp_path, library, keys):
    class Heads(library.Model):
        def __init__(self) -> None:
            super().__init__()
            self.heads = [library.layers.Dense(size) for size in (2, 3)]

        def call(self, x):
            outputs = [head(x) for head in self.heads]
            return dict(zip(keys, outputs, strict=True)) if keys else tuple(outputs)

    model = Heads()
    model(np.zeros((1, 4), np.float32))
    found = convert_file(model, tmp_path / "a.tflite", "float32")
    sizes = {"a": 3, "z": 2} if keys else {"output_0": 2, "output_1": 3}  # Keras sorts the keys of a dictionary.
    assert list(found.outputs.items()) == [(name, f"float32 (1, {size})") for name, size in sizes.items()]
    assert found.difference.largest_difference < 1e-6


@pytest.mark.parametrize("library", [tf_keras, keras])
def test_a_model_is_left_as_it_was(tmp_path, library):
    """Conversion computes in float32, without fused layers, and under names that TensorFlow takes."""
    x = library.Input((5, 3), name="_x")
    layer = library.layers.LSTM(4, dtype="float16")
    inner = library.Sequential([library.Input((5, 3)), layer])
    model = library.Model(x, {"scores": library.layers.Dense(2, dtype="mixed_float16")(inner(x))})
    before = [*map(np.array, model.get_weights())], getattr(layer, "_could_use_gpu_kernel", None), layer.compute_dtype
    found = convert_file(model, tmp_path / "a.tflite", "float32")
    assert (found.inputs, found.outputs) == ({"x": "float32 (1, 5, 3)"}, {"scores": "float32 (1, 2)"})
    assert found.difference.largest_difference < 1e-5
    after = [*map(np.array, model.get_weights())], getattr(layer, "_could_use_gpu_kernel", None), layer.compute_dtype
    assert before[1:] == after[1:]
    for one, other in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    assert np.asarray(model(np.zeros((1, 5, 3)))["scores"]).dtype == np.float16


def test_layers_of_keras_3_can_have_any_name(tmp_path):
    x = keras.Input((3,), name="my input")
    hidden = keras.layers.Dense(4, name="hidden layer")(x)
    model = keras.Model(x, [keras.layers.Dense(2, name="é")(hidden), keras.layers.ReLU(name="my output")(hidden)])
    found = convert_file(model, tmp_path / "a.tflite", "float32")
    assert found.difference.largest_difference < 1e-6
    assert (found.inputs, list(found.outputs)) == ({"my_input": "float32 (1, 3)"}, ["é", "my output"])
    assert [layer.name for layer in model.layers] == ["my input", "hidden layer", "é", "my output"]


@pytest.mark.parametrize("library", [tf_keras, keras])
@pytest.mark.parametrize("half", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_converted_as_float32(tmp_path, library, half):
    x = library.Input((8, 8, 3), name="image")
    features = library.layers.Flatten()(library.layers.Conv2D(4, 3, dtype=half)(x))
    library.Model(x, library.layers.Dense(3, dtype="float32")(features)).save(tmp_path / "a.keras")
    found = convert_file(tmp_path / "a.keras", tmp_path / "a.tflite", "float32")
    assert found.difference.largest_difference < 1e-5


def test_what_a_file_cannot_do_is_refused(tmp_path):
    x = tf_keras.Input((5, 3), batch_size=1)
    tf_keras.Model(x, tf_keras.layers.GRU(4, stateful=True, name="counter")(x)).save(tmp_path / "state.keras")
    vectorizer = tf_keras.layers.TextVectorization(output_sequence_length=4, vocabulary=["a", "b"])
    text = tf_keras.Input((), dtype="string", name="text")
    tf_keras.Model(text, tf_keras.layers.Embedding(4, 2)(vectorizer(text))).save(tmp_path / "text.keras")
    ids = tf_keras.Input((1,), dtype="int64", name="user")
    known = tf_keras.layers.IntegerLookup(vocabulary=[3, 5, 7])(ids)
    tf_keras.Model(ids, tf_keras.layers.Embedding(4, 2)(known)).save(tmp_path / "ids.keras")
    for name, message in {
        "state": "layer counter keeps a state between calls",
        "text": r"layer text_vectorization \(TextVectorization\) looks its input up",
        "ids": r"layer integer_lookup \(IntegerLookup\) looks its input up, which .* apply it to the data",
    }.items():
        with pytest.raises(UserError, match=message):
            convert_file(tmp_path / f"{name}.keras", tmp_path / "a.tflite", "float32")


class OverSteps(tf_keras.layers.Layer):
    """Loops over a tensor, which AutoGraph makes a loop in the graph."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        total = tf.zeros_like(x[:, 0])
        for step in tf.range(tf.shape(x)[1]):
            total = 0.5 * total + x[:, step]
        return total


def test_loops_over_tensors_are_converted(tmp_path):
    x = tf_keras.Input((6, 4), name="x")
    found = convert_file(tf_keras.Model(x, OverSteps()(x)), tmp_path / "a.tflite", "float32")
    assert found.difference.largest_difference < 1e-6


@pytest.mark.parametrize("library", [tf_keras, keras])
def test_an_input_can_be_a_single_number(tmp_path, library):
    x = library.Input((), dtype="int32", name="user")
    model = library.Model(x, library.layers.Dense(3)(library.layers.Embedding(20, 8)(x)))
    found = convert_file(model, tmp_path / "a.tflite", "float32")
    assert found.inputs == {"user": "int32 (1,)"}
    assert found.difference.largest_difference < 1e-6


class Pooled(keras.Model):
    """Takes tokens, and a mask of them or none."""

    def __init__(self) -> None:
        super().__init__()
        self.table = keras.layers.Embedding(20, 8)

    def call(self, ids, padding=None, training=None):
        x = self.table(ids)
        return keras.ops.mean(x if padding is None else x * keras.ops.cast(padding, "float32")[..., None], 1)


class Two(keras.Model):
    """Needs two arguments."""

    def call(self, a, b):
        return a + b


class Failing(tf_keras.Model):
    """Can be called eagerly alone."""

    def call(self, x):
        return x * float(x.numpy()[0, 0])


def test_arguments_that_keras_3_does_not_record_are_never_left_out_in_silence(tmp_path):
    tokens = np.ones((2, 6), np.int32)
    pooled, two = Pooled(), Two()
    pooled(tokens, padding=tokens)
    two(tokens, tokens)
    with pytest.warns(UserWarning, match=r"pooled is served without padding, .* `keras\.Model\(inputs, model"):
        convert_file(pooled, tmp_path / "a.tflite", "float32")
    with pytest.raises(UserError, match="model two takes the arguments a, b, of which Keras 3 keeps the shape of the"):
        convert_file(two, tmp_path / "a.tflite", "float32")
    inputs = {name: keras.Input((6,), dtype="int32", name=name) for name in ("ids", "padding")}
    found = convert_file(keras.Model(inputs, pooled(**inputs)), tmp_path / "a.tflite", "float32")
    assert set(found.inputs) == {"ids", "padding"}


def test_code_that_cannot_be_a_graph_is_refused(tmp_path):
    model = Failing()
    model(np.ones((2, 6), np.float32))
    with pytest.raises(UserError, match=r"failing fails when it is called with one example in a graph: .*numpy"):
        convert_file(model, tmp_path / "a.tflite", "float32")


@pytest.mark.parametrize("to", ["int8", "int8-full"])
def test_outputs_that_the_model_reads_itself_are_quantized_right(tmp_path, to):
    x = tf_keras.Input((8,), name="x")
    features = tf_keras.layers.Dense(16, activation="relu")(x)
    logits = tf_keras.layers.Dense(3)(features)
    outputs = {"features": features, "logits": logits, "scores": tf_keras.layers.Softmax()(logits), "same": x}
    model = tf_keras.Model(x, outputs)
    values = np.random.default_rng(0).normal(size=(32, 8)).astype(np.float32)
    found = convert_file(model, tmp_path / "a.tflite", to, [{"x": one} for one in values])
    assert sorted(found.outputs) == sorted(outputs)
    run = Interpreter(str(tmp_path / "a.tflite")).get_signature_runner()
    made = [run(x=one[None]) for one in values]
    for name, expected in model(values).items():
        np.testing.assert_allclose([one[name][0] for one in made], expected, atol=0.05 * np.abs(expected).max())


def test_weights_beyond_float16_stay_float32(tmp_path):
    x = tf_keras.Input((16,), name="x")
    dense = tf_keras.layers.Dense(16, name="large")
    model = tf_keras.Model(x, tf_keras.layers.Dense(16, name="small")(dense(x)))
    dense.kernel.assign(dense.kernel * 1e6)
    with pytest.warns(UserWarning, match=r"large/kernel:0 of model.* stays float32"):
        found = convert_file(model, tmp_path / "a.tflite", "float16")
    assert found.difference.largest_difference < 2e-3 * found.difference.largest_output


def test_a_model_with_an_operator_that_tflite_lacks_is_taken_apart(tmp_path):
    layers = tf_keras.layers
    pixels = tf_keras.Input((8, 8, 3), name="pixels")
    patches = tf.image.extract_patches(pixels, (1, 4, 4, 1), (1, 4, 4, 1), (1, 1, 1, 1), "VALID")
    x = layers.Dense(8, activation="gelu")(layers.Reshape((4, 48))(patches))
    outputs = [layers.Dense(3, name="second")(x), layers.Dense(2, name="first")(layers.Flatten()(x))]
    model = tf_keras.Model(pixels, outputs)
    convert_file(model, tmp_path / "model.tflite", "float32")
    example = np.random.default_rng(0).random((8, 8, 3), np.float32)
    found = Runner(tmp_path / "model.tflite").run_all({"pixels": example})
    assert list(found) == ["second", "first"]
    for values, expected in zip(found.values(), model(example[None]), strict=True):
        np.testing.assert_allclose(values, expected[0], atol=1e-5)
    model.export(str(tmp_path / "saved"))
    with pytest.raises(UserError, match=r"ExtractImagePatches.*; give the Keras model instead, as a \.keras or \.h5"):
        convert_file(tmp_path / "saved", tmp_path / "saved.tflite", "float32")


class Quantized(keras.layers.Layer):
    """Looks up the nearest of some vectors, and moves them in training."""

    def build(self, shape):
        self.vectors = self.add_weight(shape=(6, shape[-1]), initializer="random_normal", trainable=False)

    def call(self, x, training=False):
        nearest = keras.ops.argmin(keras.ops.sum((x[:, None] - self.vectors) ** 2, -1), -1)
        if training:
            self.vectors.assign(0.9 * self.vectors)
        return keras.ops.take(self.vectors, nearest, axis=0)


def test_only_what_inference_computes_is_taken_apart(tmp_path):
    x = keras.Input((4,), name="x")
    found = convert_file(keras.Model(x, Quantized()(x)), tmp_path / "a.tflite", "float32")
    assert found.difference.largest_difference < 1e-6
