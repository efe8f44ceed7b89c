"""The weights of any file, packed ones as what they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfcompress.packed.options import TABLE
from tfcompress.packed.weights import weights_of
from tfcompress.tflite.reading import Content, read

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
    values: npt.NDArray[Any]
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

    Packed ones count as those that they were made from.
    """
    found = {}
    for graph in read(content).graphs:
        # float16 weights pass through a DEQUANTIZE.
        unpacked = (node for node in graph.operators if node.code.name == "DEQUANTIZE" and node.inputs and node.outputs)
        sources = {node.outputs[0]: node.inputs[0] for node in unpacked}
        for node in graph.operators:
            for packed in weights_of(node, graph):
                tensor, table = graph.tensors[packed.tensor], node.code.name == TABLE
                found[id(tensor)] = WeightTensor(
                    tensor.name, packed.values(), packed.stock_scale, len(tensor.data), table
                )
            place = _WEIGHT_INPUTS.get(node.code.name, len(node.inputs))
            if place < len(node.inputs) and node.inputs[place] >= 0:
                tensor = graph.tensors[sources.get(node.inputs[place], node.inputs[place])]
                if len(tensor.data) and tensor.type in ("float32", "float16", "int8") and not tensor.sparse:
                    table = node.code.name == "GATHER"
                    found[id(tensor)] = WeightTensor(
                        tensor.name, tensor.values(), tensor.scales, len(tensor.data), table
                    )
    return list(found.values())
