"""What a `.tflite` file holds: graphs of operators and tensors, and where one enters them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

_BITS = {"int2": 2, "int4": 4, "uint4": 4, "bool": 8, "bfloat16": 16, "float8_e4m3fn": 8, "float8_e5m2": 8}
_BITS |= {f"{kind}{bits}": bits for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
_BITS |= {"float16": 16, "float32": 32, "float64": 64, "complex64": 64, "complex128": 128}
"""Bits of an element by type; the others, such as strings, have no fixed number."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of a graph.

    Attributes:
        name: as in the file.
        shape: as in the file; -1 may stand for an unknown size where there is no data.
        type: the schema's name in small letters, such as `float32` or `int4`.
        buffer: index of its data; tensors may share it.
        data: the bytes in the file; empty for what is computed.
        scales: empty, or one scale for the tensor, or one for each index of `axis`.
        zero_points: as many as scales, or empty.
        axis: along which scales differ.
        sparse: whether only some of its elements are stored.
        scale_tensors: indices of the tensors that hold its scales and zero points instead, a block each.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    buffer: int
    data: Bytes
    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int
    sparse: bool
    scale_tensors: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many elements the shape has."""
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits that an element takes; 0 if that is not fixed, as of strings."""
        return _BITS.get(self.type, 0)

    def values(self) -> npt.NDArray[Any]:
        """Returns the stored numbers: in the tensor's shape, or in one row if it is sparse.

        Elements of less than a byte are packed from the lowest bits up, the last byte filled with nothing; they are
        returned as int8 or uint8. bfloat16 and float8 are returned as their bits, types without fixed size as bytes.
        """
        values: npt.NDArray[Any] = self.data
        if self.bits in (2, 4):
            places = np.arange(0, 8, self.bits, dtype=np.uint8)
            sign = 0 if self.type.startswith("u") else 2 ** (self.bits - 1)
            fields = (self.data[:, None] >> places).ravel()[: self.elements] & (2**self.bits - 1)
            values = (fields ^ sign) - np.uint8(sign)
            values = values.view(np.int8) if sign else values
        elif self.type.startswith(("bfloat", "float8")):
            values = self.data.view(f"<u{self.bits // 8}")
        elif self.bits:
            values = self.data.view(np.dtype(self.type).newbyteorder("<"))
        return values if self.sparse or not self.bits else values.reshape(self.shape)


@dataclass(frozen=True)
class OperatorCode:
    """A kind of operator that the file lists.

    Attributes:
        name: the schema's, such as `FULLY_CONNECTED`, or a custom operator's own.
        version: of the operator.
        custom: whether the runtime does not bring it.
    """

    name: str
    version: int
    custom: bool


@dataclass(frozen=True)
class Operator:
    """A node of a graph.

    Attributes:
        code: its kind.
        inputs: tensors by their index in the graph, -1 for one that is left out.
        outputs: likewise.
        options: of a custom operator, as the file has them.
    """

    code: OperatorCode
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: bytes = b""


@dataclass(frozen=True, eq=False)
class Graph:
    """A subgraph; inputs and outputs are indices of tensors."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Signature:
    """An entry point: a graph's index, and indices of its tensors by name."""

    name: str
    graph: int
    inputs: dict[str, int]
    outputs: dict[str, int]
