import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.packed.graphs import DENSE, Model, N, same, some, stock
from tests.packed.reference import kinds, options
from tfcompress.errors import UserError
from tfcompress.packed.options import Computing, Flags
from tfcompress.packed.packer import pack
from tfcompress.packed.unpacker import unpack

SAME, VALID = 0, 1
CHANNELS = 3


def convolution(kernel=(4, 4), strides=None, padding=VALID, image=(8, 12), batch=1, fused=0, dilation=1, kind=None):
    """A file with a clustered convolution to N channels; its weights are the tensor c1."""
    down, across = strides or kernel
    model = Model(batch, *image, CHANNELS)
    weights = model.clustered(N, kernel[0] * kernel[1] * CHANNELS).reshape(N, *kernel, CHANNELS)
    if kind == "int8":
        weights = np.round(weights * 50 / np.abs(weights).max())
        quantization = {"scales": np.linspace(0.01, 0.02, N, dtype=np.float32), "zero_points": np.zeros(N, np.int64)}
        made = model.constant(weights, np.int8, **quantization)
    else:
        made = model.constant(weights)
    bias = model.constant(some(N))
    own = schema.Conv2DOptionsT(padding, across, down, fused, dilation, dilation)
    reach = [dilation * (size - 1) for size in kernel] if padding == VALID else (0, 0)
    height, width = (-(-(size - more) // step) for size, more, step in zip(image, reach, (down, across), strict=True))
    return model.file(model.add("CONV_2D", (0, made, bias), (batch, height, width, N), 5, own=own))


def test_a_convolution_of_pixels_is_a_dense_layer():
    assert same(convolution((1, 1)), some(1, 8, 12, CHANNELS)) == [DENSE]
    assert same(convolution((1, 1), padding=SAME, fused=1), some(1, 8, 12, CHANNELS)) == [DENSE]


@pytest.mark.parametrize("kernel", [(4, 4), (2, 6), (8, 12), (1, 3)])
@pytest.mark.parametrize("padding", [SAME, VALID])
def test_a_convolution_that_cuts_patches_is_a_dense_layer(kernel, padding):
    found = same(convolution(kernel, padding=padding, batch=2), some(2, 8, 12, CHANNELS))
    assert found == ["RESHAPE", *(["TRANSPOSE", "RESHAPE"] if kernel[0] > 1 else []), DENSE]


def test_patches_of_a_vision_transformer_become_tokens():
    """The RESHAPE from an image of patches to tokens moves behind the dense layer, or to its rows."""
    model = Model(1, 8, 8, CHANNELS)
    weights = model.constant(model.clustered(N, 48).reshape(N, 4, 4, CHANNELS))
    bias = model.constant(some(N))
    y = model.add("CONV_2D", (0, weights, bias), (1, 2, 2, N), own=schema.Conv2DOptionsT(VALID, 4, 4, 0, 1, 1))
    y = model.add("RESHAPE", [y, model.constant([1, 4, N], np.int32)], (1, 4, N))
    y = model.dense(y, (1, 4, N))
    assert same(model.file(y), some(1, 8, 8, CHANNELS)).count(DENSE) == 2


@pytest.mark.parametrize(
    "given",
    [
        {"kernel": (3, 3), "strides": (1, 1)},
        {"kernel": (1, 1), "strides": (2, 2)},
        {"kernel": (4, 4), "strides": (4, 2)},
        {"kernel": (5, 5), "padding": SAME},  # pads
        {"kernel": (5, 5), "padding": VALID},  # leaves pixels out
        {"kernel": (2, 2), "dilation": 2, "strides": (2, 2)},
    ],
)
def test_other_convolutions_stay(given):
    with pytest.raises(UserError, match="nothing to pack"):
        pack(convolution(**given), allow_larger=True)


def test_groups_stay():
    model = Model(1, 4, 4, 4)
    weights = model.constant(model.clustered(N, 2).reshape(N, 1, 1, 2))
    own = schema.Conv2DOptionsT(VALID, 1, 1, 0, 1, 1)
    y = model.add("CONV_2D", (0, weights, model.constant(some(N))), (1, 4, 4, N), 6, own=own)
    assert kinds(pack(model.file(model.dense(y, (1, 4, 4, N))), allow_larger=True)) == ["CONV_2D", DENSE]


def test_int8_weights_of_a_convolution_keep_their_scales():
    content = convolution(kind="int8")
    packed = pack(content, allow_larger=True)
    assert kinds(packed) == ["RESHAPE", "TRANSPOSE", "RESHAPE", DENSE]
    own = options(packed, 3)
    assert (own.computing, own.flags) == (Computing.INT8, Flags.NONE)
    x = some(1, 8, 12, CHANNELS)
    expected = stock(content, x)
    np.testing.assert_allclose(stock(unpack(packed), x), expected, atol=0.05 * np.abs(expected).max())
