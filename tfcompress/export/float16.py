"""Stores the constants of a float32 `.tflite` file in float16, as TensorFlow's converter does.

Each large constant becomes a float16 constant and a DEQUANTIZE, which runtimes fold into the operators that read it.
litert-quantizer does this only for dense layers and convolutions. It leaves tables alone, which are half of a small
BERT.
"""

from __future__ import annotations

import numpy as np

from tfcompress.tflite.graph import Operator, operator
from tfcompress.tflite.reading import read
from tfcompress.tflite.tensor import Buffer, Tensor
from tfcompress.tflite.writing import write

SMALLEST_FLOAT16 = 128
"""Constants with fewer elements stay float32, because their DEQUANTIZE takes as many bytes as float16 saves."""

_DEQUANTIZE_VERSION = 3  # the first version that takes float16


def to_float16(content: bytes) -> bytes:
    """Returns the file with its constants in float16.

    A constant with fewer than 128 elements, or with NaN or numbers beyond float16's range, stays float32.

    Raises:
        UserError: `content` is not a valid `.tflite` file.
    """
    model = read(content)
    halves: dict[Buffer, Buffer | None] = {}
    for graph in model.graphs:
        dequantizing: list[Operator] = []
        for tensor in graph.tensors:
            if tensor.buffer is None or tensor.dtype != "float32" or tensor.sparse:
                continue
            if tensor.buffer not in halves:
                halves[tensor.buffer] = _half(tensor.buffer)
            half = halves[tensor.buffer]
            if half is not None:
                source = Tensor(f"{tensor.name}_float16", tensor.shape, "float16", half)
                dequantizing.append(operator("DEQUANTIZE", [source], [tensor], _DEQUANTIZE_VERSION))
                tensor.buffer = None
        graph.operators = (*dequantizing, *graph.operators)
    # A buffer may also belong to a tensor of another type or to metadata; it must then keep its data.
    used = {owner.buffer for graph in model.graphs for owner in graph.tensors}
    used |= {entry.buffer for entry in model.metadata}
    for buffer in halves.keys() - used:
        buffer.data = None
    return write(model)


def _half(buffer: Buffer) -> Buffer | None:
    """Returns the numbers of a float32 constant in float16, or None if it stays float32."""
    if buffer.data is None:
        return None
    values = np.frombuffer(buffer.data.tobytes(), "<f4")
    if len(values) < SMALLEST_FLOAT16 or not np.abs(values).max() <= np.finfo(np.float16).max:  # It may be NaN.
        return None
    return Buffer(values.astype("<f2").view(np.uint8))
