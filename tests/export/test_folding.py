"""Constants that the converter multiplies into kernels."""

import numpy as np
import pytest
import tf_keras
from ai_edge_litert.interpreter import Interpreter

from tfcompress.export.converter import convert, convert_function
from tfcompress.export.folding import folded_factors, unfold
from tfcompress.export.quantizer import quantize
from tfcompress.export.serving import serve_model
from tfcompress.export.shared_scales import share_scales
from tfcompress.export.verify import verify
from tfcompress.optimize.kmeans import clustered
from tfcompress.tflite.reading import read
from tfcompress.tflite.writing import write
from tfcompress.traits import KernelTraits, kernels

layers = tf_keras.layers


def normalized_before(x):
    return layers.Dense(40, name="dense")(layers.BatchNormalization()(x))


def normalized_after(x):
    return layers.BatchNormalization()(layers.Dense(40, name="dense")(x))


def activated_after(x):
    return layers.ReLU()(layers.BatchNormalization()(layers.Dense(40, name="dense", use_bias=False)(x)))


def scaled(x):
    factors = np.linspace(-1, 2, 40, dtype=np.float32)
    return layers.Dense(40, name="dense")(x) * factors


def both(x):
    return layers.BatchNormalization()(layers.Dense(40, name="dense")(layers.BatchNormalization()(x)))


def convolved(x):
    image = layers.Reshape((4, 5, 32))(x)
    return layers.BatchNormalization()(layers.Conv2D(40, 3, name="dense")(image))


@pytest.fixture(params=[normalized_before, normalized_after, activated_after, scaled, both, convolved])
def model(request) -> tf_keras.Model:
    """A model whose layer `dense` has 8 clusters and, in a tenth of its weights, zeros."""
    x = tf_keras.Input((20, 32), name="x")
    outputs = layers.Dense(3, name="head")(layers.Flatten()(request.param(x)))
    made = tf_keras.Model(x, outputs)
    rng = np.random.default_rng(0)
    made.set_weights([rng.uniform(0.2, 1.5, weight.shape) for weight in made.get_weights()])
    dense = made.get_layer("dense")
    kernel = rng.normal(size=dense.kernel.shape).astype(np.float32)
    kernel = np.where(rng.uniform(size=kernel.shape) < 0.1, 0, clustered(kernel, 7, "linear"))
    dense.kernel.assign(kernel)
    return made


def outputs(content: bytes, x: np.ndarray, interpreter=Interpreter) -> np.ndarray:
    made = interpreter(model_content=content)
    made.allocate_tensors()
    made.set_tensor(made.get_input_details()[0]["index"], x)
    made.invoke()
    return made.get_tensor(made.get_output_details()[0]["index"])


def unfolded(content: bytes, trained) -> bytes:
    file = read(content)
    return write(file) if unfold(file, trained) else content


def test_clusters_survive_what_the_converter_folds(model, tmp_path):
    x = np.random.default_rng(1).normal(size=(1, 20, 32)).astype(np.float32)
    expected = np.asarray(model(x))
    folded = convert(model, "float32", logits=True)
    promised = {"dense": KernelTraits(clusters=8)}
    content = unfolded(folded, {"dense": kernels(model)["dense"]})
    (found,) = (tensor for tensor in verify(content, model, promised, "float32") if tensor.layer == "dense")
    assert found.distinct <= 8
    np.testing.assert_allclose(outputs(content, x), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    for stored_as in ("float16", "dynamic"):
        smaller = quantize(content, stored_as)
        if stored_as == "dynamic":
            smaller = share_scales(smaller, {"dense": kernels(model)["dense"]})
        verify(smaller, model, promised, stored_as)
        np.testing.assert_allclose(outputs(smaller, x), expected, atol=0.03 * np.abs(expected).max())


@pytest.mark.parametrize("stored_as", ["float32", "dynamic"])
def test_zeros_survive_without_further_help(model, stored_as):
    promised = {"dense": KernelTraits(sparsity=0.05)}
    (found,) = (t for t in verify(convert(model, stored_as), model, promised, stored_as) if t.layer == "dense")
    assert found.sparsity >= 0.05
    assert found.format == {"float32": "float32", "dynamic": "int8"}[stored_as]


@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_factors_are_found_in_int8(zeros, seed):
    rng = np.random.default_rng(seed)
    kernel, other = np.where(rng.uniform(size=(2, 48, 64)) < zeros, 0, rng.normal(size=(2, 48, 64)))
    folded = kernel * rng.uniform(0.2, 1.5, (48, 1)) * rng.uniform(0.2, 1.5, (1, 64))
    scale = np.abs(folded).max() / 127
    stored = np.round(folded / scale) * scale
    assert folded_factors(stored, kernel, tolerance=scale) is not None
    assert folded_factors(stored, other, tolerance=scale) is None


def test_layers_behind_one_normalization_share_a_multiplication():
    x = tf_keras.Input((20, 8), name="x")
    norm = layers.BatchNormalization()(x)
    made = tf_keras.Model(x, layers.Concatenate()([layers.Dense(12, name=name)(norm) for name in "qkv"]))
    rng = np.random.default_rng(0)
    made.set_weights([rng.uniform(0.2, 1.5, weight.shape) for weight in made.get_weights()])
    folded = convert_function(serve_model(made), "float32")
    content = unfolded(folded, kernels(made))
    x = rng.normal(size=(1, 20, 8)).astype(np.float32)
    np.testing.assert_allclose(outputs(content, x), outputs(folded, x), rtol=1e-4, atol=1e-4)
    kinds = [operator.kind for operator in read(content).graphs[0].operators]
    assert [kinds.count(kind) for kind in ("MUL", "FULLY_CONNECTED")] == [1, 3]
