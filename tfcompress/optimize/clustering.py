"""Weight clustering: each kernel keeps N distinct values (Han et al., arXiv 1510.00149; tfmot.clustering)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from pydantic import Field
from tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster import cluster_weights

from tfcompress.optimize.kmeans import clustered
from tfcompress.optimize.technique import Context, LayerTechnique, Settings, copy_model, left_alone
from tfcompress.traits import KernelTraits, Traits, is_table

_Init = tfmot.clustering.keras.CentroidInitialization
_INITIALIZATIONS = {"kmeans++": _Init.KMEANS_PLUS_PLUS, "linear": _Init.LINEAR, "density": _Init.DENSITY_BASED}


class LayerClustering(Settings):
    """How the kernel of one layer is clustered."""

    clusters: int = Field(64, ge=3, le=256, description="distinct values of the kernel; a pruned zero is one of them")
    initialization: Literal["kmeans++", "linear", "density"] = Field(
        "kmeans++", description="where the centroids start: sampled by distance, evenly spaced, or at quantiles"
    )


class Cluster(LayerClustering, LayerTechnique[LayerClustering]):
    """Weight clustering of Dense kernels, and of Conv2D kernels and Embedding tables where they are asked for.

    `types` and `layers` ask for them. The zeros of a pruned kernel stay zero. A kernel that has no more weights than
    clusters, zeros counted once where they stay, is left as it is. A table is clustered once and then frozen: to train
    its centroids, tfmot would need memory for weights × clusters.
    """

    name: ClassVar[str] = "cluster"
    layer_settings: ClassVar[type[Settings]] = LayerClustering
    layer_types: ClassVar[tuple[type, ...]] = (
        tf_keras.layers.Dense,
        tf_keras.layers.Conv2D,
        tf_keras.layers.Embedding,
    )

    def prepare(self, model: tf_keras.Model, context: Context) -> tf_keras.Model:
        selected = self.select(model)

        def wrap(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
            settings = selected.get(layer.name)
            sparse = bool(context.traits.get(layer.name, KernelTraits()).sparsity)
            if settings is None or _most_values(layer.get_weights()[0], sparse) <= settings.clusters:
                return left_alone(layer, context.traits)
            if is_table(layer):
                table = layer.get_weights()[0]
                layer.set_weights([clustered(table, settings.clusters, settings.initialization, context.seed)])
                layer.trainable = False
                return layer
            return cluster_weights(
                layer,
                number_of_clusters=settings.clusters,
                cluster_centroids_init=_INITIALIZATIONS[settings.initialization],
                preserve_sparsity=sparse,
            )

        return copy_model(model, wrap)

    def finalize(self, wrapped: tf_keras.Model) -> tf_keras.Model:
        return tfmot.clustering.keras.strip_clustering(wrapped)

    def promises(self, model: tf_keras.Model, traits: Traits) -> Traits:
        clustered = {
            name: replace(traits.get(name, KernelTraits()), clusters=settings.clusters)
            for name, settings in self.select(model).items()
        }
        return {**traits, **clustered}


def _most_values(kernel: np.ndarray, sparse: bool) -> int:
    """Returns how many distinct values a kernel can have."""
    return int(np.count_nonzero(kernel)) + 1 if sparse else kernel.size
