"""The custom operators of a packed file by name, and their options."""

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
ATTENTION, NORM = "tfcompress.Attention", "tfcompress.LayerNorm"

RUNTIMES = dict.fromkeys((DENSE, TABLE, ATTENTION, NORM), "2.14.0")
"""The oldest TFLite version that each of them was tried in."""

ENTRY = "tfcompress.packed"
"""The metadata entry that marks a packed file."""

Activations = Literal["float32", "int8"]
"""What dense layers and attention can compute in, as users name it."""


class Computing(IntEnum):
    """What an operator computes in, as a file numbers it."""

    FLOAT32 = 0
    INT8 = 1


class Activation(IntEnum):
    """The activation of a dense layer, as a file numbers it."""

    NONE = 0
    RELU = 1
    GELU = 2
    GELU_TANH = 3
    TANH = 4


DENSE_CONSTANTS = 6
"""Inputs of a segment: indices, codebook, scale, sums, bias, original."""

MOST_SEGMENTS = 16
"""As the runtime takes them."""

_SIDE, _ROWS = (1, 1 << 24), (1, 1 << 28)
_BITS, _COMPUTING = (2, 8), (Computing.FLOAT32, Computing.INT8)
_ENUMS = {"computing": Computing, "activation": Activation}
_FINITE = (-3.4028235e38, 3.4028235e38)


@dataclass(frozen=True)
class _Options:
    layout: ClassVar[str]
    name: ClassVar[str]
    limits: ClassVar[tuple[tuple[float, float], ...]]

    def pack(self) -> bytes:
        """Returns the options as a file has them."""
        return struct.pack(f"<I{self.layout}", VERSION, *astuple(self))


@dataclass(frozen=True)
class DenseOptions(_Options):
    """Of a `ClusteredFullyConnected`."""

    layout, name = "7I", DENSE
    limits = (_SIDE, _SIDE, _BITS, _COMPUTING, (Activation.NONE, Activation.TANH), (1, MOST_SEGMENTS), (0, 1))
    inputs: int
    outputs: int
    bits: int
    computing: Computing
    activation: Activation = Activation.NONE
    segments: int = 1
    residual: int = 0


@dataclass(frozen=True)
class TableOptions(_Options):
    """Of a `ClusteredEmbedding`."""

    layout, name = "3I", TABLE
    limits = (_ROWS, _SIDE, _BITS)
    rows: int
    width: int
    bits: int


@dataclass(frozen=True)
class AttentionOptions(_Options):
    """Of an `Attention`."""

    layout, name = "IfI", ATTENTION
    limits = (_SIDE, _FINITE, _COMPUTING)
    heads: int
    scale: float
    computing: Computing


@dataclass(frozen=True)
class NormOptions(_Options):
    """Of a `LayerNorm`."""

    layout, name = "f", NORM
    limits = ((0.0, _FINITE[1]),)
    epsilon: float


Options = DenseOptions | TableOptions | AttentionOptions | NormOptions
_KINDS: dict[str, type[Options]] = {
    kind.name: kind for kind in (DenseOptions, TableOptions, AttentionOptions, NormOptions)
}


def read_options(name: str, content: bytes) -> Options:
    """Reads the options of a custom operator.

    Raises:
        UserError: they are of another version, have another length, or hold what no operator has.
    """
    kind = _KINDS.get(name)
    if kind is None:
        raise UserError(f"operator {name} is none of this version's; the operators are {', '.join(_KINDS)}")
    version = int.from_bytes(content[:4], "little")
    if len(content) < 4 or version != VERSION:
        raise UserError(
            f"{name} has options of version {version} in {len(content)} bytes; this version of tfcompress knows "
            f"version {VERSION}: use the one that packed the file, or pack the stock file again"
        )
    layout = f"<4x{kind.layout}"
    if len(content) != struct.calcsize(layout):
        raise UserError(f"{name} has {len(content)} bytes of options, it must have {struct.calcsize(layout)}")
    values = dict(zip((field.name for field in fields(kind)), struct.unpack(layout, content), strict=True))
    for (low, high), value in zip(kind.limits, values.values(), strict=True):
        if not low <= value <= high:
            raise UserError(f"{name} has options that no operator has: {values}")
    return kind(**values | {name: enum(values[name]) for name, enum in _ENUMS.items() if name in values})


def is_packed(model: Model) -> bool:
    """Returns whether a model has operators of the packed format."""
    return any(code.name.startswith(PREFIX) for code in model.codes)
