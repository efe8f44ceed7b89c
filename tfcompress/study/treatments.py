"""What is tried on each layer: a recipe's settings for it, applied to its kernel at once, without training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tf_keras

from tfcompress.optimize.clustering import Cluster, LayerClustering
from tfcompress.optimize.kmeans import clustered
from tfcompress.optimize.pruning import LayerPruning, Prune
from tfcompress.optimize.technique import LayerTechnique
from tfcompress.traits import FloatArray

Treatment = LayerPruning | LayerClustering

TREATMENTS: Mapping[type[LayerTechnique[Any]], Sequence[Treatment]] = {
    Prune: [LayerPruning(sparsity=share) for share in (0.5, 0.75)],
    Cluster: [LayerClustering(clusters=number) for number in (128, 64, 32, 16)],
}
"""By technique, in their order in a recipe; the gentlest first."""


def treatments(layer: tf_keras.layers.Layer) -> Iterator[tuple[str, Treatment]]:
    """Yields the technique's name and the settings of all that a recipe could do to a layer: no table is pruned."""
    for technique, settings in TREATMENTS.items():
        if type(layer) in technique.layer_types:
            yield from ((technique.name, setting) for setting in settings)


def treated(kernel: FloatArray, treatment: Treatment, keep_zeros: bool = False) -> FloatArray:
    """Returns a treated copy of a kernel of any shape.

    Pruning is tfmot's: the weights as large as the smallest one that must stay are all kept. Clustering takes the
    nearest of the centroids of k-means.

    Args:
        kernel: as it is.
        treatment: what to do.
        keep_zeros: whether zeros were pruned; they are then one of the clusters, and no other weight becomes zero.
    """
    if isinstance(treatment, LayerPruning):
        kept = max(1, round(kernel.size * (1 - treatment.sparsity)))
        threshold = np.partition(np.abs(kernel), kernel.size - kept, axis=None)[kernel.size - kept]
        return np.where(np.abs(kernel) >= threshold, kernel, np.float32(0))
    others = kernel != 0 if keep_zeros else np.ones_like(kernel, bool)
    copy = kernel.copy()
    copy[others] = clustered(kernel[others], treatment.clusters - keep_zeros, treatment.initialization)
    return copy
