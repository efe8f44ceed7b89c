"""float16 weights for a float32 `.tflite`, as TensorFlow's converter stores them.

Each large constant becomes float16 behind a DEQUANTIZE, which runtimes fold into the operators that read it.
ai-edge-quantizer does it for dense layers and convolutions alone, and leaves tables: half of a small BERT.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite import writing

_SMALLEST = 128
"""Constants of fewer elements stay as they are: a DEQUANTIZE takes as many bytes as they would save."""

_DEQUANTIZE_VERSION = 3  # the first that takes float16


def to_float16(content: bytes) -> bytes:
    """Returns the file with float16 constants; numbers beyond float16's range stay float32 with their constant."""
    model = writing.read(content)
    code = schema.OperatorCodeT(
        deprecatedBuiltinCode=schema.BuiltinOperator.DEQUANTIZE,
        builtinCode=schema.BuiltinOperator.DEQUANTIZE,
        version=_DEQUANTIZE_VERSION,
    )
    model.operatorCodes.append(code)
    halves: dict[int, int | None] = {}
    for graph in model.subgraphs:
        dequantize = []
        for index, tensor in enumerate(list(graph.tensors)):
            if tensor.type != schema.TensorType.FLOAT32 or tensor.sparsity is not None:
                continue
            if tensor.buffer not in halves:
                halves[tensor.buffer] = _half(model, tensor.buffer)
            place = halves[tensor.buffer]
            if place is None:
                continue
            half = schema.TensorT(
                shape=tensor.shape,
                type=schema.TensorType.FLOAT16,
                buffer=place,
                name=(tensor.name or b"") + b"_float16",
                hasRank=True,
            )
            graph.tensors.append(half)
            tensor.buffer = 0
            inputs, outputs = [len(graph.tensors) - 1], [index]
            dequantize.append(schema.OperatorT(len(model.operatorCodes) - 1, inputs=inputs, outputs=outputs))
        graph.operators = dequantize + (graph.operators or [])
    # Tensors of other types, and metadata, may share a buffer.
    owners = [*(tensor for graph in model.subgraphs for tensor in graph.tensors), *(model.metadata or [])]
    for buffer in halves.keys() - {owner.buffer for owner in owners}:
        model.buffers[buffer].data = None
    return writing.write(model)


def _half(model: schema.ModelT, buffer: int) -> int | None:
    """Adds a float32 constant's numbers in float16; returns the new buffer, or None of what stays."""
    data = model.buffers[buffer].data
    if data is None:
        return None
    values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), "<f4")
    if len(values) < _SMALLEST or np.abs(values).max() > np.finfo(np.float16).max:
        return None
    model.buffers.append(schema.BufferT(values.astype("<f2").view(np.uint8)))
    return len(model.buffers) - 1
