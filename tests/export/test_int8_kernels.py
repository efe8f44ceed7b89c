"""Kernels that the converter writes in float32 although they are trained as int8."""

import numpy as np
import pytest
import tf_keras
from ai_edge_litert.interpreter import Interpreter

from tfcompress.export.converter import convert_function
from tfcompress.export.int8_kernels import fake_quantized
from tfcompress.export.serving import serve_model
from tfcompress.layer_kernels import paths
from tfcompress.optimize.quantize_wrappers import KernelsConfig, QuantizedReader
from tfcompress.packed import file_weights
from tfcompress.tflite.reading import read
from tfcompress.tflite.runtimes import minimum_runtime

layers = tf_keras.layers
RNG = np.random.default_rng(0)


def quantized(layer, *kernels):
    return QuantizedReader(layer, KernelsConfig(kernels or ["kernel"]))


def plain(x):
    return quantized(layers.Dense(12))(x)


def scaled(x):
    return quantized(layers.Dense(12, use_bias=False))(x) * -3.0


def normalized(x):
    return layers.BatchNormalization()(quantized(layers.Dense(12))(x))


@pytest.mark.parametrize("build", [plain, scaled, normalized])
def test_a_kernel_with_float_activations_becomes_int8(build):
    model, content = converted(build, (6, 8))
    assert kinds(content) >= {("FULLY_CONNECTED", 9)}
    assert minimum_runtime(content) == "2.3.0"
    check(model, content)


KINDS = {
    "Conv1D": (lambda: layers.Conv1D(6, 3), (8, 4)),
    "Conv2D": (lambda: layers.Conv2D(6, 3, strides=2), (8, 8, 4)),
    "dilated": (lambda: layers.Conv2D(6, 3, dilation_rate=2, padding="same"), (8, 8, 4)),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (8, 8, 4)),
    "SeparableConv1D": (lambda: layers.SeparableConv1D(6, 3), (8, 4)),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(6, 3), (8, 8, 4)),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(6, 3, strides=2), (4, 4, 4)),
    "EinsumDense": (lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 4), bias_axes="de"), (6, 8)),
    "joining heads": (lambda: layers.EinsumDense("abcd,cde->abe", (None, 8)), (6, 2, 8)),
    "LSTM": (lambda: layers.LSTM(6), (5, 4)),
    "GRU": (lambda: layers.GRU(6, return_sequences=True), (5, 4)),
    "SimpleRNN": (lambda: layers.SimpleRNN(6), (5, 4)),
    "Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(6)), (5, 4)),
    "Embedding": (lambda: layers.Embedding(20, 6), (5,)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_of_all_kinds_become_int8(kind):
    make, shape = KINDS[kind]
    model, content = converted(lambda x: quantized(made := make(), *paths(made))(x), shape)
    check(model, content)


@pytest.mark.parametrize("kind", ["Conv2D", "DepthwiseConv2D", "SeparableConv2D"])
def test_a_convolution_takes_the_factors_of_a_normalization_into_its_scales(kind):
    make, shape = KINDS[kind]
    model, content = converted(lambda x: layers.BatchNormalization()(quantized(made := make(), *paths(made))(x)), shape)
    assert "MUL" not in {name for name, _ in kinds(content)}
    check(model, content)


@pytest.mark.parametrize("normalized", [False, True])
def test_weights_halfway_between_two_steps_become_int8(normalized):
    def halfway(shape, dtype=None):
        steps = RNG.integers(-120, 120, shape) + 0.5
        steps.flat[0] = 127
        return (steps * np.float32(0.0031)).astype(np.float32)

    def build(x):
        x = quantized(layers.Conv2D(6, 3, kernel_initializer=halfway))(x)
        return layers.BatchNormalization()(x) if normalized else x

    _, content = converted(build, (8, 8, 4))
    assert {weights.format for weights in file_weights.weights(content)} == {"int8"}


def test_kernels_without_a_range_stay_float():
    _, content = converted(lambda x: layers.Dense(12)(plain(x)), (6, 8))
    assert {weights.format for weights in file_weights.weights(content)} == {"int8", "float32"}


def converted(build, shape) -> tuple[tf_keras.Model, bytes]:
    tf_keras.utils.set_random_seed(0)
    inputs = tf_keras.Input(shape, dtype="int32" if len(shape) == 1 else "float32")
    model = tf_keras.Model(inputs, build(inputs))
    by_name = {weight.name: weight for weight in model.weights}
    for name, weight in by_name.items():
        if "variance" in name or "gamma" in name:
            weight.assign(RNG.uniform(0.5, 2, weight.shape) * RNG.choice([1, -1 if "gamma" in name else 1]))
        highest = by_name.get(name.replace(":0", "_max:0"))
        if highest is not None:
            highest.assign(np.abs(weight.numpy()).max())
            by_name[name.replace(":0", "_min:0")].assign(-highest)
    return model, convert_function(serve_model(model), "int8")


def kinds(content) -> set[tuple[str, int]]:
    return {(operator.kind, operator.code.version) for operator in read(content).operators()}


def check(model, content) -> None:
    """The file must hold the kernels exactly, in nothing but int8, and answer as the model does."""
    found = file_weights.weights(content)
    assert {weights.format for weights in found} == {"int8"}
    file = read(content)
    used = {tensor.buffer for graph in file.graphs for tensor in graph.tensors} | {x.buffer for x in file.metadata}
    assert all(buffer in used for buffer in file.buffers[1:])
    trained = [np.sort(kernel.values, axis=None) for kernel in fake_quantized(model.weights).values()]
    for kernel in trained:
        stored = [np.sort(weights.values, axis=None) for weights in found]
        assert any(np.array_equal(kernel, x) or np.array_equal(kernel, -x[::-1]) for x in stored)
    kind = model.input.dtype.as_numpy_dtype
    features = (3 * RNG.random((1, *model.input.shape[1:]))).astype(kind)
    interpreter = Interpreter(model_content=content)
    run = interpreter.get_signature_runner()
    (outputs,) = run(**{next(iter(run.get_input_details())): features}).values()
    expected = model(features).numpy()
    # The runtime quantizes activations to 8 bits.
    np.testing.assert_allclose(outputs, expected, atol=0.02 * np.abs(expected).max())
