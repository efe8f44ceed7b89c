"""Finds the codebook of clustered weights: the few distinct numbers that they consist of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tfcompress.tflite.tensor import Array, Bytes

MAX_CENTROIDS = 256
_SAMPLE = 1 << 14


@dataclass(frozen=True, eq=False)
class Codebook:
    """Weights as centroids and indices, and a scale per row if there are any.

    Attributes:
        centroids: float32 or int8, ascending, with distinct bits; -0 comes before 0.
        indices: uint8, in the shape of the weights, whose first axis is their rows: the outputs of a dense layer.
        scales: float32, positive, (rows,), or empty: a weight is its centroid times the scale of its row.
    """

    centroids: Array
    indices: Bytes
    scales: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def values(self) -> Array:
        """Returns the weights: float32 if there are scales, else of the type of the centroids."""
        weights: Array = self.centroids[self.indices]
        if self.scales.size:
            weights = weights * self.scales.reshape(-1, *[1] * (weights.ndim - 1))
        return weights


class ScaledCentroids(NamedTuple):
    """A codebook with scales, without the indices: see `Codebook`."""

    centroids: npt.NDArray[np.float32]
    scales: npt.NDArray[np.float32]


def scaled_centroids(book: Codebook) -> ScaledCentroids:
    """Returns a codebook with scales without its indices."""
    return ScaledCentroids(book.centroids.astype(np.float32), book.scales)


def find_scaled_codebook(weights: Array, known: ScaledCentroids) -> Codebook | None:
    """Returns the codebook of float32 weights whose centroids and positive scales are known.

    Where several centroids give a weight, it has the first of them, so that the indices follow from the weights.

    Returns None if not each weight is the product of a centroid and the scale of its row, to the bit.
    """
    centroids, scales = known
    if weights.dtype != np.float32 or len(scales) != len(weights):
        return None
    indices = np.empty(weights.shape, np.uint8)
    for row, scale, found in zip(weights, scales, indices, strict=True):
        products, keys = _keys(centroids * scale), _keys(row)
        places = np.minimum(np.searchsorted(products, keys), len(products) - 1)
        if (products[places] != keys).any():
            return None
        found[...] = places
    return Codebook(centroids, indices, scales)


def find_codebook(weights: Array) -> Codebook | None:
    """Returns the codebook of float32 or int8 weights.

    Returns None if the weights have more than `MAX_CENTROIDS` distinct values, or some are NaN or infinite.
    """
    if weights.dtype == np.float32 and not np.isfinite(weights).all():
        return None
    keys = _keys(weights).ravel()
    known = np.unique(keys[:: max(1, keys.size // _SAMPLE)])
    while len(known) <= MAX_CENTROIDS:
        places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        missed = keys[known[places] != keys]
        if not missed.size:
            centroids = _values(known, weights.dtype)
            return Codebook(centroids, places.astype(np.uint8).reshape(weights.shape))
        known = np.union1d(known, np.unique(missed[:_SAMPLE]))
    return None


def count_distinct(weights: Array) -> int:
    """Returns how many distinct values float32 or int8 weights have; 0 and -0 are two values."""
    return len(np.unique(_keys(weights)))


def _keys(weights: Array) -> Array:
    """Returns integers that have the same order as the numbers, with -0 before 0."""
    if weights.dtype == np.int8:
        return weights
    bits = np.ascontiguousarray(weights, np.float32).view(np.int32)
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


def _values(keys: Array, dtype: np.dtype) -> Array:
    """Returns the numbers of keys that `_keys` made."""
    bits: Array = keys ^ ((keys >> 31) & np.int32(0x7FFFFFFF)) if dtype == np.float32 else keys
    return bits.view(dtype)
