"""Rounding of weights to few centroids, which may be scaled by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def best_roundings(
    weights: Floats, importance: Doubles, pruned: Mask | None, clusters: Sequence[int], scaled: bool | None
) -> Iterator[Rounding]:
    """Yields the rounding that loses least of weights, for each number of clusters.

    Args:
        weights: (inputs, rows).
        importance: (inputs, 1) or (1, rows), positive: how much a squared error counts.
        pruned: in the shape of the weights: which are zero and stay it, so that a centroid is 0; None if none are.
        clusters: the most centroids, at least one number.
        scaled: whether rows are scaled; None: if it pays. A scale takes 32 bits. A further bit a weight would divide
            the squared error by 4, so the same bits spent there would divide it by 4 ** (32 / inputs).
    """
    plain = [] if scaled else _roundings(weights, importance, pruned, clusters, None)
    if scaled is False:
        yield from plain
        return
    scales = np.sqrt(np.einsum("ir,ir->r", weights, weights, dtype=np.float64) / len(weights))
    scales = np.maximum(scales, 1e-6 * scales.max())
    cost = 4 ** (_SCALE_BITS / len(weights))
    by_row = _by_row(weights, importance)
    for place, first in enumerate(_roundings(weights, importance, pruned, clusters, scales)):
        best = first
        for _ in range(_SEARCHES):
            better = _better_scales(*by_row, best)
            [best] = _roundings(weights, importance, pruned, [clusters[place]], better)
        if scaled is None:
            lost = [np.sum(_errors(*by_row, rounding)) for rounding in (plain[place], best)]
            best = plain[place] if lost[0] <= cost * lost[1] else best
        yield best


def _roundings(
    weights: Floats, importance: Doubles, pruned: Mask | None, clusters: Sequence[int], scales: Doubles | None
) -> list[Rounding]:
    """Returns, for each number of clusters, the best centroids of weights (inputs, rows) that the scales divide."""
    if scales is not None:
        weights, importance = weights / scales.astype(weights.dtype), importance * scales**2
    importance = np.broadcast_to(importance, weights.shape)
    if pruned is None:
        return [Rounding(centroids, scales) for centroids in exact_centroids(weights, importance, clusters)]
    kept = ~pruned
    found = exact_centroids(weights[kept], importance[kept], [one - 1 for one in clusters])
    return [Rounding(np.unique(np.append(centroids, 0.0)), scales) for centroids in found]


def _by_row(weights: Floats, importance: Doubles) -> tuple[Floats, Doubles]:
    """Returns weights as (rows, inputs), ascending in each row, so that the nearest centroids are found faster.

    Their importance comes with them, (rows, inputs) or (rows, 1).
    """
    by_row = np.ascontiguousarray(weights.T)
    if len(importance) == 1:
        return np.sort(by_row), importance.T
    order = np.argsort(by_row)
    return np.take_along_axis(by_row, order, axis=1), importance[order, 0]


def _better_scales(weights: Floats, importance: Doubles, rounding: Rounding) -> Doubles:
    """Returns whichever scales near those of a rounding lose least of weights (rows, inputs)."""
    assert rounding.scales is not None
    tried = rounding.scales * _FACTORS[:, None]
    errors = [_errors(weights, importance, Rounding(rounding.centroids, scales)) for scales in tried]
    better: Doubles = tried[np.argmin(errors, axis=0), np.arange(len(weights))]
    return better


def _errors(weights: Floats, importance: Doubles, rounding: Rounding) -> Doubles:
    """Returns the squared error of each row, (rows,), if weights (rows, inputs) are rounded to the nearest."""
    errors = np.empty(len(weights))
    middles, all_scales = midpoints(rounding.centroids), rounding.scales
    for rows in slices(weights.T):
        part, scales = weights[rows], 1.0 if all_scales is None else all_scales[rows, None]
        nearest = rounding.centroids[np.searchsorted(middles, part / scales)] * scales
        errors[rows] = np.sum((part - nearest) ** 2 * importance[rows], axis=1)
    return errors
