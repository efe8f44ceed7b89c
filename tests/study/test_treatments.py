import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras

from tfcompress.optimize.clustering import LayerClustering
from tfcompress.optimize.pruning import LayerPruning
from tfcompress.study.treatments import treatments


@pytest.fixture
def kernel() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(24, 32)).astype(np.float32)


def test_pruning_zeroes_the_smallest_magnitudes():
    kernel = np.array([[1, -2, 3, -4], [8, 7, -6, 5]], np.float32)
    expected = np.array([[0, 0, 0, 0], [8, 7, -6, 5]], np.float32)
    np.testing.assert_array_equal(LayerPruning(sparsity=0.5).applied(kernel), expected)
    ties = np.array([1, 2, -2, 2], np.float32)
    np.testing.assert_array_equal(LayerPruning(sparsity=0.5).applied(ties), [0, 2, -2, 0])


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.75])
def test_pruning_is_tfmots_where_no_two_weights_are_equal(kernel, sparsity):
    schedule = tfmot.sparsity.keras.ConstantSparsity(sparsity, begin_step=0, frequency=1)
    dense = tf_keras.layers.Dense(32, use_bias=False)
    model = tf_keras.Sequential([tf_keras.Input((24,)), tfmot.sparsity.keras.prune_low_magnitude(dense, schedule)])
    dense.kernel.assign(kernel)
    model.compile(tf_keras.optimizers.SGD(0.0), "mse")  # Steps that change nothing.
    callback = tfmot.sparsity.keras.UpdatePruningStep()
    model.fit(np.zeros((1, 24)), np.zeros((1, 32)), epochs=2, verbose=0, callbacks=[callback])
    np.testing.assert_array_equal(LayerPruning(sparsity=sparsity).applied(kernel), dense.kernel.numpy())


def test_a_kernel_that_is_already_so_stays_as_it_is(kernel):
    nothing = np.zeros_like(kernel)
    few = kernel.round(0)
    assert len(np.unique(few)) <= 16
    half = LayerPruning(sparsity=0.5).applied(kernel)
    for before, treatment in (
        (nothing, LayerPruning(sparsity=0.75)),
        (nothing, LayerClustering(clusters=16)),
        (few, LayerClustering(clusters=16)),
        (half, LayerPruning(sparsity=0.5)),
    ):
        np.testing.assert_array_equal(treatment.applied(before, keep_zeros=True), before)


def test_clustering_leaves_so_many_values_near_their_weights(kernel):
    clustered = LayerClustering(clusters=16).applied(kernel)
    assert len(np.unique(clustered)) == 16
    assert np.square(clustered - kernel).mean() < 0.02 * kernel.var()


def test_pruned_zeros_are_one_of_the_clusters(kernel):
    pruned = LayerPruning(sparsity=0.5).applied(kernel)
    clustered = LayerClustering(clusters=16).applied(pruned, keep_zeros=True)
    np.testing.assert_array_equal(clustered == 0, pruned == 0)
    assert len(np.unique(clustered)) == 16


def test_what_is_tried_is_what_a_recipe_could_do():
    tried = [(name, *setting.model_dump(exclude_unset=True).values()) for name, setting in treatments(_layer("Dense"))]
    assert tried == [
        ("prune", 0.5), ("prune", 0.75), ("cluster", 128), ("cluster", 64), ("cluster", 32), ("cluster", 16)
    ]  # fmt: skip
    assert {name for name, _ in treatments(_layer("Embedding"))} == {"cluster"}
    assert not list(treatments(tf_keras.layers.LayerNormalization()))


def _layer(kind: str) -> tf_keras.layers.Layer:
    return {"Dense": tf_keras.layers.Dense(2), "Embedding": tf_keras.layers.Embedding(4, 2)}[kind]
