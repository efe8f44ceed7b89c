import numpy as np

from tfcompress.export import flatbuffer
from tfcompress.export.converter import convert
from tfcompress.traits import kernels


def test_weights_are_those_of_the_model(tiny_vit):
    stored = flatbuffer.weights(convert(tiny_vit, "float32"))
    assert len(stored) == 8
    head = next(tensor for tensor in stored if tensor.values.shape == (10, 16))
    np.testing.assert_array_equal(head.dequantized(), kernels(tiny_vit)["head"].T)
    assert head.format == "float32"


def test_half_precision_weights_are_found_behind_their_dequantization(tiny_vit):
    stored = flatbuffer.weights(convert(tiny_vit, "float16"))
    assert {tensor.format for tensor in stored} == {"float16"}
    assert len(stored) == 8


def test_int8_weights_come_back_with_their_scale(tiny_vit):
    stored = flatbuffer.weights(convert(tiny_vit, "dynamic"))
    mlp = next(tensor for tensor in stored if tensor.values.shape == (64, 16))
    assert mlp.format == "int8"
    np.testing.assert_allclose(
        mlp.dequantized(), kernels(tiny_vit)["block_0_mlp1"].T, atol=float(mlp.scales[0]) / 2 + 1e-6
    )


def test_the_minimum_runtime_is_read(tiny_vit):
    assert flatbuffer.minimum_runtime(convert(tiny_vit, "dynamic", per_channel=True)) == "2.17.0"
