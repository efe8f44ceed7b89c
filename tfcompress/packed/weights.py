"""Reads the packed weights of a file, checks them, and turns them back into numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfcompress.errors import UserError
from tfcompress.packed import layout
from tfcompress.packed.codebook import Codebook
from tfcompress.packed.options import (
    DENSE,
    DENSE_CONSTANTS,
    TABLE,
    Computing,
    DenseOptions,
    Flags,
    TableOptions,
    read_options,
)
from tfcompress.tflite.graph import Operator
from tfcompress.tflite.tensor import ABSENT, Array, Bytes, Tensor


@dataclass(frozen=True, eq=False)
class PackedWeights:
    """The weights of a dense layer or an embedding table.

    Attributes:
        tensor: the tensor that holds the indices.
        indices: uint8 `(outputs, inputs)`, or `(rows, width)` of a table.
        bits: the number of bits per index.
        codebook: float32 or int8 `(centroids,)`.
        scale: float32, one, or one per output or row; empty if the codebook has the weights themselves.
        scaled: whether `Flags.SCALES` is set: `scale` is the stock weights' as well, for each output or row.
        original: float32, the centroids that an int8 codebook was rounded from; None if it was not.
        bias: the tensor of the bias, or `ABSENT`.
        parts: the tensors besides the indices and the bias.
        parts_read: the tensors besides the indices that an inference reads, including the bias.
    """

    tensor: Tensor
    indices: Bytes
    bits: int
    codebook: Array
    scale: npt.NDArray[np.float32]
    scaled: bool
    original: npt.NDArray[np.float32] | None
    bias: Tensor
    parts: tuple[Tensor, ...]
    parts_read: tuple[Tensor, ...]

    @property
    def type(self) -> str:
        """The bits per index and the type of the codebook, such as `6-bit float32`, and whether each row is scaled."""
        return f"{self.bits}-bit {self.codebook.dtype}{' with scales' if self.scaled else ''}"

    @property
    def stock_scale(self) -> npt.NDArray[np.float32]:
        """The scale of the weights in the stock file; empty if they are float32."""
        return self.scale if self.centroids.dtype == np.int8 else self.scale[:0]

    @property
    def centroids(self) -> Array:
        """The distinct weights in the stock file without their scales: float32 or int8."""
        return self.codebook if self.original is None else self.original

    @property
    def stock_codebook(self) -> Codebook:
        """The weights as they are in the stock file; those with `stock_scale` without it."""
        scales = self.scale if self.scaled and self.centroids.dtype == np.float32 else self.scale[:0]
        return Codebook(self.centroids, self.indices, scales)


def dense_weights(options: DenseOptions, inputs: Sequence[Tensor]) -> list[PackedWeights]:
    """Reads the weights of each segment of a `ClusteredFullyConnected`.

    Raises:
        UserError: the options and the inputs do not fit each other.
    """
    wanted = 1 + DENSE_CONSTANTS * options.segments + options.residual
    check(len(inputs) == wanted, f"{options.name} has {len(inputs)} inputs instead of {wanted}")
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
        found.append(_weights(options, unpacked, places))
        fits = options.computing != Computing.INT8 or found[-1].codebook.dtype == np.int8
        check(fits, "a layer that computes in int8 has a float32 codebook")
    return found


def table_weights(options: TableOptions, inputs: Sequence[Tensor]) -> PackedWeights:
    """Reads the table of a `ClusteredEmbedding`.

    Raises:
        UserError: the options and the inputs do not fit each other.
    """
    check(len(inputs) == 5, f"{options.name} has {len(inputs)} inputs instead of 5")
    _, indices, codebook, scale, original = inputs
    packed = _vector(indices, "uint8", options.rows * layout.row_bytes(options.width, options.bits))
    unpacked = layout.unpack_rows(packed, options.rows, options.width, options.bits)
    found = _weights(options, unpacked, (indices, codebook, scale, ABSENT, ABSENT, original))
    check(found.scaled or len(found.scale) <= 1, "a table has more than one scale")
    return found


def _weights(options: DenseOptions | TableOptions, indices: Bytes, places: tuple[Tensor, ...]) -> PackedWeights:
    tensor, codebook, scale, sums, bias, original = places
    bits, scaled = options.bits, options.flags == Flags.SCALES
    book = codebook.numbers()
    fits = book is not None and book.ndim == 1 and book.dtype in (np.float32, np.int8) and 0 < len(book) <= 2**bits
    check(fits, f"a codebook for {bits}-bit indices is not 1 to {2**bits} float32 or int8 numbers")
    assert book is not None
    check(int(indices.max()) < len(book), f"index {indices.max()} exceeds a codebook of {len(book)} numbers")
    scales = np.zeros(0, np.float32)
    check(scaled or book.dtype == np.int8 or scale is ABSENT, "float32 centroids have a scale without its flag")
    if scaled or book.dtype == np.int8:
        given = scale.numbers()
        one = not scaled and (given is None or given.size == 1)
        scales = _vector(scale, "float32", 1 if one else len(indices))
    source = None if original is ABSENT else _vector(original, "float32", len(book))
    if scaled and (source is not None or book.dtype == np.float32):
        check(
            bool((np.isfinite(scales) & (scales > 0)).all()), "the scales of float32 weights are not positive numbers"
        )
    parts, read = (codebook, scale, sums, original), (codebook, scale, sums, bias)
    used, used_read = (tuple(one for one in tensors if one is not ABSENT) for tensors in (parts, read))
    return PackedWeights(tensor, indices, bits, book, scales, scaled, source, bias, used, used_read)


def _vector(tensor: Tensor, kind: str, size: int) -> Array:
    """Returns the numbers of a constant, which must have this type and number of elements."""
    values = tensor.numbers()
    fits = values is not None and values.dtype == np.dtype(kind) and values.shape == (size,)
    given = "nothing" if values is None else f"{values.dtype} {values.shape}"
    check(fits, f"packed weights need {kind} ({size},) and have {given}")
    assert values is not None
    return values


def weights_of(operator: Operator) -> list[PackedWeights]:
    """Returns the packed weights of an operator, an empty list if it has none.

    Raises:
        UserError: its options and constants do not fit each other, or have another version.
    """
    if not operator.code.custom or operator.kind not in (DENSE, TABLE):
        return []
    options = read_options(operator.kind, operator.custom_options)
    if isinstance(options, TableOptions):
        return [table_weights(options, operator.inputs)]
    return dense_weights(options, operator.inputs) if isinstance(options, DenseOptions) else []


def check(fits: bool, problem: str) -> None:
    """Raises a `UserError` with the problem of a damaged packed file, unless `fits`."""
    if not fits:
        raise UserError(f"the packed file is damaged: {problem}; copy it or pack the stock file again")
