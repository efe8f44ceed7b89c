"""How many different numbers a tensor stores, how many zeros, and how few bits they could take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfcompress.tflite.tensor import Bytes, Tensor

_CHUNK = 1 << 20
"""Elements that are counted at once, so that the counts of a large tensor take no memory to speak of."""


@dataclass(frozen=True)
class Statistics:
    """Figures of the stored numbers of a tensor.

    Attributes:
        stored: how many are stored: all, or fewer of a sparse tensor.
        unique: distinct ones; -0 is 0, and a NaN is equal to itself.
        zeros: share of the tensor's elements that stand for 0: that have the zero point, or are not stored.
        entropy: of the stored ones, each by itself, in bits: Σ p·log2(1/p).
    """

    stored: int
    unique: int
    zeros: float
    entropy: float


def statistics(tensor: Tensor) -> Statistics | None:
    """Counts the numbers of a constant; None for elements of more than 64 bits or of no fixed size."""
    if not 0 < tensor.bits <= 64:
        return None
    values = tensor.values()
    symbols = _symbols(values, tensor)
    zeros = tensor.elements - values.size + int(np.count_nonzero(symbols == _zero(values, tensor)))
    unique, entropy = _distinct(symbols)
    return Statistics(values.size, unique, zeros / tensor.elements, entropy)


def packed_statistics(indices: Bytes, centroids: npt.NDArray[Any]) -> Statistics:
    """Counts weights that are indices into some centroids, which alone are `unique`."""
    counts = np.bincount(indices.ravel(), minlength=len(centroids))
    used = counts[counts > 0]
    entropy = math.log2(indices.size) - float((used * np.log2(used)).sum()) / indices.size
    zeros = int(counts[centroids == 0].sum()) / indices.size
    return Statistics(indices.size, len(used), zeros, max(0.0, entropy))


def _symbols(values: npt.NDArray[Any], tensor: Tensor) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Returns the numbers as unsigned integers, equal ones as equal ones."""
    size = values.itemsize
    symbols = values.view(f"u{size}")
    if "float" in tensor.dtype:
        minus_zero = 1 << (8 * size - 1)
        return np.where(symbols == minus_zero, symbols.dtype.type(0), symbols)
    return symbols


def _zero(values: npt.NDArray[Any], tensor: Tensor) -> npt.NDArray[Any]:
    """Returns the symbol of 0: one for all, or one for each index of the axis along which zero points differ."""
    points = tensor.zero_points if values.dtype.kind in "iu" and "float" not in tensor.dtype else ()
    fits = len(points) > 1 and values.ndim > tensor.axis >= 0 and values.shape[tensor.axis] == len(points)
    if len(points) != 1 and not fits:
        return np.zeros((), values.dtype).view(f"u{values.itemsize}")
    symbols = np.asarray(points).astype(values.dtype).view(f"u{values.itemsize}")
    return symbols.reshape([-1 if fits and axis == tensor.axis else 1 for axis in range(values.ndim)])


def _distinct(symbols: npt.NDArray[np.unsignedinteger[Any]]) -> tuple[int, float]:
    """Returns how many different ones there are, and their entropy in bits."""
    unique, weighted = 0, 0.0  # the latter is Σ c·log2(c) of the counts
    for counts in _counts(symbols):
        unique += int(np.count_nonzero(counts))
        counts = counts[counts > 1]
        weighted += float((counts * np.log2(counts)).sum())
    total = symbols.size
    return unique, max(0.0, math.log2(total) - weighted / total) if total else 0.0


def _counts(symbols: npt.NDArray[np.unsignedinteger[Any]]) -> Iterator[npt.NDArray[np.int64]]:
    """Yields arrays of counts, one count for each different symbol; a copy of the file's is sorted in its place."""
    copy, symbols = symbols.base is None, symbols.reshape(-1)
    chunks = range(0, symbols.size, _CHUNK)
    if symbols.itemsize <= 2:
        counts = np.zeros(1 << (8 * symbols.itemsize), np.int64)
        for start in chunks:
            counts += np.bincount(symbols[start : start + _CHUNK], minlength=len(counts))
        yield counts
        return
    ordered = symbols if copy else symbols.copy()
    ordered.sort()
    first = np.zeros(1, np.int64)  # where the run that is being counted begins
    for start in chunks:
        changes = ordered[start + 1 : start + 1 + _CHUNK] != ordered[start : start + _CHUNK][: len(ordered) - start - 1]
        edges = np.concatenate([first, np.flatnonzero(changes) + start + 1])
        yield np.diff(edges)
        first = edges[-1:]
    yield len(ordered) - first
