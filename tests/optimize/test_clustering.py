import numpy as np
import pytest
import tf_keras
from pydantic import ValidationError

from tests.answers import answers
from tfcompress.measure.divergence import divergence
from tfcompress.optimize.clustering import Cluster, LayerClustering
from tfcompress.optimize.kmeans import clustered
from tfcompress.optimize.pruning import Prune
from tfcompress.optimize.technique import Context
from tfcompress.post_training.method import Settings, cluster_table
from tfcompress.traits import KernelTraits, Traits, kernels, measure_model

from ..apply import apply
from ..tiny import tiny_vit_of

FIT = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3}


def test_every_kernel_has_at_most_so_many_values(tiny_vit, tiny_data, tmp_path):
    before = [w.copy() for w in tiny_vit.get_weights()]
    model, traits = apply(Cluster(clusters=8, fit=FIT), tiny_vit, tiny_data, tmp_path)
    assert all(len(np.unique(kernel)) <= 8 for kernel in kernels(model).values())
    assert {t.clusters for t in traits.values()} == {8}
    assert answers(model, np.zeros((1, 8, 8, 3))).shape == (1, 10)
    for old, now in zip(before, tiny_vit.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


@pytest.fixture(scope="module")
def half_pruned(trained_weights, tiny_data, tmp_path_factory) -> tuple[tf_keras.Model, Traits]:
    technique = Prune(sparsity=0.5, schedule="constant", fit=FIT)
    return apply(technique, tiny_vit_of(trained_weights), tiny_data, tmp_path_factory.mktemp("pruned"))


@pytest.mark.parametrize("initialization", ["kmeans++", "linear", "density"])
def test_pruned_weights_stay_zero(half_pruned, tiny_data, tmp_path, initialization):
    pruned, traits = half_pruned
    technique = Cluster(clusters=16, initialization=initialization, fit=FIT)
    clustered, traits = apply(technique, pruned, tiny_data, tmp_path, traits)
    assert {(t.clusters, t.sparsity) for t in traits.values()} == {(16, 0.5)}
    for name, kernel in kernels(clustered).items():
        assert len(np.unique(kernel)) <= 16
        assert np.all(kernel[kernels(pruned)[name] == 0] == 0)


def test_settings_reach_single_layers(tiny_vit, tiny_data, tmp_path):
    technique = Cluster(clusters=32, layers={"block_0_mlp.": LayerClustering(clusters=4), "head": False}, fit=FIT)
    model, traits = apply(technique, tiny_vit, tiny_data, tmp_path)
    distinct = {name: len(np.unique(kernel)) for name, kernel in kernels(model).items()}
    assert distinct["block_0_mlp1"] <= 4
    assert 4 < distinct["block_0_query"] <= 32
    assert distinct["head"] > 32
    assert traits["head"].clusters is None


def test_a_kernel_smaller_than_the_clusters_is_left_as_it_is(tiny_vit, tiny_data, tmp_path):
    technique = Cluster(clusters=200, fit=FIT)
    model, _ = apply(technique, tiny_vit, tiny_data, tmp_path)
    assert len(np.unique(kernels(model)["head"])) == 160


def test_a_pruned_kernel_with_fewer_weights_left_than_clusters_is_left_as_it_is(tiny_vit, tiny_data, tmp_path):
    pruned, traits = apply(Prune(sparsity=0.9, schedule="constant", fit=FIT), tiny_vit, tiny_data, tmp_path)
    before = kernels(pruned)
    few = {name for name, kernel in before.items() if np.count_nonzero(kernel) < 64 < kernel.size}
    assert few
    model, traits = apply(Cluster(clusters=64, fit=FIT), pruned, tiny_data, tmp_path, traits)
    for name, kernel in kernels(model).items():
        assert len(np.unique(kernel)) <= 64
        if name in few:
            np.testing.assert_array_equal(kernel, before[name])


def test_a_table_is_clustered_on_request_and_stays_as_it_is_from_then_on(tiny_bert, tiny_text, tmp_path):
    tables_alone = {"Dense": False, "Embedding": LayerClustering(clusters=32)}
    technique = Cluster(types=tables_alone, fit=FIT)
    model, traits = apply(technique, tiny_bert, tiny_text, tmp_path)
    table = kernels(model)["token_embedding"]
    assert (len(np.unique(table)), traits["token_embedding"].clusters) == (32, 32)
    np.testing.assert_array_equal(table, clustered(kernels(tiny_bert)["token_embedding"], 32, "kmeans++", seed=0))
    assert np.any(kernels(model)["head"] != kernels(tiny_bert)["head"])
    assert model.get_layer("token_embedding").trainable
    pruned, _ = apply(Prune(sparsity=0.5, schedule="constant", fit=FIT), model, tiny_text, tmp_path, traits)
    np.testing.assert_array_equal(kernels(pruned)["token_embedding"], table)


def test_no_table_is_clustered_unasked(tiny_bert):
    assert "token_embedding" not in Cluster().select(tiny_bert)
    assert Cluster(layers={"token_.*": LayerClustering(clusters=8)}).select(tiny_bert)["token_embedding"].clusters == 8


@pytest.mark.parametrize("initialization", ["kmeans++", "linear", "density"])
def test_k_means_comes_close_to_the_best_known_quantizer(initialization):
    values = np.random.default_rng(0).normal(size=(200, 500)).astype(np.float32)
    replaced = clustered(values, 16, initialization)
    assert len(np.unique(replaced)) == 16
    # Lloyd-Max on a normal distribution (Max, 1960): 0.009497 of its variance is lost with 16 levels.
    assert np.mean((replaced - values) ** 2) == pytest.approx(0.009497, rel=0.05)
    centroids = np.unique(replaced)
    assert np.all(np.abs(values[..., None] - centroids).min(-1) >= np.abs(values - replaced) - 1e-6)


def test_k_means_leaves_few_values_alone_and_survives_an_outlier():
    few = np.repeat(np.float32([-1, 0, 0.5]), 50).reshape(10, 15)
    np.testing.assert_array_equal(clustered(few, 3, "kmeans++"), few)
    values = np.append(np.random.default_rng(0).normal(size=999), 1e30).astype(np.float32)
    assert len(np.unique(clustered(values, 8, "kmeans++"))) <= 8


@pytest.mark.parametrize(
    ("name", "data", "factor"),
    [("tiny_vit", "tiny_data", 5), ("tiny_bert", "tiny_text", 10)],  # measured: 12 and 24 to 115
)
def test_compensated_clusters_lose_less_than_those_of_k_means(request, tmp_path, name, data, factor):
    model, data = request.getfixturevalue(name), request.getfixturevalue(data)
    expected = answers(model, data.batches("test", 64))

    def lost(**settings: object) -> float:
        treated, traits = apply(Cluster(clusters=16, training=False, **settings), model, data, tmp_path)
        assert {traits[name].clusters for name in Cluster().select(model)} == {16}
        return divergence(answers(treated, data.batches("test", 64)), expected).mean()

    assert lost() < lost(initialization="kmeans++") / factor


def test_training_begins_with_the_clusters_that_were_found_without(tiny_vit, tiny_data, images, tmp_path):
    for name, kernel in kernels(tiny_vit).items():
        pruned = np.where(np.abs(kernel) < np.median(np.abs(kernel)), 0, kernel)
        tiny_vit.get_layer(name).kernel.assign(pruned)
    traits = measure_model(tiny_vit)
    settings = {"clusters": 8, "layers": {"head": False, "block_0_key": False}}
    free, _ = apply(Cluster(training=False, **settings), tiny_vit, tiny_data, tmp_path, traits)
    technique = Cluster(initialization="compensated", fit=FIT, **settings)
    begun = technique.prepare(tiny_vit, Context(tiny_data, traits, 8))
    np.testing.assert_array_equal(begun(images), free(images))
    trained, promised = apply(technique, tiny_vit, tiny_data, tmp_path, traits)
    assert promised["patch_embedding"] == KernelTraits(clusters=8, sparsity=0.5)
    assert np.any(kernels(trained)["block_0_mlp1"] != kernels(free)["block_0_mlp1"])


def test_a_table_is_clustered_by_how_often_its_rows_are_used(tiny_bert, tiny_text, tmp_path):
    only_tables = {"Dense": False, "Embedding": LayerClustering(clusters=8)}
    model, traits = apply(Cluster(training=False, types=only_tables), tiny_bert, tiny_text, tmp_path)
    before, after = (kernels(one)["token_embedding"] for one in (tiny_bert, model))
    assert (len(np.unique(after)), traits["token_embedding"].clusters) == (8, 8)
    texts = tiny_text.sample(96, 0)
    counts = np.bincount(texts["token_ids"][texts["padding_mask"] != 0], minlength=len(before))
    np.testing.assert_array_equal(after, cluster_table(before, counts, Settings(8, scales=False)).values())
    assert np.any(after != cluster_table(before, None, Settings(8, scales=False)).values())


def test_kernels_that_have_few_values_already_are_left_alone(stack_of_kernels, tiny_data, tmp_path):
    model, _ = apply(Cluster(clusters=16, training=False), stack_of_kernels, tiny_data, tmp_path)
    before, after = kernels(stack_of_kernels), kernels(model)
    for name in ("all_zero", "one_value", "two_values"):
        np.testing.assert_array_equal(after[name], before[name])
    for name in ("mostly_zero", "tenth_zero"):
        np.testing.assert_array_equal(after[name][before[name] == 0], 0)
        assert 8 < len(np.unique(after[name])) <= 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training": False, "fit": FIT}, "training is false, but fit says how to train; leave one of them out"),
        ({"fit": None}, "fit is null; write training: false"),
        ({"training": 0}, "training"),
        ({"initialization": "best"}, "'kmeans\\+\\+', 'linear', 'density' or 'compensated'"),
        ({"calibration": 0}, "greater than or equal to 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Cluster(**settings)


def test_a_rehearsal_leaves_out_k_means_but_not_what_can_fail(tiny_vit):
    own = {"head": LayerClustering(clusters=8), "block_0_key": LayerClustering(initialization="kmeans++")}
    rehearsed = Cluster(training=False, layers=own).rehearsed(tiny_vit)
    assert rehearsed.fit is None
    settings = rehearsed.select(tiny_vit)
    assert settings["head"] == LayerClustering(clusters=8, initialization="compensated")
    assert settings["block_0_key"].initialization == Cluster().rehearsed(tiny_vit).initialization == "linear"
