"""float16 weights for a float32 `.tflite`, as TensorFlow's converter stores them.

Each large constant becomes float16 behind a DEQUANTIZE, which runtimes fold into the operators that read it.
ai-edge-quantizer does this only for dense layers and convolutions, and leaves tables as they are: half of a small BERT.
"""

from __future__ import annotations

import numpy as np

from tfcompress.tflite.graph import Operator, operator
from tfcompress.tflite.reading import read
from tfcompress.tflite.tensor import Buffer, Tensor
from tfcompress.tflite.writing import write

_SMALLEST = 128
"""Constants with fewer elements stay as they are: a DEQUANTIZE takes as many bytes as they would save."""

_DEQUANTIZE_VERSION = 3  # the first that takes float16


def to_float16(content: bytes) -> bytes:
    """Returns the file with float16 constants; a constant with numbers beyond float16's range stays float32."""
    model = read(content)
    halves: dict[Buffer, Buffer | None] = {}
    for graph in model.graphs:
        unpacking: list[Operator] = []
        for tensor in graph.tensors:
            if tensor.buffer is None or tensor.dtype != "float32" or tensor.sparse:
                continue
            if tensor.buffer not in halves:
                halves[tensor.buffer] = _half(tensor.buffer)
            half = halves[tensor.buffer]
            if half is not None:
                source = Tensor(f"{tensor.name}_float16", tensor.shape, "float16", half)
                unpacking.append(operator("DEQUANTIZE", [source], [tensor], _DEQUANTIZE_VERSION))
                tensor.buffer = None
        graph.operators = (*unpacking, *graph.operators)
    # Tensors of other types, and metadata, may share a buffer.
    used = {owner.buffer for graph in model.graphs for owner in graph.tensors}
    used |= {entry.buffer for entry in model.metadata}
    for buffer in halves.keys() - used:
        buffer.data = None
    return write(model)


def _half(buffer: Buffer) -> Buffer | None:
    """Returns a float32 constant's numbers in float16; None for a constant that stays as it is."""
    if buffer.data is None:
        return None
    values = np.frombuffer(buffer.data.tobytes(), "<f4")
    if len(values) < _SMALLEST or np.abs(values).max() > np.finfo(np.float16).max:
        return None
    return Buffer(values.astype("<f2").view(np.uint8))
