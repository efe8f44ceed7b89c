"""The constants of a `.tflite` file, and which of them are parameters.

A parameter is a constant of real numbers, of quantized numbers, or of integers with at most 8 bits. Other integers are
shapes, axes and indices of the graph.

A constant that several tensors share counts once, for the operator that reads it first. A constant that a DEQUANTIZE or
DENSIFY unpacks counts for the operator that reads the result.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tfcompress.packed.options import TABLE
from tfcompress.packed.weights import PackedWeights, weights_of
from tfcompress.tflite.graph import Graph, Model, Operator
from tfcompress.tflite.tensor import Buffer, Tensor

UNUSED = "(unused)"
"""In place of an operator: no operator reads the constant."""

_LOOKUPS = {"EMBEDDING_LOOKUP": 1, "GATHER": 0, "GATHER_ND": 0}
"""The operators that read only some rows of a table, and which input is the table."""

_UNPACKING = ("DEQUANTIZE", "DENSIFY")


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor with data.

    Attributes:
        tensor: the first of the tensors that share the data.
        operator: the kind of the operator that reads it first, or `UNUSED`.
        is_parameter: see this module's description.
        packed: the packed weights whose indices it holds, if it does.
    """

    tensor: Tensor
    operator: str
    is_parameter: bool
    packed: PackedWeights | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, or the shape of the weights that are packed in it."""
        return self.tensor.shape if self.packed is None else self.packed.indices.shape

    @property
    def is_weights(self) -> bool:
        """Whether it is a parameter with two dimensions or more that are longer than 1."""
        return self.is_parameter and sum(size > 1 for size in self.shape) > 1


def find_constants(file: Model) -> list[Constant]:
    """Returns the constants of a file, each buffer once, in the order of the operators that read them."""
    found: dict[Buffer, Constant] = {}
    for graph in file.graphs:
        readers = _readers(graph)
        packed = {one.tensor: one for operator in graph.operators for one in weights_of(operator)}
        auxiliary = {scale for tensor in graph.tensors for scale in tensor.scale_tensors.values()}
        auxiliary |= {part for one in packed.values() for part in one.parts}
        for tensor in sorted(graph.tensors, key=lambda tensor: readers.get(tensor, len(graph.operators))):
            if tensor.buffer is not None and len(tensor.data) and tensor.buffer not in found:
                kind = graph.operators[readers[tensor]].kind if tensor in readers else UNUSED
                parameter = tensor not in auxiliary and _is_parameter(tensor)
                found[tensor.buffer] = Constant(tensor, kind, parameter, packed.get(tensor))
    return list(found.values())


def _readers(graph: Graph) -> dict[Tensor, int]:
    """Returns the index of the operator that first reads each tensor, or reads what is unpacked from it."""
    found: dict[Tensor, int] = {}
    for index, operator in reversed(list(enumerate(graph.operators))):
        if operator.kind in _UNPACKING and operator.outputs:
            index = found.get(operator.outputs[0], index)
        found |= dict.fromkeys(operator.inputs, index)
    for tensor in graph.tensors:
        if tensor in found:
            found |= dict.fromkeys(tensor.scale_tensors.values(), found[tensor])
    return found


def _is_parameter(tensor: Tensor) -> bool:
    quantized = len(tensor.scales) or tensor.scale_tensors
    wide_integer = tensor.bits > 8 and "int" in tensor.dtype
    return tensor.bits > 0 and tensor.dtype != "bool" and bool(quantized or not wide_integer)


def bytes_read(operator: Operator) -> int:
    """Returns how many bytes of parameters an operator reads in one run."""
    if packed := weights_of(operator):
        return sum(_bytes_read_packed(one, operator) for one in packed)
    total = 0
    for tensor in dict.fromkeys(operator.inputs):
        if not len(tensor.data) or not _is_parameter(tensor):
            continue
        size = len(tensor.data) + sum(len(scales.data) for scales in tensor.scale_tensors.values())
        if operator.inputs.index(tensor) == _LOOKUPS.get(operator.kind) and operator.outputs:
            size = _bytes_looked_up(size, operator, tensor.elements)
        total += size
    return total


def _bytes_read_packed(packed: PackedWeights, operator: Operator) -> int:
    """Returns how many bytes of packed weights an operator reads; of a table, only the rows that it looks up."""
    scales = packed.scale.nbytes if packed.scaled else 0  # one for each row
    size = len(packed.tensor.data) + scales
    if operator.kind == TABLE and operator.outputs:
        size = _bytes_looked_up(size, operator, packed.indices.size)
    return size + sum(len(part.data) for part in packed.parts_read) - scales


def _bytes_looked_up(size: int, operator: Operator, elements: int) -> int:
    """Returns how many bytes of a table, of `size` bytes and `elements` elements, an operator reads for its output."""
    output = operator.outputs[0]
    if min(output.shape, default=1) < 0:
        return size
    return min(size, math.ceil(size * output.elements / elements))
