"""Weight clustering: each kernel gets at most N distinct values (Han et al., arXiv 1510.00149; tfmot.clustering)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal, Self

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from pydantic import Field, model_validator
from tensorflow_model_optimization.python.core.clustering.keras import clustering_centroids
from tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster import cluster_weights

from tfcompress.optimize.centroid_lookup import sorted_lookup
from tfcompress.optimize.compensation import cluster_for_inputs, why_not_compensated
from tfcompress.optimize.kmeans import clustered
from tfcompress.optimize.plain_python import clone_model, strip_clustering
from tfcompress.optimize.scaled_clusters import ScaledClusterWeights
from tfcompress.optimize.technique import (
    Context,
    KernelSettings,
    LayerTechnique,
    OptionalTraining,
    copy_model,
    protect_established,
)
from tfcompress.packed.codebook import Codebook
from tfcompress.post_training import method
from tfcompress.settings import Settings
from tfcompress.traits import KERNELS, FloatArray, KernelTraits, Traits, is_table

_Init = tfmot.clustering.keras.CentroidInitialization
_INITIALIZATIONS = {
    "kmeans++": _Init.KMEANS_PLUS_PLUS,
    "linear": _Init.LINEAR,
    "density": _Init.DENSITY_BASED,
    "compensated": "values of the kernel",
}


class _ValuesOfKernel(clustering_centroids.AbstractCentroidsInitialisation):
    """The centroids of a kernel that is clustered already: its distinct values."""

    def get_cluster_centroids(self) -> FloatArray:
        values = np.unique(self.weights.numpy())
        return np.pad(values, (0, self.number_of_clusters - len(values)), mode="edge")

    def _calculate_centroids_for_interval(self, *_: object) -> None:
        raise AssertionError("all values of the kernel are taken at once")


# The way that tfmot documents for a beginning of one's own.
clustering_centroids.CentroidsInitializerFactory._initialisers[_INITIALIZATIONS["compensated"]] = _ValuesOfKernel


class LayerClustering(KernelSettings):
    """How the kernel of one layer is clustered."""

    clusters: int = Field(
        64, ge=3, le=256, description="distinct values per kernel; where weights were pruned, zero is one of them"
    )
    initialization: Literal["kmeans++", "linear", "density", "compensated"] = Field(
        "kmeans++",
        description="where the centroids start: sampled by distance, evenly spaced, at quantiles, or where the layers' "
        "outputs change least (the default without training)",
    )

    def applied(self, kernel: FloatArray, keep_zeros: bool = False, seed: int = 0) -> FloatArray:
        """See `KernelSettings.applied`; each weight becomes the nearest centroid of k-means, and kept zeros are one.

        With `compensated`, k-means is exact; nothing is compensated for, because the layer's inputs are not known.
        """
        if self.initialization == "compensated":
            return _exactly_clustered(kernel, self.clusters, keep_zeros)
        others = kernel != 0 if keep_zeros else np.ones_like(kernel, bool)
        copy = kernel.copy()
        copy[others] = clustered(kernel[others], self.clusters - keep_zeros, self.initialization, seed)
        return copy


class Cluster(LayerClustering, OptionalTraining, LayerTechnique[LayerClustering]):
    """Weight clustering of Dense kernels, and of Conv2D kernels and Embedding tables that `types` or `layers` names.

    The zeros of a pruned kernel stay zero. A kernel with no more weights than clusters is left as it is, where zeros
    that stay count as one weight. A table is clustered once and then frozen, because the training of its centroids
    would look at all of it in each step.

    With `compensated`, the default without training, the errors of a kernel's weights make up for each other on the
    inputs that the layer gets, see `tfcompress.post_training.method`; training goes on from there.
    """

    name: ClassVar[str] = "cluster"
    clusters_weights: ClassVar[bool] = True
    layer_settings: ClassVar[type[Settings]] = LayerClustering
    layer_types: ClassVar[tuple[type, ...]] = (
        tf_keras.layers.Dense,
        tf_keras.layers.Conv2D,
        tf_keras.layers.Embedding,
    )

    calibration: int = Field(
        256, ge=1, description="how many training examples, without their labels, `compensated` looks at"
    )

    scales: bool = Field(
        False,
        description="`compensated` only: whether each output has a scale, too, where that pays; packed files keep them",
    )

    @model_validator(mode="before")
    @classmethod
    def _compensated_without_training(cls, given: object) -> object:
        if not isinstance(given, dict) or given.get("training") is not False:
            return given
        return {"initialization": "compensated", **given}

    @model_validator(mode="after")
    def _only_compensated_is_scaled(self) -> Self:
        if self.scales and self.initialization != "compensated":
            raise ValueError(f"scales need initialization: compensated; it is {self.initialization}")
        return self

    @property
    def scales_outputs(self) -> bool:
        return self.scales

    def prepare(self, model: tf_keras.Model, context: Context) -> tf_keras.Model:
        selected = {
            name: settings
            for name, settings in self.select(model).items()
            if _most_values(model.get_layer(name), context.traits) > settings.clusters
        }
        compensated = {name: one.clusters for name, one in selected.items() if one.initialization == "compensated"}
        if compensated and not context.data.can_be_sampled:
            warnings.warn(
                f"cluster: kernels are clustered by k-means alone: {context.data.name} has no training examples "
                "that show the inputs of layers; give examples without labels as data.calibration in a recipe, or as "
                "Dataset(..., unlabelled=)",
                UserWarning,
                stacklevel=2,
            )
            compensated = {}
        scaled: dict[str, Codebook] = {}
        if compensated:
            model = copy_model(model)
            sparse = [name for name in compensated if _is_sparse(model.get_layer(name), context.traits)]
            examples = context.data.sample(self.calibration, context.seed)
            books = cluster_for_inputs(model, examples, compensated, sparse=sparse, scales=self.scales)
            scaled = {name: book for name, book in books.items() if book.scales.size}

        def treat(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
            """Changes a copied layer, and wraps it if its centroids or its scales are more than its weights."""
            settings = selected.get(layer.name)
            if settings is not None and layer.name not in compensated and (is_table(layer) or not self.training):
                variable = getattr(layer, KERNELS[type(layer)])
                variable.assign(settings.applied(variable.numpy(), _is_sparse(layer, context.traits), context.seed))
            if layer.name in scaled:
                return ScaledClusterWeights(layer, scaled[layer.name], _is_sparse(layer, context.traits))
            return self._wrapped(layer, selected, context) if self.training else layer

        with sorted_lookup(kept=False):
            # What was clustered for its inputs is a copy already.
            return clone_model(model, clone_function=treat) if compensated else copy_model(model, treat)

    def _wrapped(
        self, layer: tf_keras.layers.Layer, selected: Mapping[str, LayerClustering], context: Context
    ) -> tf_keras.layers.Layer:
        """Returns a layer whose centroids are trained if it is selected, and not a table."""
        settings = selected.get(layer.name)
        if settings is None:
            return protect_established(layer, context.traits)
        if is_table(layer):
            layer.trainable = False
            return layer
        sparse, clusters = _is_sparse(layer, context.traits), settings.clusters
        if settings.initialization == "compensated":
            # Equal centroids would be trained as one; tfmot wants at least two, with sparsity three.
            clusters = max(len(np.unique(layer.get_weights()[0])), 2 + sparse)
        return cluster_weights(
            layer,
            number_of_clusters=clusters,
            cluster_centroids_init=_INITIALIZATIONS[settings.initialization],
            preserve_sparsity=sparse,
        )

    def rehearsed(self, model: tf_keras.Model) -> Self:
        def faster(settings: LayerClustering | Literal[False]) -> LayerClustering | Literal[False]:
            if settings is False or "initialization" not in settings.model_fields_set:
                return settings
            return settings.model_copy(update=_faster(settings))

        found = super().rehearsed(model)
        types, layers = ({k: faster(v) for k, v in by.items()} for by in (found.types, found.layers))
        return found.model_copy(update={**_faster(found), "types": types, "layers": layers})

    def explain(self, model: tf_keras.Model) -> Mapping[str, str]:
        told = {
            name: f"clustered by k-means alone, because {reason}"
            for name, settings in self.select(model).items()
            if settings.initialization == "compensated"
            and (reason := why_not_compensated(model.get_layer(name))) is not None
        }
        return {**super().explain(model), **told}

    def finalize(self, wrapped: tf_keras.Model) -> tf_keras.Model:
        return strip_clustering(wrapped) if self.training or self.scales else wrapped

    def measured(self, wrapped: tf_keras.Model, promised: Traits) -> Traits:
        scaled = {
            wrapper.layer.name: tuple(wrapper.scales.numpy().tolist())
            for wrapper in wrapped.layers
            if isinstance(wrapper, ScaledClusterWeights)
        }
        return {**promised, **{name: replace(promised[name], scales=scales) for name, scales in scaled.items()}}

    def promises(self, model: tf_keras.Model, traits: Traits) -> Traits:
        clustered = {
            name: replace(traits.get(name, KernelTraits()), clusters=settings.clusters)
            for name, settings in self.select(model).items()
        }
        return {**traits, **clustered}


def _faster(settings: LayerClustering) -> dict[str, str]:
    """Returns what a rehearsal changes, because k-means++ takes long."""
    return {"initialization": "linear"} if settings.initialization == "kmeans++" else {}


def _is_sparse(layer: tf_keras.layers.Layer, traits: Traits) -> bool:
    return bool(traits.get(layer.name, KernelTraits()).sparsity)


def _most_values(layer: tf_keras.layers.Layer, traits: Traits) -> int:
    """Returns how many distinct values the kernel of a layer can have."""
    kernel = layer.get_weights()[0]
    return int(np.count_nonzero(kernel)) + 1 if _is_sparse(layer, traits) else kernel.size


def _exactly_clustered(kernel: FloatArray, clusters: int, keep_zeros: bool) -> FloatArray:
    rows = kernel.reshape(-1, kernel.shape[-1])
    settings = method.Settings(clusters, scales=False, keep_zeros=keep_zeros or None)
    return method.cluster_kernel(rows, None, settings).values().reshape(kernel.shape)
