"""The custom operators of packed files, and their options."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from enum import IntEnum, IntFlag
from typing import ClassVar, Literal

from tfcompress.errors import UserError
from tfcompress.tflite.graph import Model, Operator

VERSION = 2
"""The latest version of the format. Operators without flags are written in version 1."""

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


class Flags(IntFlag):
    """What the weights of an operator have besides what version 1 of the format knows, with its bit in a file."""

    NONE = 0
    SCALES = 1
    """A scale per output of a dense layer, or per row of a table."""


DENSE_CONSTANTS = 6
"""The number of inputs per segment: indices, codebook, scale, sums, bias and original."""

MAX_SEGMENTS = 16
"""The most segments that the packed runtime accepts in one operator."""

_SIDE, _ROWS = (1, 1 << 24), (1, 1 << 28)
_BITS, _COMPUTING = (2, 8), (Computing.FLOAT32, Computing.INT8)
_ENUMS = {"computing": Computing, "activation": Activation, "flags": Flags}
_AGAIN = "copy the file or pack the stock file again"
_FINITE = (-3.4028235e38, 3.4028235e38)


@dataclass(frozen=True)
class _Options:
    """Options of fixed-width fields: a `struct` layout, and for each field the least and the greatest value.

    In version 2 of the format, flags follow. A kind of operator that has any names them in its last field.
    """

    layout: ClassVar[str]
    name: ClassVar[str]
    limits: ClassVar[tuple[tuple[float, float], ...]]

    @property
    def has_flags(self) -> bool:
        """Whether a flag is set, which needs version 2."""
        return getattr(self, "flags", Flags.NONE) != Flags.NONE

    def pack(self) -> bytes:
        """Returns the options as they are in a file, in the first version that has them."""
        values = astuple(self)
        if self.has_flags:
            return struct.pack(f"<I{self.layout}I", 2, *values)
        return struct.pack(f"<I{self.layout}", 1, *values[: len(self.limits)])


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
    flags: Flags = Flags.NONE


@dataclass(frozen=True)
class TableOptions(_Options):
    """The options of a `ClusteredEmbedding`: the lookup of rows in an embedding table."""

    layout, name = "3I", TABLE
    limits = (_ROWS, _SIDE, _BITS)
    rows: int
    width: int
    bits: int
    flags: Flags = Flags.NONE


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
    version = _version(content)
    if not 1 <= version <= VERSION:
        raise UserError(
            f"{name} has options of version {version} in {len(content)} bytes, but this tfcompress reads versions 1 to "
            f"{VERSION}; use the tfcompress that packed the file, or pack the stock file again"
        )
    layout = f"<4x{kind.layout}{'I' if version > 1 else ''}"
    if len(content) != struct.calcsize(layout):
        raise UserError(f"{name} has {len(content)} bytes of options instead of {struct.calcsize(layout)}; {_AGAIN}")
    names = [field.name for field in fields(kind)]
    found = struct.unpack(layout, content)
    values = dict(zip(names, found, strict=False))
    for (low, high), value in zip(kind.limits, found, strict=False):
        if not low <= value <= high:
            raise UserError(f"{name} has invalid options: {values}; {_AGAIN}")
    known = Flags.SCALES if "flags" in names else Flags.NONE
    if version > 1 and found[-1] & ~int(known):
        raise UserError(f"{name} has flags {found[-1]:#x} that this tfcompress does not know; use a newer tfcompress")
    return kind(**values | {name: enum(values[name]) for name, enum in _ENUMS.items() if name in values})


def _version(content: bytes) -> int:
    return int.from_bytes(content[:4], "little") if len(content) >= 4 else 0


def latest_version(operators: Iterable[Operator]) -> int:
    """Returns the latest version of the format in which one of the operators is written."""
    return max(_version(operator.custom_options) for operator in operators if operator.kind.startswith(PREFIX))


def is_packed(model: Model) -> bool:
    """Returns whether a model has operators of the packed format."""
    return any(code.name.startswith(PREFIX) for code in model.codes)
