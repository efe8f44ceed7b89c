"""How many distinct numbers a tensor stores, how many of them are zero, and their entropy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfcompress.tflite.tensor import Array, Bytes, Tensor

_Symbols = npt.NDArray[np.unsignedinteger]
"""Numbers as unsigned integers of the same bits, which are equal where the numbers are."""

_CHUNK = 1 << 20
"""Elements that are counted at once, which bounds the memory that counting a large tensor takes."""


@dataclass(frozen=True)
class Statistics:
    """Figures of the numbers that a tensor stores.

    Attributes:
        stored: how many numbers are stored: all elements, or fewer if the tensor is sparse.
        unique: how many of them are distinct; -0 equals 0, and a NaN equals another one with the same bits.
        zeros: the share of elements that mean 0, because they equal the zero point or are not stored.
        entropy: of the stored numbers, in bits per number: Σ p·log2(1/p).
    """

    stored: int
    unique: int
    zeros: float
    entropy: float


def statistics(tensor: Tensor) -> Statistics | None:
    """Counts the numbers of a constant. Returns None for elements of more than 64 bits or without a fixed size."""
    if not 0 < tensor.bits <= 64:
        return None
    values = tensor.values()
    symbols = _symbols(values, tensor)
    zeros = tensor.elements - values.size + int(np.count_nonzero(symbols == _zero(values, tensor)))
    unique, entropy = _distinct(symbols)
    return Statistics(values.size, unique, zeros / tensor.elements, entropy)


def packed_statistics(indices: Bytes, centroids: Array) -> Statistics:
    """Counts packed weights: `indices` of any shape into `centroids`, of which only the used ones count as `unique`."""
    counts = np.bincount(indices.ravel(), minlength=len(centroids))
    used = counts[counts > 0]
    entropy = math.log2(indices.size) - float((used * np.log2(used)).sum()) / indices.size
    zeros = int(counts[centroids == 0].sum()) / indices.size
    return Statistics(indices.size, len(used), zeros, max(0.0, entropy))


def _symbols(values: Array, tensor: Tensor) -> _Symbols:
    """Returns the numbers as unsigned integers that are equal exactly where the numbers are."""
    size = values.itemsize
    symbols = values.view(f"u{size}")
    if "float" in tensor.dtype:
        minus_zero = 1 << (8 * size - 1)
        return np.where(symbols == minus_zero, symbols.dtype.type(0), symbols)
    return symbols


def _zero(values: Array, tensor: Tensor) -> Array:
    """Returns the symbol of 0: one for the tensor, or one per index of the axis along which zero points differ."""
    points = tensor.zero_points if values.dtype.kind in "iu" and "float" not in tensor.dtype else ()
    fits = len(points) > 1 and values.ndim > tensor.axis >= 0 and values.shape[tensor.axis] == len(points)
    if len(points) != 1 and not fits:
        return np.zeros((), values.dtype).view(f"u{values.itemsize}")
    symbols = np.asarray(points).astype(values.dtype).view(f"u{values.itemsize}")
    return symbols.reshape([-1 if fits and axis == tensor.axis else 1 for axis in range(values.ndim)])


def _distinct(symbols: _Symbols) -> tuple[int, float]:
    """Returns the number of distinct symbols, and their entropy in bits per symbol."""
    unique, weighted = 0, 0.0  # `weighted` is Σ c·log2(c) over the counts c.
    for counts in _counts(symbols):
        unique += int(np.count_nonzero(counts))
        counts = counts[counts > 1]
        weighted += float((counts * np.log2(counts)).sum())
    total = symbols.size
    return unique, max(0.0, math.log2(total) - weighted / total) if total else 0.0


def _counts(symbols: _Symbols) -> Iterator[npt.NDArray[np.int64]]:
    """Yields arrays with one count per distinct symbol. Sorts `symbols` in place unless they are a view of the file."""
    is_copy, symbols = symbols.base is None, symbols.reshape(-1)
    chunks = range(0, symbols.size, _CHUNK)
    if symbols.itemsize <= 2:
        counts = np.zeros(1 << (8 * symbols.itemsize), np.int64)
        for start in chunks:
            counts += np.bincount(symbols[start : start + _CHUNK], minlength=len(counts))
        yield counts
        return
    ordered = symbols if is_copy else symbols.copy()
    ordered.sort()
    first = np.zeros(1, np.int64)  # where the current run of equal symbols begins
    for start in chunks:
        changes = ordered[start + 1 : start + 1 + _CHUNK] != ordered[start : start + _CHUNK][: len(ordered) - start - 1]
        edges = np.concatenate([first, np.flatnonzero(changes) + start + 1])
        yield np.diff(edges)
        first = edges[-1:]
    yield len(ordered) - first
