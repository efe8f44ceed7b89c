"""The treatments that a study tries on each layer: settings of a recipe, applied to a kernel without training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import tf_keras

from tfcompress.optimize.clustering import Cluster, LayerClustering
from tfcompress.optimize.pruning import LayerPruning, Prune
from tfcompress.optimize.technique import KernelSettings

TREATMENTS: Mapping[type[Prune | Cluster], Sequence[KernelSettings]] = {
    Prune: [LayerPruning(sparsity=share) for share in (0.5, 0.75)],
    Cluster: [LayerClustering(clusters=number) for number in (128, 64, 32, 16)],
}
"""The settings to try by technique, in the order of a recipe; the mildest come first."""


def treatments(layer: tf_keras.layers.Layer) -> Iterator[tuple[str, KernelSettings]]:
    """Yields technique name and settings of each treatment that a recipe could give a layer; tables are not pruned."""
    for technique, settings in TREATMENTS.items():
        if type(layer) in technique.layer_types:
            yield from ((technique.name, setting) for setting in settings)
