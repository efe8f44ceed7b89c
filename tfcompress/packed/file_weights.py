"""The weights of any file, packed ones as what they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfcompress.packed.options import TABLE
from tfcompress.packed.weights import weights_of
from tfcompress.tflite.graph import Content
from tfcompress.tflite.reading import read
from tfcompress.tflite.tensor import Array, Tensor

_WEIGHT_INPUTS = {"FULLY_CONNECTED": 1, "CONV_2D": 1, "GATHER": 0}
"""Which input of an operator holds its weights."""


@dataclass(frozen=True, eq=False)
class WeightTensor:
    """The weights of one operator in a flatbuffer.

    Attributes:
        name: as in the file.
        values: as stored, or what packed ones stand for, `(outputs, …, inputs)`, of a table `(rows, width)`; float32,
            float16 or int8.
        scales: empty, or one scale for the tensor, or one for each output channel.
        bytes: in the file; of packed ones those of their indices.
        table: whether its rows are looked up (GATHER), as those of an Embedding.
    """

    name: str
    values: Array
    scales: npt.NDArray[np.float32]
    bytes: int
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


def weights(content: Content) -> list[WeightTensor]:
    """Returns the constant weights of all FULLY_CONNECTED and CONV_2D operators and tables of GATHER, each once.

    Packed weights are returned as those that they were made from.
    """
    found: dict[Tensor, WeightTensor] = {}
    for graph in read(content).graphs:
        for operator in graph.operators:
            for packed in weights_of(operator):
                found[packed.tensor] = WeightTensor(
                    packed.tensor.name,
                    packed.values(),
                    packed.stock_scale,
                    len(packed.tensor.data),
                    operator.kind == TABLE,
                )
            place = _WEIGHT_INPUTS.get(operator.kind, len(operator.inputs))
            if place < len(operator.inputs):
                tensor = operator.inputs[place]
                # float16 weights pass through a DEQUANTIZE.
                unpacked = graph.producer(tensor, "DEQUANTIZE")
                tensor = unpacked.inputs[0] if unpacked is not None and unpacked.inputs else tensor
                if len(tensor.data) and tensor.dtype in ("float32", "float16", "int8") and not tensor.sparse:
                    table = operator.kind == "GATHER"
                    found[tensor] = WeightTensor(tensor.name, tensor.values(), tensor.scales, len(tensor.data), table)
    return list(found.values())
