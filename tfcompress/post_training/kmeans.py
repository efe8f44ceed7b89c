"""Exact one-dimensional k-means: the centroids of the least squared error.

Clusters of numbers are runs of the sorted numbers, so dynamic programming finds the best ones (Wang & Song, 2011). The
best border moves only upwards with the number of points, so divide and conquer takes O(points × log points) for each
further cluster (Grønlund et al., arXiv 1701.07204). On its way it finds the best clusters of every smaller number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
Places = npt.NDArray[np.int64]

_BINS = 4096
_ROUNDS = 10_000
_LEAST_WEIGHT = 1e-6
"""What every value weighs at least, as a fraction of the mean: no value is out of reach of all centroids."""
_SORTED = 10_000_000
"""The most values that are sorted, which takes 50 bytes each."""
_SLICE = 1 << 20


def exact_centroids(values: Floats, weights: Floats | None, clusters: Sequence[int]) -> list[Doubles]:
    """Returns the centroids of numbers for each number of clusters, which together take hardly longer than the largest.

    They are (clusters,) and ascending, or fewer if there are fewer distinct numbers.

    They are exact for at most 4,096 distinct numbers. More are put into so many bins, half of them of equal weight and
    half of equal width; from the best centroids of these Lloyd's rounds over all numbers follow until nothing moves.
    Of more than 10 million numbers, those with the same sign, exponent and first 11 bits count as one.

    Args:
        values: finite numbers of any shape.
        weights: of the shape of `values`, not negative: how much a squared error counts; None if all count the same.
        clusters: numbers of centroids, from 1.
    """
    if weights is None or not weights.any():
        weights = np.broadcast_to(1.0, values.shape)
    floor = _LEAST_WEIGHT * float(weights.mean(dtype=np.float64))
    points, masses = _sorted(values, weights, floor) if values.size <= _SORTED else _grouped(values, weights, floor)
    mass, moment = running_total(masses), running_total(masses * points)
    del masses
    borders = np.append(_starts_of_bins(points, mass), len(points))
    binned = np.diff(mass[borders])
    means: Doubles = np.diff(moment[borders]) / binned
    all_starts = _best_starts(means, binned, clusters)
    centroids = (np.add.reduceat(binned * means, starts) / np.add.reduceat(binned, starts) for starts in all_starts)
    return [means if len(means) <= len(one) else lloyd(points, mass, moment, one) for one in centroids]


def lloyd(points: Doubles, mass: Doubles, moment: Doubles, centroids: Doubles, rounds: int = _ROUNDS) -> Doubles:
    """Moves centroids to the means of the points that are nearest to them, until nothing moves (Lloyd, 1982).

    Args:
        points: (points,), ascending.
        mass: (points + 1,), the running total of the weights.
        moment: (points + 1,), the running total of the weights times the points.
        centroids: (clusters,), ascending; one without points stays where it is.
        rounds: the most rounds.
    """
    for _ in range(rounds):
        # The points of a cluster are adjacent, so its mean follows from two running totals.
        borders = np.concatenate([[0], np.searchsorted(points, midpoints(centroids)), [len(points)]])
        size = np.diff(mass[borders])
        moved = np.where(size > 0, np.diff(moment[borders]) / np.where(size > 0, size, 1), centroids)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids


def running_total(numbers: Doubles) -> Doubles:
    """Returns (n + 1,): the sums of the first 0, 1, … and n numbers."""
    totals: Doubles = np.concatenate([[0.0], np.cumsum(numbers)])
    return totals


def midpoints(centroids: Doubles) -> Doubles:
    """Returns the numbers half-way between neighbouring centroids."""
    middles: Doubles = (centroids[:-1] + centroids[1:]) / 2
    return middles


def _sorted(values: Floats, weights: Floats, floor: float) -> tuple[Doubles, Doubles]:
    """Returns values in ascending order, and their weights."""
    order = np.argsort(values, axis=None)
    points = values.ravel()[order].astype(np.float64)
    masses = weights.ravel()[order].astype(np.float64)
    np.maximum(masses, floor, out=masses)
    return points, masses


def _grouped(values: Floats, weights: Floats, floor: float) -> tuple[Doubles, Doubles]:
    """Returns the means of values whose float32 bits start with the same 20, in ascending order, and their weights."""
    masses, moments = np.zeros(1 << 20), np.zeros(1 << 20)
    rows = max(1, _SLICE * len(values) // values.size)
    for start in range(0, len(values), rows):
        part = values[start : start + rows].astype(np.float32).ravel()
        weight = np.maximum(weights[start : start + rows].astype(np.float64).ravel(), floor)
        bits = part.view(np.int32)
        keys = ((bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))) >> 12) + (1 << 19)
        masses += np.bincount(keys, weight, len(masses))
        moments += np.bincount(keys, weight * part, len(masses))
    found = masses > 0
    return moments[found] / masses[found], masses[found]


def _starts_of_bins(points: Doubles, mass: Doubles) -> Places:
    """Returns where bins of ascending points begin: a bin for each distinct point if these are few enough."""
    starts = np.flatnonzero(np.concatenate([[True], points[1:] > points[:-1]]))
    if len(starts) <= _BINS:
        return starts
    half = _BINS // 2
    by_mass = np.searchsorted(mass, np.arange(1, half) * (mass[-1] / half))
    by_width = np.searchsorted(points, np.linspace(points[0], points[-1], half + 1)[1:-1])
    chosen = np.concatenate([[0], by_mass, by_width])
    # Equal points stay together.
    return np.unique(starts[np.searchsorted(starts, np.minimum(chosen, starts[-1]))])


def _best_starts(points: Doubles, masses: Doubles, clusters: Sequence[int]) -> list[Places]:
    """Returns where each of the best clusters of ascending points begins, (clusters,), for each number of clusters.

    There are at most as many clusters as points.
    """
    mass = running_total(masses)
    # Numbers around 0 keep the differences of running totals exact.
    moment = running_total(masses * (points - np.average(points, weights=masses)))
    # To lose the least is to keep the most of Σ moment² / mass. kept[i]: of the first i points in the clusters so far.
    kept = np.concatenate([[0.0], moment[1:] ** 2 / mass[1:]])
    lasts = [np.zeros(len(kept), np.int64)]
    clusters = [min(one, len(points)) for one in clusters]
    for _ in range(1, max(clusters)):
        last, kept = _add_cluster(mass, moment, kept, lasts[-1], len(lasts))
        lasts.append(last)
    return [_traced_back(lasts[:one]) for one in clusters]


def _traced_back(lasts: Sequence[Places]) -> Places:
    """Returns where each cluster begins, from where the last of 1, 2, … clusters of the first i points begins."""
    starts = np.zeros(len(lasts), np.int64)
    end = -1
    for cluster in range(len(lasts) - 1, 0, -1):
        end = starts[cluster] = lasts[cluster][end]
    return starts


def _add_cluster(mass: Doubles, moment: Doubles, kept: Doubles, before: Places, cluster: int) -> tuple[Places, Doubles]:
    """Returns where the last of `cluster` + 1 clusters of the first i points begins, for each i, and what they keep.

    `before` and `kept` are the same with one cluster less.
    """
    count = len(kept) - 1
    # One more than there are points, for what has no neighbour.
    starts = np.append(np.full(count + 1, cluster), count)
    most = np.full(count + 1, -np.inf)
    step = 1 << count.bit_length()
    while step:
        # The answers for both neighbours, a step away, are known: the answer lies between theirs. And with one cluster
        # more, the last of them begins no earlier.
        ends = np.arange(step + 2 * step * ((cluster + step) // (2 * step)), count + 1, 2 * step)  # above `cluster`
        if len(ends):
            low = np.maximum(starts[ends - step], before[ends])
            high = np.minimum(starts[np.minimum(ends + step, count + 1)], ends - 1)
            lengths = high - low + 1
            stops = lengths.cumsum()
            firsts = stops - lengths
            tried = np.arange(stops[-1]) + (low - firsts).repeat(lengths)
            gains = moment[ends].repeat(lengths) - moment[tried]
            gains *= gains
            gains /= mass[ends].repeat(lengths) - mass[tried]
            gains += kept[tried]
            most[ends] = best = np.maximum.reduceat(gains, firsts)
            [hits] = (gains == best.repeat(lengths)).nonzero()
            starts[ends] = tried[hits[hits.searchsorted(firsts)]]  # the first of equals
        step //= 2
    return starts[:-1], most
