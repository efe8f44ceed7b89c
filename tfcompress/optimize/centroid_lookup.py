"""Finds the nearest centroid of a weight by binary search during training: less time and memory than tfmot needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import tensorflow as tf
from tensorflow_model_optimization.python.core.clustering.keras.clustering_algorithm import ClusteringAlgorithm
from tensorflow_model_optimization.python.core.clustering.keras.clustering_registry import ClusteringLookupRegistry


class SortedLookup(ClusteringAlgorithm):
    """Keeps the centroids sorted for a look-up, where tfmot compares each weight with each centroid.

    It needs memory for a few copies of the weights instead of one per centroid. Weights get the same centroid as from
    tfmot, unless two are equally near.
    """

    def get_pulling_indices(self, weight: tf.Tensor, centroids: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the index of the nearest centroid of each weight, int32 of the shape of the weights."""
        centroids = self.cluster_centroids if centroids is None else centroids
        order = tf.argsort(centroids, stable=True)
        ordered = tf.gather(centroids, order)
        # Of equal centroids, tfmot takes the first.
        first = tf.gather(order, tf.searchsorted(ordered, ordered))
        places = tf.searchsorted((ordered[:-1] + ordered[1:]) / 2, tf.reshape(weight, [-1]))
        return tf.reshape(tf.gather(first, places), tf.shape(weight))

    def get_clustered_weight(self, pulling_indices: tf.Tensor, original_weight: tf.Tensor) -> tf.Tensor:
        """Returns the centroids of the weights; a gradient goes to the weight, and added up to the centroid."""

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def gathered(centroids: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], Any]]:
            def grad(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                return tf.math.unsorted_segment_sum(upstream, pulling_indices, tf.size(centroids)), upstream

            return tf.gather(centroids, pulling_indices), grad

        return gathered(tf.identity(self.cluster_centroids), tf.identity(original_weight))


class UnkeptLookup(SortedLookup):
    """Looks a weight's centroid up where it is needed; tfmot's wrapper keeps all indices, as int64, between steps."""

    def get_pulling_indices(self, weight: tf.Tensor, centroids: tf.Tensor | None = None) -> tf.Tensor:
        """Returns a single number in place of the indices, for the wrapper to keep."""
        return tf.zeros([], tf.int64)

    def get_clustered_weight(self, pulling_indices: tf.Tensor, original_weight: tf.Tensor) -> tf.Tensor:
        """See `SortedLookup`; the indices that are given do not count."""
        return super().get_clustered_weight(super().get_pulling_indices(original_weight), original_weight)


def sorted_lookup(kept: bool) -> AbstractContextManager[None]:
    """Within it, tfmot builds the wrappers of clustering and of CQAT with a sorted look-up.

    Args:
        kept: whether the wrapper needs the indices, as CQAT's does.
    """
    return built_with(SortedLookup if kept else UnkeptLookup)


@contextmanager
def built_with(lookup: Callable[..., ClusteringAlgorithm]) -> Iterator[None]:
    """Within it, tfmot builds its wrappers with a look-up.

    tfmot lets only layers of one's own name another look-up than its usual one.
    """
    usual = vars(ClusteringLookupRegistry)["get_clustering_impl"]
    ClusteringLookupRegistry.get_clustering_impl = lambda *_, **__: lookup
    try:
        yield
    finally:
        ClusteringLookupRegistry.get_clustering_impl = usual
