"""Convolutions that are dense layers: of pixels, or of the patches that an image is cut into."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.graph import Operator, operator, reshape
from tfcompress.tflite.tensor import Tensor, computed, constant


def cut_patches(convolution: Operator) -> tuple[list[Operator], Tensor] | None:
    """Returns operators that cut the input of a CONV_2D into the rows of a dense layer, and the tensor of the rows.

    The rows are `(batch, height, width, kernel height * kernel width * channels)`; the weights of the dense layer are
    those of the convolution, with their last three axes joined.

    Returns None unless the kernel is 1x1 and moves by one pixel, or moves by its own size and ends with the image, so
    that each pixel is in one patch.
    """
    x, weights = convolution.inputs[:2]
    if len(x.free_shape) != 4 or len(weights.shape) != 4:
        return None
    batch, height, width, channels = x.free_shape
    _, tall, wide, depth = weights.shape
    steps = convolution.option("strideH"), convolution.option("strideW")
    plain = convolution.option("dilationHFactor") == convolution.option("dilationWFactor") == 1
    if not plain or steps != (tall, wide) or depth != channels:
        return None
    if (tall, wide) == (1, 1):
        return [], x
    if min(height, width) < 0 or height % tall or width % wide:
        return None
    down, across = height // tall, width // wide
    rows = computed(f"{x.name}_patch_rows", (batch, down, across, tall * wide * channels))
    if tall == 1:  # The pixels of a patch lie side by side.
        return [reshape(x, rows)], rows
    bands = -1 if batch < 0 else batch * down
    split = computed(f"{x.name}_bands", (bands, tall, across, wide * channels))
    turned = computed(f"{x.name}_patches", (bands, across, tall, wide * channels))
    order = constant(f"{x.name}_order", np.array([0, 2, 1, 3], np.int32))
    turn = operator("TRANSPOSE", [split, order], [turned], options=schema.TransposeOptionsT())
    return [reshape(x, split), turn, reshape(turned, rows)], rows
