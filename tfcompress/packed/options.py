"""The custom operators of a packed file by name, and their options."""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass
from typing import ClassVar, Literal

from tfcompress.errors import UserError

VERSION = 1

PREFIX = "tfcompress."
DENSE, TABLE = "tfcompress.ClusteredFullyConnected", "tfcompress.ClusteredEmbedding"
ATTENTION, NORM = "tfcompress.Attention", "tfcompress.LayerNorm"

RUNTIMES = dict.fromkeys((DENSE, TABLE, ATTENTION, NORM), "2.14.0")
"""The oldest TFLite version that each of them was tried in."""

ENTRY = "tfcompress.packed"
"""The metadata entry that marks a packed file."""

Activations = Literal["float32", "int8"]
FLOAT32, INT8 = 0, 1
"""What an operator computes in."""

NONE, RELU, GELU, GELU_TANH, TANH = range(5)
"""Activations of a dense layer."""

DENSE_CONSTANTS = 6
"""Inputs of a segment: indices, codebook, scale, sums, bias, original."""

MOST_SEGMENTS = 16
"""As the runtime takes them."""

_SIDE, _ROWS = (1, 1 << 24), (1, 1 << 28)
_BITS, _COMPUTING = (2, 8), (FLOAT32, INT8)
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
    limits = (_SIDE, _SIDE, _BITS, _COMPUTING, (NONE, TANH), (1, MOST_SEGMENTS), (0, 1))
    inputs: int
    outputs: int
    bits: int
    computing: int
    activation: int = NONE
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
    computing: int


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
    options = kind(*struct.unpack(layout, content))
    for (low, high), value in zip(kind.limits, astuple(options), strict=True):
        if not low <= value <= high:
            raise UserError(f"{name} has options that no operator has: {options}")
    return options
