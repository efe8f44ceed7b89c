"""The custom operators of packed files, and their options."""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass, fields
from enum import IntEnum
from typing import ClassVar, Literal

from tfcompress.errors import UserError
from tfcompress.tflite.graph import Model

VERSION = 1

PREFIX = "tfcompress."
DENSE, TABLE = "tfcompress.ClusteredFullyConnected", "tfcompress.ClusteredEmbedding"
ATTENTION, LAYER_NORM = "tfcompress.Attention", "tfcompress.LayerNorm"

RUNTIMES = dict.fromkeys((DENSE, TABLE, ATTENTION, LAYER_NORM), "2.14.0")
"""The oldest TFLite version that each operator was tested in."""

ALIGNMENT = 64
"""The alignment of constants in a packed file, in bytes. The format requires it, for vector loads."""

METADATA_ENTRY = "tfcompress.packed"
"""The metadata entry that marks a packed file."""

Activations = Literal["float32", "int8"]
"""The types that dense layers and attention can compute in."""


class Computing(IntEnum):
    """The type that an operator computes in, with its number in a file."""

    FLOAT32 = 0
    INT8 = 1


class Activation(IntEnum):
    """The activation of a dense layer, with its number in a file."""

    NONE = 0
    RELU = 1
    GELU = 2
    GELU_TANH = 3
    TANH = 4


DENSE_CONSTANTS = 6
"""The number of inputs per segment: indices, codebook, scale, sums, bias and original."""

MAX_SEGMENTS = 16
"""The most segments that the packed runtime accepts in one operator."""

_SIDE, _ROWS = (1, 1 << 24), (1, 1 << 28)
_BITS, _COMPUTING = (2, 8), (Computing.FLOAT32, Computing.INT8)
_ENUMS = {"computing": Computing, "activation": Activation}
_AGAIN = "copy the file or pack the stock file again"
_FINITE = (-3.4028235e38, 3.4028235e38)


@dataclass(frozen=True)
class _Options:
    """Options of fixed-width fields: a `struct` layout, and for each field the least and the greatest value."""

    layout: ClassVar[str]
    name: ClassVar[str]
    limits: ClassVar[tuple[tuple[float, float], ...]]

    def pack(self) -> bytes:
        """Returns the options as they are in a file."""
        return struct.pack(f"<I{self.layout}", VERSION, *astuple(self))


@dataclass(frozen=True)
class DenseOptions(_Options):
    """The options of a `ClusteredFullyConnected`: one dense layer, or several as segments."""

    layout, name = "7I", DENSE
    limits = (_SIDE, _SIDE, _BITS, _COMPUTING, (Activation.NONE, Activation.TANH), (1, MAX_SEGMENTS), (0, 1))
    inputs: int
    outputs: int
    bits: int
    computing: Computing
    activation: Activation = Activation.NONE
    segments: int = 1
    residual: int = 0


@dataclass(frozen=True)
class TableOptions(_Options):
    """The options of a `ClusteredEmbedding`: the lookup of rows in an embedding table."""

    layout, name = "3I", TABLE
    limits = (_ROWS, _SIDE, _BITS)
    rows: int
    width: int
    bits: int


@dataclass(frozen=True)
class AttentionOptions(_Options):
    """The options of an `Attention`."""

    layout, name = "IfI", ATTENTION
    limits = (_SIDE, _FINITE, _COMPUTING)
    heads: int
    scale: float
    computing: Computing


@dataclass(frozen=True)
class LayerNormOptions(_Options):
    """The options of a `LayerNorm`."""

    layout, name = "f", LAYER_NORM
    limits = ((0.0, _FINITE[1]),)
    epsilon: float


Options = DenseOptions | TableOptions | AttentionOptions | LayerNormOptions
_KINDS: dict[str, type[Options]] = {
    kind.name: kind for kind in (DenseOptions, TableOptions, AttentionOptions, LayerNormOptions)
}


def read_options(name: str, content: bytes) -> Options:
    """Reads the options of a custom operator.

    Raises:
        UserError: the operator is unknown, or the options have another version, another length or invalid values.
    """
    kind = _KINDS.get(name)
    if kind is None:
        raise UserError(
            f"{name} is not an operator of this version of the format, which has "
            f"{', '.join(_KINDS)}; use a newer tfcompress"
        )
    version = int.from_bytes(content[:4], "little")
    if len(content) < 4 or version != VERSION:
        raise UserError(
            f"{name} has options of version {version} in {len(content)} bytes, but this tfcompress reads version "
            f"{VERSION}; use the tfcompress that packed the file, or pack the stock file again"
        )
    layout = f"<4x{kind.layout}"
    if len(content) != struct.calcsize(layout):
        raise UserError(f"{name} has {len(content)} bytes of options instead of {struct.calcsize(layout)}; {_AGAIN}")
    values = dict(zip((field.name for field in fields(kind)), struct.unpack(layout, content), strict=True))
    for (low, high), value in zip(kind.limits, values.values(), strict=True):
        if not low <= value <= high:
            raise UserError(f"{name} has invalid options: {values}; {_AGAIN}")
    return kind(**values | {name: enum(values[name]) for name, enum in _ENUMS.items() if name in values})


def is_packed(model: Model) -> bool:
    """Returns whether a model has operators of the packed format."""
    return any(code.name.startswith(PREFIX) for code in model.codes)
