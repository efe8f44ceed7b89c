"""Training of clusters whose weights share a scale per output besides their centroids."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.python.core.clustering.keras.cluster_config import CentroidInitialization
from tensorflow_model_optimization.python.core.clustering.keras.cluster_wrapper import ClusterWeights

from tfcompress.optimize.centroid_lookup import UnkeptLookup, built_with
from tfcompress.packed.codebook import Codebook


class ScaledLookup(UnkeptLookup):
    """Gives each weight the nearest centroid times the scale of its output; a gradient goes to all three."""

    def __init__(self, begin: Any, scales: tf.Variable, clusters_centroids: tf.Variable, **settings: Any) -> None:
        super().__init__(clusters_centroids, **settings)
        clusters_centroids.assign(begin)
        self.scales = scales

    def get_clustered_weight(self, pulling_indices: tf.Tensor, original_weight: tf.Tensor) -> tf.Tensor:
        """See `UnkeptLookup`; the last axis of the weights are their outputs."""
        unscaled = original_weight / tf.stop_gradient(self.scales)
        return super().get_clustered_weight(pulling_indices, unscaled) * self.scales


class ScaledClusterWeights(ClusterWeights):
    """Wraps a Dense or Conv2D layer so that centroids and scales are trained; tfmot's wrapper has no scales.

    Centroids and scales begin equally large, so that a step of an optimizer changes both by about the same share.

    Args:
        layer: its kernel gives the codebook's indices when it is looked up.
        book: the codebook to begin with; the first axis of its indices are the outputs.
        sparse: whether zeros stay zero.
    """

    def __init__(self, layer: tf_keras.layers.Layer, book: Codebook, sparse: bool) -> None:
        unit = np.sqrt(book.scales.mean() / np.abs(book.centroids).mean())
        self._begin = np.pad(book.centroids * unit, (0, max(0, 2 + sparse - len(book.centroids))), mode="edge")
        self._begin_scales = book.scales / unit
        super().__init__(layer, len(self._begin), CentroidInitialization.LINEAR, sparse)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        begin = tf_keras.initializers.Constant(self._begin_scales)
        self.scales = self.add_weight("scales", self._begin_scales.shape, initializer=begin, constraint=_positive)
        with built_with(partial(ScaledLookup, self._begin, self.scales)):
            super().build(input_shape)


def _positive(scales: tf.Tensor) -> tf.Tensor:
    return tf.maximum(scales, 1e-6)
