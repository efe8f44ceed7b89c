import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert.interpreter import Interpreter

from tests.answers import answers
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.measure.interpreter import predict
from tfcompress.packed import file_weights
from tfcompress.tflite import reading
from tfcompress.tflite.runtimes import minimum_runtime


@pytest.mark.parametrize(("stored_as", "tolerance"), [("float32", 1e-5), ("float16", 5e-3), ("dynamic", 0.1)])
def test_a_file_computes_the_probabilities_of_its_model(tiny_vit, images, tmp_path, stored_as, tolerance):
    content = convert(tiny_vit, stored_as)
    (tmp_path / "model.tflite").write_bytes(content)
    found = predict(tmp_path / "model.tflite", images)
    np.testing.assert_allclose(found, tf.nn.softmax(answers(tiny_vit, images)), atol=tolerance)
    major, minor = (int(part) for part in minimum_runtime(content).split(".")[:2])
    assert (major, minor) <= (2, 16)


def test_inputs_and_outputs_have_names(tiny_vit):
    signature = {"inputs": ["image"], "outputs": ["probabilities"]}
    assert Interpreter(model_content=convert(tiny_vit, "float32")).get_signature_list() == {
        "serving_default": signature
    }
    logits = Interpreter(model_content=convert(tiny_vit, "float32", logits=True))
    assert logits.get_signature_list()["serving_default"]["outputs"] == ["logits"]


def test_several_inputs_keep_their_names():
    left, right = tf_keras.Input((4,), name="left"), tf_keras.Input((4,), name="right")
    model = tf_keras.Model([left, right], tf_keras.layers.Dense(3)(left - right))
    runner = Interpreter(model_content=convert(model, "float32", logits=True)).get_signature_runner()
    values = np.random.default_rng(0).random((2, 1, 4), np.float32)
    expected = answers(model, list(values))
    np.testing.assert_allclose(runner(left=values[0], right=values[1])["logits"], expected, atol=1e-6)


def test_scales_are_per_tensor_unless_asked_for_per_channel(tiny_vit):
    for per_channel, scales in ((False, {1}), (True, {16, 64})):
        stored = file_weights.weights(convert(tiny_vit, "dynamic", per_channel=per_channel))
        assert {len(w.scales) for w in stored if w.format == "int8"} == scales


def test_softmax_and_layer_norm_stay_float_in_a_quantized_file(compressed):
    content = convert(compressed["quantize"][0], "int8")
    graph = reading.read(content).graphs[0]
    types = {}
    for operator in graph.operators:
        types.setdefault(operator.kind, set()).add(operator.outputs[0].dtype)
    assert "int8" in types["FULLY_CONNECTED"]
    for name in ("SOFTMAX", "RSQRT", "MEAN", "SQUARED_DIFFERENCE"):
        assert types[name] == {"float32"}, name


def test_an_operator_that_tflite_does_not_have_is_named():
    x = tf_keras.Input((4,))
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(tf.math.bessel_i0e(tf.math.erfinv(x))))
    expected = r"cannot be converted to float32: TFLite has no operator for TensorFlow's Erfinv, BesselI0e; build"
    with pytest.raises(UserError, match=expected):
        convert(model, "float32")


def test_a_file_keeps_its_names_if_a_layer_reads_a_variable_that_is_not_its_own():
    global_scale, x = tf.Variable(2.0), tf_keras.Input((4,), name="x")
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(tf_keras.layers.Lambda(lambda y: y * global_scale)(x)))
    runner = Interpreter(model_content=convert(model, "float32", logits=True)).get_signature_runner()
    values = np.ones((1, 4), np.float32)
    np.testing.assert_allclose(runner(x=values)["logits"], model(values), atol=1e-6)
