from contextlib import nullcontext

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.python.core.clustering.keras.cluster_wrapper import ClusterWeights
from tensorflow_model_optimization.python.core.clustering.keras.clustering_algorithm import ClusteringAlgorithm

from tfcompress.data.dataset import Dataset
from tfcompress.optimize import clustering, quantization
from tfcompress.optimize.centroid_lookup import SortedLookup, UnkeptLookup, sorted_lookup
from tfcompress.optimize.clustering import Cluster
from tfcompress.optimize.pruning import Prune
from tfcompress.optimize.quantization import Quantize

from ..apply import apply

FIT = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3}
CHAIN = {
    "prune": Prune(sparsity=0.5, schedule="constant", fit=FIT),
    "cluster": Cluster(clusters=16, fit=FIT),
    "quantize": Quantize(fit=FIT),
}


@pytest.mark.parametrize("clusters", [2, 3, 64, 256])
def test_weights_get_the_centroid_that_tfmot_gives_them(clusters):
    rng = np.random.default_rng(clusters)
    weights = tf.constant(rng.standard_t(3, (64, 48)), tf.float32)
    centroids = tf.Variable(rng.standard_t(3, clusters), dtype=tf.float32)
    expected = ClusteringAlgorithm(centroids).get_pulling_indices(weights)
    found = SortedLookup(centroids).get_pulling_indices(weights)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


def test_of_equal_centroids_the_first_is_taken():
    centroids = tf.Variable([0.5, -1.0, 0.5, 2.0, 0.5])
    found = SortedLookup(centroids).get_pulling_indices(tf.constant([0.4, 0.5, 0.6, 9.0, -9.0]))
    assert list(found.numpy()) == [0, 0, 0, 3, 1]


def test_nothing_is_as_large_as_weights_times_centroids():
    weights, centroids = tf.zeros((64, 32)), tf.Variable(tf.range(64.0))
    traced = tf.function(SortedLookup(centroids).get_pulling_indices).get_concrete_function(weights)
    elements = [output.shape.num_elements() for op in traced.graph.get_operations() for output in op.outputs]
    assert max(number for number in elements if number is not None) == 64 * 32


def test_a_wrapper_keeps_no_indices():
    wrapper = ClusterWeights(tf_keras.layers.Dense(16), 3)
    with sorted_lookup(kept=False):
        wrapper.build((None, 8))
    assert [weight.shape.num_elements() for weight in wrapper.non_trainable_weights] == [1]


@pytest.mark.parametrize("names", ["cluster", "prune cluster quantize"])
def test_training_goes_as_with_tfmot(names, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    split = rng.normal(size=(96, 12)).astype(np.float32), rng.integers(0, 3, 96)
    data = Dataset.from_arrays("random", ("a", "b", "c"), split, split, split)

    def trained(folder: str) -> list[np.ndarray]:
        tf_keras.utils.set_random_seed(0)
        inputs = tf_keras.Input(12)
        model = tf_keras.Model(inputs, tf_keras.layers.Dense(3)(tf_keras.layers.Dense(16, "relu")(inputs)))
        traits = None
        for name in names.split():
            model, traits = apply(CHAIN[name], model, data, tmp_path / folder / name, traits)
        return model.get_weights()

    found = trained("ours")
    for module in (clustering, quantization):
        monkeypatch.setattr(module, "sorted_lookup", lambda kept: nullcontext())
    for ours, theirs in zip(found, trained("tfmot"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_outside_the_look_up_is_tfmots():
    def built() -> type:
        wrapper = ClusterWeights(tf_keras.layers.Dense(4), 3)
        wrapper.build((None, 8))
        return type(wrapper.clustering_algorithms["kernel"])

    with sorted_lookup(kept=False):
        assert built() is UnkeptLookup
    assert built() is ClusteringAlgorithm
