"""Weight clustering: each kernel gets at most N distinct values (Han et al., arXiv 1510.00149; tfmot.clustering)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal, Self

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from pydantic import Field
from tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster import cluster_weights

from tfcompress.optimize.kmeans import clustered
from tfcompress.optimize.technique import (
    Context,
    KernelSettings,
    LayerTechnique,
    Settings,
    copy_model,
    protect_established,
)
from tfcompress.traits import FloatArray, KernelTraits, Traits, is_table

_Init = tfmot.clustering.keras.CentroidInitialization
_INITIALIZATIONS = {"kmeans++": _Init.KMEANS_PLUS_PLUS, "linear": _Init.LINEAR, "density": _Init.DENSITY_BASED}


class LayerClustering(KernelSettings):
    """How the kernel of one layer is clustered."""

    clusters: int = Field(
        64, ge=3, le=256, description="distinct values per kernel; where weights were pruned, zero is one of them"
    )
    initialization: Literal["kmeans++", "linear", "density"] = Field(
        "kmeans++", description="where the centroids start: sampled by distance, evenly spaced, or at quantiles"
    )

    def applied(self, kernel: FloatArray, keep_zeros: bool = False) -> FloatArray:
        """See `KernelSettings.applied`; each weight becomes the nearest centroid of k-means, and kept zeros are one."""
        others = kernel != 0 if keep_zeros else np.ones_like(kernel, bool)
        copy = kernel.copy()
        copy[others] = clustered(kernel[others], self.clusters - keep_zeros, self.initialization)
        return copy


class Cluster(LayerClustering, LayerTechnique[LayerClustering]):
    """Weight clustering of Dense kernels, and of Conv2D kernels and Embedding tables that `types` or `layers` names.

    The zeros of a pruned kernel stay zero. A kernel with no more weights than clusters is left as it is, where zeros
    that stay count as one weight. A table is clustered once and then frozen, because tfmot would need memory for
    weights × clusters to train its centroids.
    """

    name: ClassVar[str] = "cluster"
    clusters_weights: ClassVar[bool] = True
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
                return protect_established(layer, context.traits)
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

    def rehearsed(self, model: tf_keras.Model) -> Self:
        def linear(settings: LayerClustering | Literal[False]) -> LayerClustering | Literal[False]:
            return settings and settings.model_copy(update={"initialization": "linear"})  # k-means++ takes long.

        found = super().rehearsed(model)
        types, layers = ({k: linear(v) for k, v in by.items()} for by in (found.types, found.layers))
        return found.model_copy(update={"initialization": "linear", "types": types, "layers": layers})

    def finalize(self, wrapped: tf_keras.Model) -> tf_keras.Model:
        return tfmot.clustering.keras.strip_clustering(wrapped)

    def promises(self, model: tf_keras.Model, traits: Traits) -> Traits:
        clustered = {
            name: replace(traits.get(name, KernelTraits()), clusters=settings.clusters)
            for name, settings in self.select(model).items()
        }
        return {**traits, **clustered}


def _most_values(kernel: FloatArray, sparse: bool) -> int:
    """Returns how many distinct values a kernel can have."""
    return int(np.count_nonzero(kernel)) + 1 if sparse else kernel.size
