"""Packed weights as a file has them, checked before they are believed, and as numbers again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfcompress.errors import UserError
from tfcompress.packed import layout
from tfcompress.packed.options import (
    DENSE,
    DENSE_CONSTANTS,
    TABLE,
    Computing,
    DenseOptions,
    TableOptions,
    read_options,
)
from tfcompress.tflite.graph import Operator
from tfcompress.tflite.tensor import ABSENT, Array, Bytes, Tensor


@dataclass(frozen=True, eq=False)
class PackedWeights:
    """Weights of a dense layer, or a token table.

    Attributes:
        tensor: that holds the indices.
        indices: uint8 `(outputs, inputs)`, or `(rows, width)` of a table.
        bits: of an index.
        codebook: float32 or int8.
        scale: float32, one or one an output; empty with a float32 codebook.
        original: float32, what int8 centroids were made from; None if nothing.
        bias: the tensor of the bias, or `ABSENT`.
        parts: the other tensors beside indices and bias.
        parts_read: the other tensors, and the bias, that an inference reads.
    """

    tensor: Tensor
    indices: Bytes
    bits: int
    codebook: Array
    scale: npt.NDArray[np.float32]
    original: npt.NDArray[np.float32] | None
    bias: Tensor
    parts: tuple[Tensor, ...]
    parts_read: tuple[Tensor, ...]

    @property
    def type(self) -> str:
        """What an index stands for, and its bits."""
        return f"{self.bits}-bit {self.codebook.dtype}"

    @property
    def stock_scale(self) -> npt.NDArray[np.float32]:
        """The scale of the stock file's weights; empty if they are float32."""
        return self.scale if self.original is None else self.scale[:0]

    @property
    def centroids(self) -> Array:
        """The stock file's distinct weights, float32, or int8 to be multiplied by `scale`."""
        return self.codebook if self.original is None else self.original

    def values(self) -> Array:
        """Returns the weights of the stock file."""
        found: Array = self.centroids[self.indices]
        return found


def dense_weights(options: DenseOptions, inputs: Sequence[Tensor]) -> list[PackedWeights]:
    """Reads the segments of a `ClusteredFullyConnected` with these options and inputs.

    Raises:
        UserError: they do not fit each other.
    """
    wanted = 1 + DENSE_CONSTANTS * options.segments + options.residual
    check(len(inputs) == wanted, f"{options.name} has {len(inputs)} inputs, it must have {wanted}")
    size = layout.matrix_bytes(options.outputs, options.inputs, options.bits)
    found = []
    for segment in range(options.segments):
        indices, codebook, scale, sums, bias, original = inputs[1 + DENSE_CONSTANTS * segment :][:DENSE_CONSTANTS]
        packed = _vector(indices, "uint8", size)
        unpacked = layout.unpack_matrix(packed, options.outputs, options.inputs, options.bits)
        if bias is not ABSENT:
            _vector(bias, "float32", options.outputs)
        if options.computing == Computing.INT8:
            _vector(sums, "int32", options.outputs)
        places = indices, codebook, scale, sums, bias, original
        found.append(_weights(options.bits, unpacked, places))
        right = options.computing != Computing.INT8 or found[-1].codebook.dtype == np.int8
        check(right, "int8 is computed with a float codebook")
    return found


def table_weights(options: TableOptions, inputs: Sequence[Tensor]) -> PackedWeights:
    """Reads the table of a `ClusteredEmbedding` with these options and inputs.

    Raises:
        UserError: they do not fit each other.
    """
    check(len(inputs) == 5, f"{options.name} has {len(inputs)} inputs, it must have 5")
    _, indices, codebook, scale, original = inputs
    packed = _vector(indices, "uint8", options.rows * layout.row_bytes(options.width, options.bits))
    unpacked = layout.unpack_rows(packed, options.rows, options.width, options.bits)
    found = _weights(options.bits, unpacked, (indices, codebook, scale, ABSENT, ABSENT, original))
    check(len(found.scale) <= 1, "a table has more than one scale")
    return found


def _weights(bits: int, indices: Bytes, places: tuple[Tensor, ...]) -> PackedWeights:
    tensor, codebook, scale, sums, bias, original = places
    book = codebook.numbers()
    right = book is not None and book.ndim == 1 and book.dtype in (np.float32, np.int8) and 0 < len(book) <= 2**bits
    check(right, f"a codebook of {bits} bits is not 1 to {2**bits} numbers, float32 or int8")
    assert book is not None
    check(int(indices.max()) < len(book), f"index {indices.max()} is beyond the codebook's {len(book)} numbers")
    scales = np.zeros(0, np.float32)
    if book.dtype == np.int8:
        one = scale.numbers()
        scales = _vector(scale, "float32", 1 if one is None or one.size == 1 else len(indices))
    source = None if original is ABSENT else _vector(original, "float32", len(book))
    parts, read = (codebook, scale, sums, original), (codebook, scale, sums, bias)
    used, used_read = (tuple(one for one in tensors if one is not ABSENT) for tensors in (parts, read))
    return PackedWeights(tensor, indices, bits, book, scales, source, bias, used, used_read)


def _vector(tensor: Tensor, kind: str, size: int) -> Array:
    values = tensor.numbers()
    right = values is not None and values.dtype == np.dtype(kind) and values.shape == (size,)
    given = "nothing" if values is None else f"{values.dtype} {values.shape}"
    check(right, f"a packed weight needs {kind} ({size},) and has {given}")
    assert values is not None
    return values


def weights_of(operator: Operator) -> list[PackedWeights]:
    """Returns the packed weights of an operator; none for all operators but ours with weights.

    Raises:
        UserError: its options and constants do not fit each other, or are of another version.
    """
    if not operator.code.custom or operator.kind not in (DENSE, TABLE):
        return []
    options = read_options(operator.kind, operator.custom_options)
    if isinstance(options, TableOptions):
        return [table_weights(options, operator.inputs)]
    return dense_weights(options, operator.inputs) if isinstance(options, DenseOptions) else []


def check(right: bool, what: str) -> None:
    """Raises a `UserError` that says `what` of a packed file, unless it is right."""
    if not right:
        raise UserError(f"the packed file is damaged: {what}; copy it or pack the stock file again")
