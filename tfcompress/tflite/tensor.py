"""The tensors of a `.tflite` file, and the buffers that hold their data."""

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
"""The names of data types in the schema, in lower case, by their codes."""

_BITS = {"int2": 2, "int4": 4, "uint4": 4, "bool": 8, "bfloat16": 16, "float8_e4m3fn": 8, "float8_e5m2": 8}
_BITS |= {f"{kind}{bits}": bits for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
_BITS |= {"float16": 16, "float32": 32, "float64": 64, "complex64": 64, "complex128": 128}
"""Bits per element by data type. Other types, such as strings, have no fixed number."""

_NUMPY_TYPES = ("float32", "float16", "int8", "uint8", "int32", "int64", "bool")
_NO_BYTES = np.zeros(0, np.uint8)
_NO_SCALES, _NO_ZERO_POINTS = np.zeros(0, np.float32), np.zeros(0, np.int64)


@dataclass(eq=False)
class Buffer:
    """A piece of data in a file, which several tensors and metadata entries may share.

    Attributes:
        data: the bytes, a view of the file if they were read from one; None if there are none.
    """

    data: Bytes | None = None


@dataclass(eq=False)
class Tensor:
    """A tensor of a graph. Two tensors are equal only if they are the same object.

    Attributes:
        name: in the file.
        shape: in the file, where a free length is 1. Without data, -1 is allowed as well.
        dtype: the name in the schema in lower case, such as `float32` or `int4`.
        buffer: its data; None if the tensor is computed.
        free_shape: like `shape`, but with -1 for every free length.
        scales: float32; empty, one scale for the tensor, or one scale per index along `axis`.
        zero_points: int64; empty, or as many as there are scales.
        axis: the axis along which scales differ.
        scale_tensors: for scales per block, the tensors that hold the scales and zero points, by field of the schema.
        sparse: whether the file stores only some of its elements.
        source: the table that it was read from; None if it is new. Fields that this class lacks are written unchanged.
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
        """The number of elements, as the shape says."""
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits per element; 0 for types such as strings, where the size varies."""
        return _BITS.get(self.dtype, 0)

    def values(self) -> Array:
        """Returns the stored numbers, in the tensor's shape, or in one dimension if it is sparse.

        Elements of 2 or 4 bits, which the file packs from the lowest bits of each byte up, are returned as int8 or
        uint8. bfloat16 and float8 are returned as unsigned integers with their bits, and types without a fixed size as
        bytes.
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
        if not len(self.data) or self.sparse or self.dtype not in _NUMPY_TYPES:
            return None
        return self.values()


ABSENT = Tensor("", (), "")
"""Takes the place of an optional input that an operator does not have."""


def computed(name: str, shape: Shape, dtype: str = "float32") -> Tensor:
    """Makes a tensor for an operator to compute. -1 in the shape is a free length."""
    return Tensor(name, tuple(abs(size) for size in shape), dtype, free_shape=tuple(shape))


def constant(name: str, values: Array, scales: npt.NDArray[np.float32] | None = None) -> Tensor:
    """Makes a constant with the type and shape of `values`; int8 values may have one scale, or one scale per row."""
    made = computed(name, values.shape, str(values.dtype))
    made.buffer = Buffer(np.ascontiguousarray(values).reshape(-1).view(np.uint8))
    if scales is not None and len(scales):
        made.scales, made.zero_points = scales, np.zeros(len(scales), np.int64)
    return made
