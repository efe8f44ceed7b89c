"""Reading a `.tflite` flatbuffer: its weights, what runs it, what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

_NUMPY_TYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
}
_WEIGHT_INPUTS = {
    schema.BuiltinOperator.FULLY_CONNECTED: 1,
    schema.BuiltinOperator.CONV_2D: 1,
    schema.BuiltinOperator.GATHER: 0,
}
"""Which input of an operator holds its weights."""


@dataclass(frozen=True, eq=False)
class WeightTensor:
    """The weights of one operator in a flatbuffer.

    Attributes:
        name: as in the file.
        values: stored values `(outputs, …, inputs)`, of a table `(rows, width)`; float32, float16 or int8.
        scales: empty, or one scale for the tensor, or one for each output channel.
        table: whether its rows are looked up (GATHER), as those of an Embedding.
    """

    name: str
    values: npt.NDArray[Any]
    scales: npt.NDArray[np.float32]
    table: bool = False

    @property
    def format(self) -> str:
        """The storage type: `float32`, `float16` or `int8`."""
        return str(self.values.dtype)

    def dequantized(self) -> npt.NDArray[np.float32]:
        """Returns the float32 values that the stored ones stand for."""
        if not len(self.scales):
            return self.values.astype(np.float32)
        scales = self.scales.reshape(-1, *(1,) * (self.values.ndim - 1))
        return self.values.astype(np.float32) * scales


def read(content: bytes) -> schema.ModelT:
    """Parses a flatbuffer into the schema's object tree."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))


def weights(content: bytes) -> list[WeightTensor]:
    """Returns the constant weights of all FULLY_CONNECTED and CONV_2D operators and tables of GATHER, each once."""
    model = read(content)
    found = {}
    for graph in model.subgraphs:
        dequantized = {
            op.outputs[0]: op.inputs[0] for op in _operators(model, graph, schema.BuiltinOperator.DEQUANTIZE)
        }
        for operator in _operators(model, graph, *_WEIGHT_INPUTS):
            code = _code(model, operator)
            place = operator.inputs[_WEIGHT_INPUTS[code]]
            # float16 weights pass through a DEQUANTIZE.
            tensor = graph.tensors[dequantized.get(place, place)]
            data = model.buffers[tensor.buffer].data
            if data is not None and len(data) and tensor.type in _NUMPY_TYPES:
                values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), _NUMPY_TYPES[tensor.type])
                quantization = tensor.quantization
                scales = None if quantization is None else quantization.scale
                found[id(tensor)] = WeightTensor(
                    tensor.name.decode(),
                    values.reshape(tensor.shape),
                    np.zeros(0, np.float32) if scales is None else np.asarray(scales, np.float32),
                    code == schema.BuiltinOperator.GATHER,
                )
    return list(found.values())


def minimum_runtime(content: bytes) -> str:
    """Returns the oldest TFLite version that runs the file, as its metadata says, or an empty string."""
    model = read(content)
    for entry in model.metadata or []:
        if entry.name == b"min_runtime_version":
            text: bytes = np.asarray(model.buffers[entry.buffer].data, np.uint8).tobytes()
            return text.rstrip(b"\0").decode()
    return ""


def _operators(model: schema.ModelT, graph: schema.SubGraphT, *codes: int) -> Iterator[schema.OperatorT]:
    return (operator for operator in graph.operators if _code(model, operator) in codes)


def _code(model: schema.ModelT, operator: schema.OperatorT) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))
