"""How a file stores a kernel, by which the kernel is recognised in the file: names get lost on the way."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tfcompress.tflite.tensor import Shape
from tfcompress.traits import FloatArray


def as_stored(kernel: FloatArray, shape: Shape, table: bool = False) -> FloatArray | None:
    """Returns a kernel in the shape of a tensor that may hold it, or None if the tensor holds another one.

    Args:
        kernel: `(…, inputs, outputs)`, or `(rows, width)` of a table.
        shape: of the tensor: `(outputs, …, inputs)`, where axes may be merged or added, or that of the table.
        table: whether it is a table.
    """
    arranged = kernel if table else np.moveaxis(kernel, -1, 0)
    if arranged.size != math.prod(shape) or arranged.shape[0] != shape[0]:
        return None
    return arranged.reshape(shape)


def half_a_step(scales: npt.NDArray[np.float32], dimensions: int) -> FloatArray:
    """Returns by how much int8 values with one scale, or one per output, may differ from those that were rounded.

    Args:
        scales: of the tensor.
        dimensions: their number in the tensor.
    """
    return scales.reshape(-1, *(1,) * (dimensions - 1)) * 0.51
