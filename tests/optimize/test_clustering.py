import numpy as np
import pytest

from tfcompress.optimize.clustering import Cluster, LayerClustering
from tfcompress.optimize.pruning import Prune
from tfcompress.traits import kernels

from .apply import apply

FIT = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-3}


def test_every_kernel_has_at_most_so_many_values(tiny_vit, tiny_data, tmp_path):
    before = [w.copy() for w in tiny_vit.get_weights()]
    model, traits = apply(Cluster(clusters=8, fit=FIT), tiny_vit, tiny_data, tmp_path)
    assert all(len(np.unique(kernel)) <= 8 for kernel in kernels(model).values())
    assert {t.clusters for t in traits.values()} == {8}
    assert model.predict(np.zeros((1, 8, 8, 3)), verbose=0).shape == (1, 10)
    for old, now in zip(before, tiny_vit.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


@pytest.mark.parametrize("initialization", ["kmeans++", "linear", "density"])
def test_pruned_weights_stay_zero(tiny_vit, tiny_data, tmp_path, initialization):
    pruned, traits = apply(Prune(sparsity=0.5, schedule="constant", fit=FIT), tiny_vit, tiny_data, tmp_path)
    technique = Cluster(clusters=16, initialization=initialization, fit=FIT)
    clustered, traits = apply(technique, pruned, tiny_data, tmp_path, traits)
    assert {(t.clusters, t.sparsity) for t in traits.values()} == {(16, 0.5)}
    for name, kernel in kernels(clustered).items():
        assert len(np.unique(kernel)) <= 16
        assert np.all(kernel[kernels(pruned)[name] == 0] == 0)


def test_settings_reach_single_layers(tiny_vit, tiny_data, tmp_path):
    technique = Cluster(
        clusters=32, layers={"block_0_mlp.": LayerClustering(clusters=4), "head": False}, fit=FIT | {"epochs": 1}
    )
    model, traits = apply(technique, tiny_vit, tiny_data, tmp_path)
    distinct = {name: len(np.unique(kernel)) for name, kernel in kernels(model).items()}
    assert distinct["block_0_mlp1"] <= 4
    assert 4 < distinct["block_0_query"] <= 32
    assert distinct["head"] > 32
    assert traits["head"].clusters is None


def test_a_kernel_smaller_than_the_clusters_is_left_as_it_is(tiny_vit, tiny_data, tmp_path):
    technique = Cluster(clusters=200, fit=FIT | {"epochs": 1})
    model, _ = apply(technique, tiny_vit, tiny_data, tmp_path)
    assert len(np.unique(kernels(model)["head"])) == 160
