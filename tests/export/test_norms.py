"""LayerNormalization whose epsilon makes tf_keras compute it by another function."""

import numpy as np
import pytest
import tf_keras
from ai_edge_litert.interpreter import Interpreter

from tfcompress.export.converter import convert
from tfcompress.packed.packer import pack
from tfcompress.tflite.reading import read
from tfcompress.traits import kernels

layers = tf_keras.layers


def normalized(epsilon: float) -> tf_keras.Model:
    """Returns a model in which two Dense read one LayerNormalization with a gain."""
    x = tf_keras.Input((20, 64), name="x")
    norm = layers.LayerNormalization(epsilon=epsilon, name="norm")(layers.Dense(64, name="before")(x))
    added = layers.Dense(64, name="left")(norm) + layers.Dense(64, name="right")(norm)
    model = tf_keras.Model(x, layers.Dense(3, name="head")(layers.Flatten()(added)))
    rng = np.random.default_rng(0)
    model.set_weights([rng.choice(np.linspace(-0.3, 0.6, 16), weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("epsilon", [1e-3, 1e-6])
def test_kernels_after_a_layer_normalization_are_stored_as_trained(epsilon):
    model = normalized(epsilon)
    x = np.random.default_rng(1).normal(size=(1, 20, 64)).astype(np.float32)
    expected = np.asarray(model(x))
    content = convert(model, "float32", logits=True)
    assert model.get_layer("norm")._fused == (epsilon > 1e-5)  # Outside the conversion, it computes as before.
    (graph,) = read(content).graphs
    stored = [o.inputs[1].numbers() for o in graph.operators if o.kind == "FULLY_CONNECTED"]
    for kernel in kernels(model).values():
        assert any(found.shape == kernel.T.shape and (found == kernel.T).all() for found in stored)
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())
    kinds = [operator.kind for operator in read(pack(content)).graphs[0].operators]
    assert kinds.count("tfcompress.LayerNorm") == 1
