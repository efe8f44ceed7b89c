"""Clusters one kernel or one table without training.

The centroids come from exact k-means, in which an error counts as its input does (after SqueezeLLM, arXiv 2306.07629);
then the weights are rounded so that the outputs change least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tfcompress.errors import UserError
from tfcompress.packed.codebook import MAX_CENTROIDS, Codebook, find_codebook
from tfcompress.post_training.compensation import compensated
from tfcompress.post_training.kmeans import Doubles, Floats
from tfcompress.post_training.rounding import Mask, Rounding, best_roundings, slices
from tfcompress.tflite.tensor import Bytes

FloatArray = npt.NDArray[np.float32]

_PRUNED = 0.05
"""The fraction of zeros from which on a kernel is pruned; other trained kernels have almost no exact zeros."""
_LARGEST = 127
"""The largest centroid if there are scales: rounding the centroids to int8 then needs no scale of its own."""


@dataclass(frozen=True)
class Settings:
    """How a kernel is clustered.

    Attributes:
        clusters: the most distinct centroids, 2 to 256.
        scales: whether each output, or row of a table, has a scale; None: where it pays.
        compensated: whether the weights of a layer are rounded for its outputs, if the moments of its inputs are known.
        keep_zeros: whether the zeros of a kernel stay zero; None: if it has so many that it was pruned.
        damping: of the compensation, positive; see `tfcompress.post_training.compensation.compensated`.

    Raises:
        UserError: the number of clusters is out of range.
    """

    clusters: int = 64
    scales: bool | None = None
    compensated: bool = True
    keep_zeros: bool | None = None
    damping: float = 0.01

    def __post_init__(self) -> None:
        if not 2 <= self.clusters <= MAX_CENTROIDS:
            raise UserError(f"{self.clusters} clusters were asked for; from 2 to {MAX_CENTROIDS} are possible")


def cluster_kernel(kernel: FloatArray, moments: Doubles | None, settings: Settings) -> Codebook:
    """Clusters the kernel of a dense layer, or of a convolution that is one.

    The zeros of a pruned kernel stay zero, and so does an output whose weights are all zero. A kernel with no more
    distinct values than clusters stays as it is.

    Args:
        kernel: finite, (outputs, …); all axes but the first are inputs.
        moments: (inputs, inputs), the sum of x xᵀ over inputs x of the layer; None if none are known.
        settings: how to cluster.
    """
    return next(kernel_codebooks(kernel, moments, settings, [settings.clusters]))


def kernel_codebooks(
    kernel: FloatArray, moments: Doubles | None, settings: Settings, clusters: Sequence[int]
) -> Iterator[Codebook]:
    """Yields what `cluster_kernel` returns, for each of several numbers of clusters, which share much of the work."""
    return _unless_clustered(kernel, clusters, lambda wanted: _of_kernel(kernel, moments, settings, wanted))


def cluster_table(table: FloatArray, counts: npt.NDArray[np.integer] | None, settings: Settings) -> Codebook:
    """Clusters a table of embeddings, whose rows are looked up.

    A row of zeros stays zero. A table with no more distinct values than clusters stays as it is.

    Args:
        table: finite, (rows, width).
        counts: (rows,): how often each row is used; None if that is not known.
        settings: how to cluster; tables have no inputs to compensate for.
    """
    return next(table_codebooks(table, counts, settings, [settings.clusters]))


def table_codebooks(
    table: FloatArray, counts: npt.NDArray[np.integer] | None, settings: Settings, clusters: Sequence[int]
) -> Iterator[Codebook]:
    """Yields what `cluster_table` returns, for each of several numbers of clusters."""
    return _unless_clustered(table, clusters, lambda wanted: _of_table(table, counts, settings, wanted))


def _of_kernel(
    kernel: FloatArray, moments: Doubles | None, settings: Settings, clusters: Sequence[int]
) -> Iterator[Codebook]:
    weights = kernel.reshape(len(kernel), -1).T.astype(np.float64)
    zeros = weights == 0
    kept = zeros.mean() >= _PRUNED if settings.keep_zeros is None else settings.keep_zeros
    pruned = _if_any(zeros if kept else zeros & zeros.all(axis=0))
    if moments is None or not moments.any():
        importance, moments = np.ones(len(weights)), None
    else:
        # Compensation spreads errors over inputs, so their importance differs less than without.
        importance = np.diag(moments) ** (0.5 if settings.compensated else 1.0)
    importance = np.maximum(importance, 1e-6 * importance.max())[:, None]
    roundings = best_roundings(weights, importance, pruned, clusters, settings.scales)
    rounded: Iterator[tuple[Bytes, Rounding]]
    if moments is None or not settings.compensated:
        rounded = ((_nearest(weights, pruned, rounding), rounding) for rounding in roundings)
    else:
        rounded = compensated(weights, moments, pruned, roundings, settings.damping)
    for indices, rounding in rounded:
        yield _codebook(rounding, indices.T.reshape(kernel.shape))


def _of_table(
    table: FloatArray, counts: npt.NDArray[np.integer] | None, settings: Settings, clusters: Sequence[int]
) -> Iterator[Codebook]:
    weights = table.T
    importance = np.ones((1, len(table))) if counts is None else 1 + counts.astype(np.float64)[None]
    zeros: Mask = np.logical_not(table.any(axis=1))
    pruned = _if_any(np.broadcast_to(zeros, weights.shape))
    for rounding in best_roundings(weights, importance, pruned, clusters, settings.scales):
        indices = np.empty(table.shape, np.uint8)
        for rows in slices(weights):
            some = None if pruned is None else pruned[:, rows]
            indices[rows] = _nearest(weights[:, rows], some, rounding.of(rows)).T
        yield _codebook(rounding, indices)


def _if_any(mask: Mask) -> Mask | None:
    return mask if mask.any() else None


def _nearest(weights: Floats, pruned: Mask | None, rounding: Rounding) -> Bytes:
    """Returns the nearest centroids of weights, and 0 for pruned ones."""
    indices = rounding.indices(weights)
    if pruned is not None:
        indices[pruned] = np.searchsorted(rounding.centroids, 0)
    return indices


def _unless_clustered(
    weights: FloatArray, clusters: Sequence[int], cluster: Callable[[Sequence[int]], Iterator[Codebook]]
) -> Iterator[Codebook]:
    """Yields the codebook of the weights as they are for numbers of clusters that are large enough for it."""
    known = find_codebook(np.ascontiguousarray(weights, np.float32))
    wanted = [one for one in clusters if known is None or one < len(known.centroids)]
    found = cluster(wanted)
    for one in clusters:
        if known is None or one < len(known.centroids):
            yield next(found)
        else:
            yield known


def _codebook(rounding: Rounding, indices: Bytes) -> Codebook:
    """Returns the codebook of indices (rows, …), without centroids that no weight has."""
    used = np.flatnonzero(np.bincount(indices.ravel(), minlength=len(rounding.centroids)))
    centroids, scales = rounding.centroids[used], np.zeros(0)
    if rounding.scales is not None:
        unit = float(np.abs(centroids).max()) / _LARGEST
        centroids, scales = centroids / unit, rounding.scales * unit
    distinct, places = np.unique(centroids.astype(np.float32), return_inverse=True)
    moved = np.zeros(len(rounding.centroids), np.uint8)
    moved[used] = places
    return Codebook(distinct, moved[indices], scales.astype(np.float32))
