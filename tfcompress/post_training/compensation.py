"""Rounds the weights of a layer so that its outputs change least, rather than its weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.sparse.linalg import LinearOperator, cg

from tfcompress.post_training.kmeans import Doubles
from tfcompress.post_training.rounding import Mask, Rounding
from tfcompress.tflite.tensor import Bytes

Order = npt.NDArray[np.intp]

_BLOCK = 64
"""Inputs whose errors are passed on together."""
_SWEEPS = 2


def compensated(
    weights: Doubles, moments: Doubles, pruned: Mask | None, roundings: Iterable[Rounding], damping: float
) -> Iterator[tuple[Bytes, Rounding]]:
    """Rounds weights so that they lose least of trace (errorsᵀ · moments · errors), the squared error of the outputs.

    One input after another is rounded, the most important first; those to come take over the errors of those before
    (GPTQ, arXiv 2210.17323). Then each is rounded once more, twice over, now that the errors of all others are known
    (coordinate descent, as in QuantEase, arXiv 2309.01885). Least squares move scales and centroids after the weights.

    Args:
        weights: (inputs, outputs).
        moments: (inputs, inputs), the sum of x xᵀ over inputs x, not zero.
        pruned: in the shape of the weights: which must be rounded to 0, which is a centroid; None if none must.
        roundings: the centroids and scales to begin with; each is a task of its own.
        damping: what is added to the diagonal of the moments, as a fraction of its mean, so that they can be
            factorized; the more, the less do errors correct each other.

    Yields:
        Indices in the shape of the weights, and the rounding that they stand for.
    """
    moments = moments * (len(moments) / float(np.trace(moments)))
    moments[np.diag_indices_from(moments)] += damping
    order = np.argsort(-np.diag(moments), kind="stable")
    factor = _factor(moments, order)
    for rounding in roundings:
        indices = _first_pass(weights, factor, pruned, rounding, order)
        for _ in range(_SWEEPS):
            rounding = _with_fitted_scales(weights, moments, indices, rounding)
            _sweep(weights, moments, pruned, rounding, order, indices)
        indices, rounding = _with_fitted_centroids(weights, moments, indices, rounding)
        yield indices, _with_fitted_scales(weights, moments, indices, rounding)


def _factor(moments: Doubles, order: Order) -> Doubles:
    """Returns R of moments = R Rᵀ, upper triangular for inputs in an order, with columns divided by the diagonal."""
    backwards = order[::-1]
    lower: Doubles = scipy.linalg.cholesky(moments[np.ix_(backwards, backwards)], lower=True, overwrite_a=True)
    factor = lower[::-1, ::-1]
    factor /= np.diag(factor).copy()
    return factor


def _first_pass(weights: Doubles, factor: Doubles, pruned: Mask | None, rounding: Rounding, order: Order) -> Bytes:
    """Rounds one input after another, corrected by the errors of those before.

    With moments = R Rᵀ, R upper triangular, the error of the outputs is the sum of squares of Rᵀ · errors. The term of
    an input depends on those before and none to come, so each is rounded to make its own term smallest. This is GPTQ
    without its inverse (LDLQ, arXiv 2307.13304).
    """
    targets = weights[order]
    indices = np.empty(weights.shape, np.uint8)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        stop = start + len(block)
        errors = np.empty((len(block), weights.shape[1]))
        for place, each in enumerate(block):
            indices[each] = _rounded(targets[start + place], rounding, pruned, each)
            errors[place] = weights[each] - rounding.values(indices[each])
            to_come = slice(start + place + 1, stop)
            targets[to_come] += np.outer(factor[start + place, to_come], errors[place])
        targets[stop:] += factor[start:stop, stop:].T @ errors
    return indices


def _sweep(
    weights: Doubles, moments: Doubles, pruned: Mask | None, rounding: Rounding, order: Order, indices: Bytes
) -> None:
    """Rounds each input once more, in place, to what is best beside all others as they are rounded now."""
    slopes = moments @ (weights - rounding.values(indices))
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        near, own = slopes[block], moments[np.ix_(block, block)]
        moves = np.empty((len(block), weights.shape[1]))
        for place, each in enumerate(block):
            before = rounding.values(indices[each])
            indices[each] = _rounded(before + near[place] / own[place, place], rounding, pruned, each)
            moves[place] = rounding.values(indices[each]) - before
            near -= np.outer(own[:, place], moves[place])
        slopes -= moments[:, block] @ moves


def _rounded(targets: Doubles, rounding: Rounding, pruned: Mask | None, each: int) -> Bytes:
    """Returns the indices of one input's weights."""
    indices = rounding.indices(targets)
    if pruned is not None:
        indices[pruned[each]] = np.searchsorted(rounding.centroids, 0)
    return indices


def _with_fitted_scales(weights: Doubles, moments: Doubles, indices: Bytes, rounding: Rounding) -> Rounding:
    """Returns the rounding with scales by which the outputs change least."""
    if rounding.scales is None:
        return rounding
    unscaled = rounding.centroids[indices]
    image = moments @ unscaled
    power, shared = np.sum(unscaled * image, axis=0), np.sum(weights * image, axis=0)
    fits = (shared > 0) & (power > 0)
    return replace(rounding, scales=np.where(fits, shared / np.where(fits, power, 1), rounding.scales))


def _with_fitted_centroids(
    weights: Doubles, moments: Doubles, indices: Bytes, rounding: Rounding
) -> tuple[Bytes, Rounding]:
    """Returns indices and rounding with centroids, apart from 0, by which the outputs change least."""
    clusters = len(rounding.centroids)
    free = (rounding.centroids != 0).astype(np.float64)
    scales = 1.0 if rounding.scales is None else rounding.scales

    def collected(errors: Doubles) -> Doubles:
        sums: Doubles = np.bincount(indices.ravel(), (errors * scales).ravel(), clusters) * free
        return sums

    def applied(moves: Doubles) -> Doubles:
        return collected(moments @ (moves[indices] * scales))

    diagonal = collected(np.diag(moments)[:, None] * np.broadcast_to(scales, weights.shape))
    inverse = np.where(diagonal > 0, 1 / np.where(diagonal > 0, diagonal, 1), 0)
    moves, _ = cg(
        LinearOperator((clusters, clusters), applied, dtype=np.float64),
        collected(moments @ (weights - rounding.values(indices))),
        maxiter=4,
        M=LinearOperator((clusters, clusters), lambda moves: inverse * moves, dtype=np.float64),
    )
    centroids = rounding.centroids + moves
    order = np.argsort(centroids, kind="stable")
    return np.argsort(order).astype(np.uint8)[indices], replace(rounding, centroids=centroids[order])
