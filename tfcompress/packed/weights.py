"""Packed weights as a file has them, checked before they are believed, and as numbers again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfcompress.packed import layout
from tfcompress.packed.options import DENSE, DENSE_CONSTANTS, INT8, TABLE, DenseOptions, TableOptions, read_options
from tfcompress.tflite.damage import check
from tfcompress.tflite.graph import Bytes, Graph, Operator

Constants = Callable[[int], npt.NDArray[Any] | None]
"""Returns the numbers of a tensor; None for one that is no constant."""


@dataclass(frozen=True, eq=False)
class StoredWeights:
    """Weights of a dense layer, or a token table.

    Attributes:
        tensor: of the indices.
        indices: uint8 `(outputs, inputs)`, or `(rows, width)` of a table.
        bits: of an index.
        codebook: float32 or int8.
        scale: float32, one or one an output; empty with a float32 codebook.
        original: float32, what int8 centroids were made from; None if nothing.
        bias: tensor of the bias, or -1.
        parts: the other tensors beside indices and bias.
        parts_read: the other tensors, and the bias, that an inference reads.
    """

    tensor: int
    indices: Bytes
    bits: int
    codebook: npt.NDArray[Any]
    scale: npt.NDArray[np.float32]
    original: npt.NDArray[np.float32] | None
    bias: int
    parts: tuple[int, ...]
    parts_read: tuple[int, ...]

    @property
    def type(self) -> str:
        """What an index stands for, and its bits."""
        return f"{self.bits}-bit {self.codebook.dtype}"

    @property
    def stock_scale(self) -> npt.NDArray[np.float32]:
        """The scale of the stock file's weights; empty if they are float32."""
        return self.scale if self.original is None else self.scale[:0]

    @property
    def centroids(self) -> npt.NDArray[Any]:
        """The stock file's distinct weights, float32, or int8 to be multiplied by `scale`."""
        return self.codebook if self.original is None else self.original

    def values(self) -> npt.NDArray[Any]:
        """Returns the weights of the stock file."""
        found: npt.NDArray[Any] = self.centroids[self.indices]
        return found


def dense_weights(options: DenseOptions, inputs: tuple[int, ...], constants: Constants) -> list[StoredWeights]:
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
        packed = _vector(constants, indices, "uint8", size)
        unpacked = layout.unpack_matrix(packed, options.outputs, options.inputs, options.bits)
        if bias >= 0:
            _vector(constants, bias, "float32", options.outputs)
        if options.computing == INT8:
            _vector(constants, sums, "int32", options.outputs)
        places = indices, codebook, scale, sums, bias, original
        found.append(_weights(options.bits, constants, unpacked, places))
        check(
            options.computing != INT8 or found[-1].codebook.dtype == np.int8, "int8 is computed with a float codebook"
        )
    return found


def table_weights(options: TableOptions, inputs: tuple[int, ...], constants: Constants) -> StoredWeights:
    """Reads the table of a `ClusteredEmbedding` with these options and inputs.

    Raises:
        UserError: they do not fit each other.
    """
    check(len(inputs) == 5, f"{options.name} has {len(inputs)} inputs, it must have 5")
    _, indices, codebook, scale, original = inputs
    packed = _vector(constants, indices, "uint8", options.rows * layout.row_bytes(options.width, options.bits))
    unpacked = layout.unpack_rows(packed, options.rows, options.width, options.bits)
    found = _weights(options.bits, constants, unpacked, (indices, codebook, scale, -1, -1, original))
    check(len(found.scale) <= 1, "a table has more than one scale")
    return found


def _weights(bits: int, constants: Constants, indices: Bytes, places: tuple[int, ...]) -> StoredWeights:
    tensor, codebook, scale, sums, bias, original = places
    book = constants(codebook) if codebook >= 0 else None
    right = book is not None and book.ndim == 1 and book.dtype in (np.float32, np.int8) and 0 < len(book) <= 2**bits
    check(right, f"a codebook of {bits} bits is not 1 to {2**bits} numbers, float32 or int8")
    assert book is not None
    check(int(indices.max()) < len(book), f"index {indices.max()} is beyond the codebook's {len(book)} numbers")
    scales = np.zeros(0, np.float32)
    if book.dtype == np.int8:
        one = constants(scale) if scale >= 0 else None
        scales = _vector(constants, scale, "float32", 1 if one is None or one.size == 1 else len(indices))
    source = None if original < 0 else _vector(constants, original, "float32", len(book))
    parts, read = (codebook, scale, sums, original), (codebook, scale, sums, bias)
    used, used_read = (tuple(one for one in tensors if one >= 0) for tensors in (parts, read))
    return StoredWeights(tensor, indices, bits, book, scales, source, bias, used, used_read)


def _vector(constants: Constants, tensor: int, kind: str, size: int) -> npt.NDArray[Any]:
    values = constants(tensor) if tensor >= 0 else None
    right = values is not None and values.dtype == np.dtype(kind) and values.shape == (size,)
    given = "nothing" if values is None else f"{values.dtype} {values.shape}"
    check(right, f"a packed weight needs {kind} ({size},) and has {given}")
    assert values is not None
    return values


def weights_of(node: Operator, graph: Graph) -> list[StoredWeights]:
    """Returns what an operator of a file that was only read has packed; nothing of other operators.

    Raises:
        UserError: its options and constants do not fit each other, or are of another version.
    """
    if not node.code.custom or node.code.name not in (DENSE, TABLE):
        return []

    def constant(index: int) -> npt.NDArray[Any] | None:
        tensor = graph.tensors[index]
        return tensor.values() if len(tensor.data) and tensor.bits and not tensor.sparse else None

    options = read_options(node.code.name, node.options)
    if isinstance(options, TableOptions):
        return [table_weights(options, node.inputs, constant)]
    return dense_weights(options, node.inputs, constant) if isinstance(options, DenseOptions) else []
