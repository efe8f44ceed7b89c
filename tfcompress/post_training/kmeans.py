"""Exact one-dimensional k-means: the centroids of the least squared error.

Clusters of numbers are runs of the sorted numbers, so dynamic programming finds the best ones (Wang & Song, 2011). The
best border moves only upwards with the number of points, so divide and conquer takes O(points × log points) for each
further cluster (Grønlund et al., arXiv 1701.07204).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_BINS = 4096
_ROUNDS = 10_000
_LEAST_WEIGHT = 1e-9
"""What every value weighs at least, as a fraction of the mean: no value is out of reach of all centroids."""


def exact_centroids(
    values: npt.NDArray[np.floating], weights: npt.NDArray[np.floating] | None, clusters: int
) -> Doubles:
    """Returns the centroids of numbers, (clusters,) and ascending, or fewer if there are fewer distinct numbers.

    They are exact for at most 4,096 distinct numbers. More are put into so many bins, half of them of equal weight and
    half of equal width; from the best centroids of these Lloyd's rounds over all numbers follow until nothing moves.

    Args:
        values: finite numbers of any shape.
        weights: of the shape of `values`, not negative: how much a squared error counts; None if all count the same.
        clusters: number of centroids, from 1.
    """
    order = np.argsort(values, axis=None)
    points = values.ravel()[order].astype(np.float64)
    if weights is None or not weights.any():
        masses = np.ones(len(points))
    else:
        masses = weights.ravel()[order].astype(np.float64)
        masses /= masses.mean()
        np.maximum(masses, _LEAST_WEIGHT, out=masses)
    del order
    starts = _starts_of_bins(points, masses)
    moments = masses * points
    binned = np.add.reduceat(masses, starts)
    means = np.add.reduceat(moments, starts) / binned
    if len(starts) <= clusters:
        return means
    borders = _best_borders(means, binned, clusters)
    centroids = np.add.reduceat(binned * means, borders) / np.add.reduceat(binned, borders)
    return lloyd(points, masses, moments, centroids)


def lloyd(points: Doubles, masses: Doubles, moments: Doubles, centroids: Doubles, rounds: int = _ROUNDS) -> Doubles:
    """Moves centroids to the means of the points that are nearest to them, until nothing moves (Lloyd, 1982).

    Args:
        points: (points,), ascending.
        masses: (points,): the weight of each point.
        moments: (points,): the weight of each point times the point.
        centroids: (clusters,), ascending; one without points stays where it is.
        rounds: the most rounds.
    """
    # The points of a cluster are adjacent, so its mean follows from two running totals.
    mass, moment = (np.concatenate([[0.0], np.cumsum(x)]) for x in (masses, moments))
    for _ in range(rounds):
        borders = np.concatenate([[0], np.searchsorted(points, midpoints(centroids)), [len(points)]])
        size = np.diff(mass[borders])
        moved = np.where(size > 0, np.diff(moment[borders]) / np.where(size > 0, size, 1), centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids


def midpoints(centroids: Doubles) -> Doubles:
    """Returns the numbers half-way between neighbouring centroids."""
    middles: Doubles = (centroids[:-1] + centroids[1:]) / 2
    return middles


def _starts_of_bins(points: Doubles, masses: Doubles) -> Integers:
    """Returns where bins of ascending points begin: a bin for each distinct point if these are few enough."""
    starts = np.flatnonzero(np.concatenate([[True], points[1:] > points[:-1]]))
    if len(starts) <= _BINS:
        return starts
    half = _BINS // 2
    total = np.cumsum(masses)
    by_mass = np.searchsorted(total, np.arange(1, half) * (total[-1] / half))
    by_width = np.searchsorted(points, np.linspace(points[0], points[-1], half + 1)[1:-1])
    chosen = np.concatenate([[0], by_mass, by_width])
    # Equal points stay together.
    return np.unique(starts[np.searchsorted(starts, np.minimum(chosen, starts[-1]))])


def _best_borders(points: Doubles, masses: Doubles, clusters: int) -> Integers:
    """Returns where each of the best clusters of ascending points begins, (clusters,); there are more points."""
    count = len(points)
    mass = np.concatenate([[0.0], np.cumsum(masses)])
    # Numbers around 0 keep the differences of running totals exact.
    moment = np.concatenate([[0.0], np.cumsum(masses * (points - np.average(points, weights=masses)))])
    # To lose the least is to keep the most of Σ moment² / mass. kept[i]: of the first i points in the clusters so far.
    kept = np.concatenate([[0.0], moment[1:] ** 2 / mass[1:]])
    begins = np.zeros((clusters, count + 1), np.int32)
    for cluster in range(1, clusters):
        begins[cluster], kept = _add_cluster(mass, moment, kept, cluster)
    borders = np.zeros(clusters, np.int64)
    end = count
    for cluster in range(clusters - 1, 0, -1):
        end = borders[cluster] = begins[cluster, end]
    return borders


def _add_cluster(mass: Doubles, moment: Doubles, kept: Doubles, cluster: int) -> tuple[npt.NDArray[np.int32], Doubles]:
    """Returns where the last of `cluster` + 1 clusters of the first i points begins, for each i, and what they keep."""
    count = len(kept) - 1
    begins = np.full(count + 1, cluster, np.int32)
    most = np.full(count + 1, -np.inf)
    step = 1 << count.bit_length()
    while step:
        # The answers for both neighbours, a step away, are known: the answer lies between theirs.
        ends = np.arange(step, count + 1, 2 * step)
        ends = ends[ends > cluster]
        if len(ends):
            after = ends + step
            low = begins[ends - step]
            high = np.minimum(np.where(after <= count, begins[np.minimum(after, count)], count), ends - 1)
            lengths = high - low + 1
            firsts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
            owners = np.repeat(np.arange(len(ends)), lengths)
            tried = np.arange(len(owners)) - (firsts - low)[owners]
            last = ends[owners]
            gains = kept[tried] + (moment[last] - moment[tried]) ** 2 / (mass[last] - mass[tried])
            best = np.maximum.reduceat(gains, firsts)
            hits = np.flatnonzero(gains == best[owners])[::-1]
            begins[last[hits]] = tried[hits]
            most[ends] = best
        step //= 2
    return begins, most
