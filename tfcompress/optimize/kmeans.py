"""One-dimensional k-means from a chosen beginning, for tables of millions of values."""

from __future__ import annotations

from typing import Literal

import numpy as np

from tfcompress.post_training.kmeans import lloyd, midpoints, running_total
from tfcompress.traits import FloatArray

_BINS = 65_536
"""Values are grouped into this many bins, so that the time does not grow with the table."""
_ROUNDS = 500


def clustered(
    values: FloatArray, clusters: int, initialization: Literal["kmeans++", "linear", "density"], seed: int = 0
) -> FloatArray:
    """Returns the values, of any shape, each replaced by the nearest of `clusters` centroids.

    If there are no more distinct values than that, they are returned unchanged.
    """
    if len(np.unique(values)) <= clusters:
        return values
    counts = np.histogram(values, _BINS)[0].astype(np.float64)
    sums = np.histogram(values, _BINS, weights=values.astype(np.float64))[0]
    counts, sums = counts[counts > 0], sums[counts > 0]
    points = sums / counts
    clusters = min(clusters, len(points))
    if initialization == "linear":
        centroids = np.linspace(points[0], points[-1], clusters)
    elif initialization == "density":
        centroids = np.quantile(values, (np.arange(clusters) + 0.5) / clusters).astype(np.float64)
    else:
        from sklearn.cluster import kmeans_plusplus  # takes a second to import

        found, _ = kmeans_plusplus(points[:, None], clusters, sample_weight=counts, random_state=seed)
        centroids = np.sort(found[:, 0])
    centroids = lloyd(points, running_total(counts), running_total(sums), centroids, _ROUNDS)
    nearest = np.searchsorted(midpoints(centroids), values)
    replaced: FloatArray = centroids.astype(values.dtype)[nearest]
    return replaced
