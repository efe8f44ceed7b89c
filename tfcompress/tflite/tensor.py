"""A tensor of a `.tflite` graph, and the buffer that holds its data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Shape = tuple[int, ...]

TYPES: dict[int, str] = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
"""The schema's names of data types, in lower case, by their codes."""

_BITS = {"int2": 2, "int4": 4, "uint4": 4, "bool": 8, "bfloat16": 16, "float8_e4m3fn": 8, "float8_e5m2": 8}
_BITS |= {f"{kind}{bits}": bits for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
_BITS |= {"float16": 16, "float32": 32, "float64": 64, "complex64": 64, "complex128": 128}
"""Bits per element by data type; the others, such as strings, have no fixed number."""

_NUMPY = ("float32", "float16", "int8", "uint8", "int32", "int64", "bool")
_NO_BYTES = np.zeros(0, np.uint8)
_NO_SCALES, _NO_ZERO_POINTS = np.zeros(0, np.float32), np.zeros(0, np.int64)


@dataclass(eq=False)
class Buffer:
    """Data in a file, which several tensors and metadata entries may share.

    Attributes:
        data: a view of the file where it was read from one; None if the buffer has no data.
    """

    data: Bytes | None = None


@dataclass(eq=False)
class Tensor:
    """A tensor of a graph. Two tensors are equal only if they are the same object.

    Attributes:
        name: as in the file.
        shape: as in the file, where 1 stands for a free length; -1 may stand for one if there is no data.
        dtype: the schema's name in lower case, such as `float32` or `int4`.
        buffer: its data; None if the tensor is computed.
        free_shape: the same as `shape` with -1 for every free length.
        scales: float32; empty, or one scale for the tensor, or one per index of `axis`.
        zero_points: int64; as many as scales, or empty.
        axis: along which scales differ.
        scale_tensors: the tensors that hold its scales and zero points instead, one value per block of elements; by
            the schema's field.
        sparse: whether only some of its elements are stored.
        source: where it was read from; what this class does not know is written as it was there.
    """

    name: str
    shape: Shape
    dtype: str
    buffer: Buffer | None = None
    free_shape: Shape = ()
    scales: npt.NDArray[np.float32] = field(default_factory=lambda: _NO_SCALES)
    zero_points: npt.NDArray[np.int64] = field(default_factory=lambda: _NO_ZERO_POINTS)
    axis: int = 0
    scale_tensors: Mapping[str, Tensor] = field(default_factory=dict)
    sparse: bool = False
    source: schema.Tensor | None = None

    @property
    def data(self) -> Bytes:
        """The bytes in the file; empty if the tensor is computed."""
        return _NO_BYTES if self.buffer is None or self.buffer.data is None else self.buffer.data

    @property
    def elements(self) -> int:
        """The number of elements of the shape."""
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits per element; 0 if that is not fixed, as for strings."""
        return _BITS.get(self.dtype, 0)

    def values(self) -> Array:
        """Returns the stored numbers: in the tensor's shape, or in one row if it is sparse.

        Elements of less than one byte are packed from the lowest bits up, and the last byte is filled up; they are
        returned as int8 or uint8. bfloat16 and float8 are returned as their bits, types without a fixed size as bytes.
        """
        values: Array = self.data
        if self.bits in (2, 4):
            places = np.arange(0, 8, self.bits, dtype=np.uint8)
            sign = 0 if self.dtype.startswith("u") else 2 ** (self.bits - 1)
            fields = (self.data[:, None] >> places).ravel()[: self.elements] & (2**self.bits - 1)
            values = (fields ^ sign) - np.uint8(sign)
            values = values.view(np.int8) if sign else values
        elif self.dtype.startswith(("bfloat", "float8")):
            values = self.data.view(f"<u{self.bits // 8}")
        elif self.bits:
            values = self.data.view(np.dtype(self.dtype).newbyteorder("<"))
        return values if self.sparse or not self.bits else values.reshape(self.shape)

    def numbers(self) -> Array | None:
        """Returns a constant's numbers in its shape; None if it is computed, sparse, or of a type that NumPy lacks."""
        if not len(self.data) or self.sparse or self.dtype not in _NUMPY:
            return None
        return self.values()


ABSENT = Tensor("", (), "")
"""Stands for an optional input that an operator leaves out."""


def computed(name: str, shape: Shape, dtype: str = "float32") -> Tensor:
    """Makes a tensor that an operator will compute; -1 in the shape is a free length."""
    return Tensor(name, tuple(abs(size) for size in shape), dtype, free_shape=tuple(shape))


def constant(name: str, values: Array, scales: npt.NDArray[np.float32] | None = None) -> Tensor:
    """Makes a constant of the type and shape of `values`; int8 ones may have one scale, or one per row."""
    made = computed(name, values.shape, str(values.dtype))
    made.buffer = Buffer(np.ascontiguousarray(values).reshape(-1).view(np.uint8))
    if scales is not None and len(scales):
        made.scales, made.zero_points = scales, np.zeros(len(scales), np.int64)
    return made
