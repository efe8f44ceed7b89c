"""Reads the weights of a stock or packed file; packed weights are returned as they were before packing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfcompress.packed.options import TABLE
from tfcompress.packed.weights import weights_of
from tfcompress.tflite.graph import Content
from tfcompress.tflite.reading import read
from tfcompress.tflite.tensor import Array, Tensor

WEIGHT_INPUTS = dict.fromkeys(("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"), 1)
WEIGHT_INPUTS |= {"GATHER": 0, "EMBEDDING_LOOKUP": 1}
"""The index of the input that holds the weights, by kind of operator."""


@dataclass(frozen=True, eq=False)
class WeightTensor:
    """The weights of one operator in a file.

    Attributes:
        name: of the tensor in the file.
        values: float32, float16 or int8 `(outputs, …, inputs)`, or `(rows, width)` of a table; as stored, or as they
            were before packing.
        scales: float32; empty, one scale for the tensor, or one scale per output channel.
        bytes: the size in the file; for packed weights, the size of their indices.
        table: whether an operator looks up its rows (GATHER, EMBEDDING_LOOKUP), as of the table of an Embedding.
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
        """Returns the values times their scales, as float32."""
        if not len(self.scales):
            return self.values.astype(np.float32)
        scales = self.scales.reshape(-1, *(1,) * (self.values.ndim - 1))
        return self.values.astype(np.float32) * scales


def weights(content: Content) -> list[WeightTensor]:
    """Returns the constant weights of all dense, convolution and GATHER operators of a file, each tensor once.

    Raises:
        UserError: the content is not a valid `.tflite` file, or its packed weights are damaged.
    """
    found: dict[Tensor, WeightTensor] = {}
    for graph in read(content).graphs:
        for operator in graph.operators:
            for packed in weights_of(operator):
                found[packed.tensor] = WeightTensor(
                    packed.tensor.name,
                    packed.stock_codebook.values(),
                    packed.stock_scale,
                    len(packed.tensor.data),
                    operator.kind == TABLE,
                )
            place = WEIGHT_INPUTS.get(operator.kind, len(operator.inputs))
            if place < len(operator.inputs):
                tensor = operator.inputs[place]
                # A DEQUANTIZE unpacks float16 weights.
                unpacked = graph.producer(tensor, "DEQUANTIZE")
                tensor = unpacked.inputs[0] if unpacked is not None and unpacked.inputs else tensor
                if len(tensor.data) and tensor.dtype in ("float32", "float16", "int8") and not tensor.sparse:
                    values, table = tensor.values(), operator.kind in ("GATHER", "EMBEDDING_LOOKUP")
                    if operator.kind == "DEPTHWISE_CONV_2D":
                        values = np.moveaxis(values, -1, 0)
                    found[tensor] = WeightTensor(tensor.name, values, tensor.scales, len(tensor.data), table)
    return list(found.values())
