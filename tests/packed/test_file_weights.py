import numpy as np

from tfcompress.export.converter import convert
from tfcompress.packed import file_weights
from tfcompress.traits import kernels


def test_weights_are_those_of_the_model(tiny_vit):
    stored = file_weights.weights(convert(tiny_vit, "float32"))
    assert len(stored) == 8
    head = next(tensor for tensor in stored if tensor.values.shape == (10, 16))
    np.testing.assert_array_equal(head.dequantized(), kernels(tiny_vit)["head"].T)
    assert head.format == "float32"


def test_half_precision_weights_are_found_before_their_dequantization(real_files):
    stored = file_weights.weights(real_files["float16"])
    assert {tensor.format for tensor in stored} == {"float16"}
    assert len(stored) == 8


def test_int8_weights_come_back_with_their_scale(real_files, tiny_vit):
    stored = file_weights.weights(real_files["dynamic"])
    mlp = next(tensor for tensor in stored if tensor.values.shape == (64, 16))
    assert mlp.format == "int8"
    np.testing.assert_allclose(
        mlp.dequantized(), kernels(tiny_vit)["block_0_mlp1"].T, atol=float(mlp.scales[0]) / 2 + 1e-6
    )
