"""Clusters one kernel or table without training: few centroids, and each weight rounded so that outputs change least.

The centroids come from exact k-means, in which an error counts as much as its input is large (SqueezeLLM, arXiv
2306.07629). The weights are then rounded input after input: the inputs to come take over the error in the output that
those before have made (GPTQ, arXiv 2210.17323, in the form of LDLQ, arXiv 2307.13304, which needs no inverse).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from tfcompress.packed.codebook import Codebook, find_codebook
from tfcompress.post_training.kmeans import Doubles, exact_centroids, midpoints

FloatArray = npt.NDArray[np.float32]

_DAMPING = 0.01
"""What is added to the diagonal of the moments, as a fraction of its mean, so that they can be factorized."""
_PRUNED = 0.05
"""The fraction of zeros from which on a kernel is pruned; other trained kernels have almost no exact zeros."""
_LARGEST = 127
"""The largest centroid if there are scales: rounding the centroids to int8 then needs no scale of its own."""
_SCALE_BITS = 32
_BLOCK = 64
"""Inputs that are rounded before their errors are passed on to all inputs to come."""


@dataclass(frozen=True)
class Settings:
    """How a kernel is clustered.

    Attributes:
        clusters: the most distinct centroids, 2 to 256.
        scales: whether each output, or row of a table, has a scale; None: where it pays.
        compensated: whether the inputs to come take over the errors of those before, if moments are known.
    """

    clusters: int = 64
    scales: bool | None = None
    compensated: bool = True


@dataclass(frozen=True, eq=False)
class _Rounding:
    """Ascending centroids, and a positive scale for each row, (rows,)."""

    centroids: Doubles
    scales: Doubles

    def indices(self, weights: Doubles) -> npt.NDArray[np.int64]:
        """Returns the nearest centroid of weights (…, rows)."""
        return np.searchsorted(midpoints(self.centroids), weights / self.scales)

    def values(self, indices: npt.NDArray[np.integer]) -> Doubles:
        """Returns the weights of indices (…, rows)."""
        weights: Doubles = self.centroids[indices] * self.scales
        return weights


def cluster_kernel(kernel: FloatArray, moments: Doubles | None, settings: Settings) -> Codebook:
    """Clusters the kernel of a dense layer, or of a convolution that is one.

    The zeros of a pruned kernel stay zero. A kernel with no more distinct values than clusters stays as it is.

    Args:
        kernel: finite, (outputs, …); all axes but the first are inputs.
        moments: (inputs, inputs), the sum of x xᵀ over inputs x of the layer; None if none are known.
        settings: how to cluster.
    """
    known = _found(kernel, settings)
    if known is not None:
        return known
    weights = kernel.reshape(len(kernel), -1).T.astype(np.float64)
    importance = np.ones(len(weights))
    if moments is not None and moments.any():
        moments = moments * (len(moments) / float(np.trace(moments)))
        importance = np.diag(moments)
    zeros = weights == 0
    if zeros.mean() < _PRUNED:
        zeros[:] = False
    rounding = _best_rounding(weights, importance[:, None], zeros, settings)
    if moments is None or not settings.compensated:
        indices = rounding.indices(weights)
        indices[zeros] = np.searchsorted(rounding.centroids, 0)
    else:
        moments = moments + _DAMPING * np.eye(len(moments))
        indices = _compensated(weights, moments, zeros, rounding)
        rounding = _fitted(weights, moments, indices, rounding)
    return _codebook(rounding, indices.T.reshape(kernel.shape))


def cluster_table(table: FloatArray, counts: npt.NDArray[np.integer] | None, settings: Settings) -> Codebook:
    """Clusters a table of embeddings.

    Args:
        table: finite, (rows, width).
        counts: (rows,): how often each row is used; None if that is not known.
        settings: how to cluster.
    """
    known = _found(table, settings)
    if known is not None:
        return known
    weights = table.T.astype(np.float64)
    importance = np.ones(len(table)) if counts is None else 1 + counts.astype(np.float64)
    zeros = np.zeros(weights.shape, bool)
    rounding = _best_rounding(weights, importance[None, :], zeros, settings)
    return _codebook(rounding, rounding.indices(weights).T)


def _found(weights: FloatArray, settings: Settings) -> Codebook | None:
    """Returns the codebook of weights that are clustered already."""
    found = find_codebook(np.ascontiguousarray(weights, np.float32))
    return found if found is not None and len(found.centroids) <= settings.clusters else None


def _best_rounding(
    weights: Doubles, importance: Doubles, zeros: npt.NDArray[np.bool_], settings: Settings
) -> _Rounding:
    """Returns the centroids and scales of weights (inputs, rows), of which errors count as `importance` says.

    Scales take 32 bits a row. A further bit a weight would divide the squared error by 4, so the same bits spent there
    would divide it by 4 ** (32 / inputs): scales must do better.
    """
    tried = []
    for scaled in (False, True) if settings.scales is None else (settings.scales,):
        scales = np.ones(weights.shape[1])
        if scaled:
            scales = np.sqrt((weights**2).mean(axis=0))
            scales = np.maximum(scales, 1e-6 * scales.max())
        if zeros.any():
            kept = ~zeros
            counted = np.broadcast_to(importance * scales**2, weights.shape)[kept]
            centroids = exact_centroids((weights / scales)[kept], counted, settings.clusters - 1)
            centroids = np.unique(np.append(centroids, 0.0))
        else:
            counted = np.broadcast_to(importance * scales**2, weights.shape)
            centroids = exact_centroids(weights / scales, counted, settings.clusters)
        rounding = _Rounding(centroids, scales)
        error = np.sum(importance * (weights - rounding.values(rounding.indices(weights))) ** 2)
        tried.append((error * 4 ** (_SCALE_BITS / len(weights)) if scaled else error, rounding))
    return min(tried, key=lambda pair: pair[0])[1]


def _compensated(
    weights: Doubles, moments: Doubles, zeros: npt.NDArray[np.bool_], rounding: _Rounding
) -> npt.NDArray[np.int64]:
    """Rounds weights (inputs, outputs), the most important input first, each corrected by the errors of those before.

    With moments = R Rᵀ, R upper triangular, the error of the outputs is the sum of squares of Rᵀ (weights − rounded).
    Its term of an input depends on no input to come, so that each input is rounded to make its own term smallest.
    """
    order = np.argsort(-np.diag(moments), kind="stable")
    backwards = order[::-1]
    factor = scipy.linalg.cholesky(moments[np.ix_(backwards, backwards)], lower=True, overwrite_a=True)[::-1, ::-1]
    factor /= np.diag(factor).copy()
    targets = weights[order]
    indices = np.empty(weights.shape, np.int64)
    zero = np.searchsorted(rounding.centroids, 0)
    for start in range(0, len(order), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(order)))
        errors = np.empty((block.stop - start, weights.shape[1]))
        for place in range(start, block.stop):
            rounded = rounding.indices(targets[place])
            rounded[zeros[order[place]]] = zero
            indices[order[place]] = rounded
            errors[place - start] = weights[order[place]] - rounding.values(rounded)
            targets[place + 1 : block.stop] += np.outer(factor[place, place + 1 : block.stop], errors[place - start])
        targets[block.stop :] += factor[block, block.stop :].T @ errors
    return indices


def _fitted(weights: Doubles, moments: Doubles, indices: npt.NDArray[np.int64], rounding: _Rounding) -> _Rounding:
    """Moves centroids other than 0 to where the outputs change least, by conjugate gradients."""
    free = (rounding.centroids != 0).astype(np.float64)
    flat = indices.ravel()

    def collected(errors: Doubles) -> Doubles:
        sums: Doubles = np.bincount(flat, (errors * rounding.scales).ravel(), len(free)) * free
        return sums

    def applied(moves: Doubles) -> Doubles:
        return collected(moments @ (moves[indices] * rounding.scales))

    diagonal = collected(np.diag(moments)[:, None] * rounding.scales)
    inverse = np.where(diagonal > 0, 1 / np.where(diagonal > 0, diagonal, 1), 0)
    residual = collected(moments @ (weights - rounding.values(indices)))
    return _Rounding(rounding.centroids + _conjugate_gradients(applied, residual, inverse), rounding.scales)


def _conjugate_gradients(
    applied: Callable[[Doubles], Doubles], residual: Doubles, inverse: Doubles, rounds: int = 10
) -> Doubles:
    """Returns x with `applied(x)` near `residual`; `inverse` is the inverse of about the diagonal."""
    found = np.zeros_like(residual)
    preconditioned = direction = inverse * residual
    power = residual @ preconditioned
    first = power
    for _ in range(rounds):
        if power <= 1e-8 * first or not power:
            break
        image = applied(direction)
        length = power / (direction @ image)
        found = found + length * direction
        residual = residual - length * image
        preconditioned = inverse * residual
        before, power = power, residual @ preconditioned
        direction = preconditioned + power / before * direction
    return found


def _codebook(rounding: _Rounding, indices: npt.NDArray[np.int64]) -> Codebook:
    """Returns the codebook without centroids that no weight has."""
    centroids, scales = rounding.centroids, rounding.scales
    if np.all(scales == 1):
        scales = scales[:0]
    else:
        unit = np.abs(centroids).max() / _LARGEST
        centroids, scales = centroids / unit, scales * unit
    used, places = np.unique(indices, return_inverse=True)
    distinct, order = np.unique(centroids[used].astype(np.float32), return_inverse=True)
    return Codebook(distinct, order[places].astype(np.uint8).reshape(indices.shape), scales.astype(np.float32))
