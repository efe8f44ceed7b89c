"""Rounding of weights to few centroids, which may be scaled by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfcompress.post_training.kmeans import Doubles, Floats, exact_centroids, midpoints
from tfcompress.tflite.tensor import Bytes

Mask = npt.NDArray[np.bool_]

_SCALE_BITS = 32
_FACTORS = np.linspace(0.75, 1.25, 15)
_SEARCHES = 2
_SLICE = 1 << 20


@dataclass(frozen=True, eq=False)
class Rounding:
    """What weights are rounded to. The last axis of weights are their rows: the outputs of a layer.

    Attributes:
        centroids: (clusters,), ascending.
        scales: (rows,), positive: a weight is a centroid times the scale of its row; None if all are 1.
    """

    centroids: Doubles
    scales: Doubles | None

    def indices(self, weights: Floats) -> Bytes:
        """Returns the nearest centroids of weights (…, rows)."""
        scaled = weights if self.scales is None else weights / self.scales
        return np.searchsorted(midpoints(self.centroids), scaled).astype(np.uint8)

    def values(self, indices: Bytes) -> Doubles:
        """Returns the weights of indices (…, rows)."""
        weights: Doubles = self.centroids[indices]
        return weights if self.scales is None else weights * self.scales

    def of(self, rows: slice) -> Rounding:
        """Returns the rounding of some of the rows."""
        return Rounding(self.centroids, None if self.scales is None else self.scales[rows])


def slices(weights: Floats) -> Iterator[slice]:
    """Yields the rows of weights (inputs, rows), so many at a time that what is computed for them takes few bytes."""
    inputs, rows = weights.shape
    step = max(1, _SLICE // inputs)
    for start in range(0, rows, step):
        yield slice(start, start + step)


def best_rounding(
    weights: Floats, importance: Doubles, pruned: Mask | None, clusters: int, scaled: bool | None
) -> Rounding:
    """Returns the rounding that loses least of weights.

    Args:
        weights: (inputs, rows).
        importance: (inputs, 1) or (1, rows), positive: how much a squared error counts.
        pruned: in the shape of the weights: which are zero and stay it, so that a centroid is 0; None if none are.
        clusters: the most centroids.
        scaled: whether rows are scaled; None: if it pays. A scale takes 32 bits. A further bit a weight would divide
            the squared error by 4, so the same bits spent there would divide it by 4 ** (32 / inputs).
    """
    if scaled is False:
        return _without_scales(weights, importance, pruned, clusters)
    best = _with_scales(weights, importance, pruned, clusters)
    if scaled is None:
        plain = _without_scales(weights, importance, pruned, clusters)
        cost = 4 ** (_SCALE_BITS / len(weights))
        if np.sum(_errors(weights, importance, plain)) <= cost * np.sum(_errors(weights, importance, best)):
            return plain
    return best


def _without_scales(weights: Floats, importance: Doubles, pruned: Mask | None, clusters: int) -> Rounding:
    return Rounding(_centroids(weights, importance, None, pruned, clusters), None)


def _with_scales(weights: Floats, importance: Doubles, pruned: Mask | None, clusters: int) -> Rounding:
    """Returns a rounding with scales: the root mean squares of rows, then whichever near them loses least."""
    scales = np.sqrt(np.einsum("ir,ir->r", weights, weights, dtype=np.float64) / len(weights))
    scales = np.maximum(scales, 1e-6 * scales.max())
    rounding = Rounding(_centroids(weights, importance, scales, pruned, clusters), scales)
    for _ in range(_SEARCHES):
        tried = scales * _FACTORS[:, None]
        errors = [_errors(weights, importance, Rounding(rounding.centroids, each)) for each in tried]
        scales = tried[np.argmin(errors, axis=0), np.arange(len(scales))]
        rounding = Rounding(_centroids(weights, importance, scales, pruned, clusters), scales)
    return rounding


def _centroids(
    weights: Floats, importance: Doubles, scales: Doubles | None, pruned: Mask | None, clusters: int
) -> Doubles:
    """Returns the best centroids of weights (inputs, rows) that the scales divide."""
    if scales is not None:
        weights, importance = weights / scales.astype(weights.dtype), importance * scales**2
    importance = np.broadcast_to(importance, weights.shape)
    if pruned is None:
        return exact_centroids(weights, importance, clusters)
    kept = ~pruned
    return np.unique(np.append(exact_centroids(weights[kept], importance[kept], clusters - 1), 0.0))


def _errors(weights: Floats, importance: Doubles, rounding: Rounding) -> Doubles:
    """Returns the squared error of each row, (rows,), if weights (inputs, rows) are rounded to the nearest."""
    errors = np.empty(weights.shape[1])
    for rows in slices(weights):
        part, some = weights[:, rows], rounding.of(rows)
        squared = (part - some.values(some.indices(part))) ** 2
        errors[rows] = np.sum(squared * (importance if importance.shape[1] == 1 else importance[:, rows]), axis=0)
    return errors
