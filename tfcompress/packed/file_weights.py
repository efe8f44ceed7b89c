"""Reads the weights of a stock or packed file; packed weights are returned as they were before packing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tfcompress.packed.options import TABLE
from tfcompress.packed.weights import weights_of
from tfcompress.tflite.graph import Content, Graph
from tfcompress.tflite.reading import read
from tfcompress.tflite.tensor import Array, Buffer, Tensor

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
        shared: whether the graphs of all signatures read it.
    """

    name: str
    values: Array
    scales: npt.NDArray[np.float32]
    bytes: int
    table: bool = False
    shared: bool = True

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

    Of tensors in several graphs with the same data, the first is returned.

    Raises:
        UserError: the content is not a valid `.tflite` file, or its packed weights are damaged.
    """
    model = read(content)
    found: dict[Tensor, WeightTensor] = {}
    earlier: set[Buffer | None] = set()
    for graph in model.graphs:
        own = {tensor: weights for tensor, weights in _weights(graph) if tensor.buffer not in earlier}
        earlier |= {tensor.buffer for tensor in own}
        found |= own
    started = [{tensor.buffer for tensor in graph.tensors} for graph in {one.graph for one in model.signatures}]
    return [
        replace(weights, shared=all(tensor.buffer in buffers for buffers in started) or len(started) < 2)
        for tensor, weights in found.items()
    ]


def _weights(graph: Graph) -> Iterator[tuple[Tensor, WeightTensor]]:
    for operator in graph.operators:
        for packed in weights_of(operator):
            book, size = packed.stock_codebook, len(packed.tensor.data)
            table = operator.kind == TABLE
            yield packed.tensor, WeightTensor(packed.tensor.name, book.values(), packed.stock_scale, size, table)
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
                yield tensor, WeightTensor(tensor.name, values, tensor.scales, len(tensor.data), table)
