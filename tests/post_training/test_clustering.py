import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.build import build, graph, node, tensor
from tests.packed.graphs import Model
from tfcompress.data.images import digits
from tfcompress.errors import UserError
from tfcompress.packed.codebook import count_distinct
from tfcompress.packed.file_weights import weights
from tfcompress.packed.packer import pack_counted
from tfcompress.post_training import clustering
from tfcompress.post_training.clustering import Clustered, cluster
from tfcompress.post_training.method import Settings, cluster_table
from tfcompress.tflite.reading import read

from .strangers import convolution, dense, divergence, pictures, random, run, small_cnn

PLAIN, COMPENSATED = Settings(16, scales=False, compensated=False), Settings(16)


def values(content: bytes) -> dict[str, np.ndarray]:
    return {one.name: one.values for one in weights(content)}


def same_as_codebooks(found: Clustered) -> bool:
    """Whether the constants of the file are those of the codebooks, bit for bit."""
    constants = values(found.content)
    return all(constants[name].tobytes() == book.values().tobytes() for name, book in found.codebooks.items())


def test_pictures_lose_less_with_compensated_errors(vit):
    scans = [image for image, _ in digits().examples("train").take(96).as_numpy_iterator()]
    expected = run(vit, *scans[48:])
    plain, compensated = cluster(vit, PLAIN), cluster(vit, COMPENSATED, scans[:48])
    lost = divergence(expected, run(plain.content, *scans[48:]))
    assert divergence(expected, run(compensated.content, *scans[48:])) < lost / 5  # measured: 1/12
    assert same_as_codebooks(compensated)
    assert all(count_distinct(book.indices.astype(np.float32)) <= 16 for book in compensated.codebooks.values())


def test_texts_lose_less_with_compensated_errors(bert, sentences):
    calibration, test = sentences[:32], sentences[32:]
    expected = run(bert, *test)
    plain, compensated = cluster(bert, PLAIN), cluster(bert, COMPENSATED, calibration)
    lost = divergence(expected, run(plain.content, *test))
    assert divergence(expected, run(compensated.content, *test)) < lost / 20  # measured: 1/400
    assert same_as_codebooks(compensated)


def test_a_strangers_file_loses_less_with_compensated_errors():
    content, examples = small_cnn(), pictures(64)
    calibration, test = examples[:32], examples[32:]
    expected = run(content, *test)

    def error(found: Clustered) -> float:
        return float(np.mean((run(found.content, *test) - expected) ** 2))

    assert error(cluster(content, COMPENSATED, calibration)) < error(cluster(content, PLAIN)) / 2  # measured: 1/4


def test_the_file_computes_with_its_clustered_weights():
    model = Model(1, 4, 64)
    content = model.file(dense(model, dense(model, 0, (1, 4, 48), fused=1), (1, 4, 32)))
    examples = pictures(20, 4, 64)
    found = cluster(content, COMPENSATED, examples)
    (first, second), graph = found.codebooks.values(), read(content).graphs[0]
    biases = [operator.inputs[2].values() for operator in graph.operators]
    x = np.stack(examples)
    expected = np.maximum(x @ first.values().T + biases[0], 0) @ second.values().T + biases[1]
    np.testing.assert_allclose(run(found.content, *examples), expected, rtol=1e-4, atol=1e-4)
    assert len(first.scales) in (0, 48)


def test_packing_finds_the_scales_in_the_file():
    model = Model(1, 4, 64)
    content = model.file(dense(model, dense(model, 0, (1, 4, 48)), (1, 4, 32)))
    first = cluster(content, Settings(16, scales=True))
    second = cluster(first.content, Settings(8, scales=True))
    for found in (first, second):
        packed = pack_counted(found.content, allow_larger=True)
        assert packed.dense == 2
        assert not packed.skipped
        assert values(packed.content).keys() == found.codebooks.keys()
        for name, kernel in values(packed.content).items():
            assert kernel.tobytes() == found.codebooks[name].values().tobytes()


def test_the_same_data_give_the_same_file():
    content, examples = small_cnn(), pictures(20)
    assert cluster(content, COMPENSATED, examples).content == cluster(content, COMPENSATED, examples).content


def test_what_is_small_or_no_kernel_stays_as_it_is():
    content = small_cnn()
    found = cluster(content, COMPENSATED, pictures(20))
    before, after = values(content), values(found.content)
    small = [name for name, one in before.items() if one.size < 1024]
    assert len(small) == 2
    assert all(np.array_equal(before[name], after[name]) for name in small)
    assert before.keys() - found.codebooks.keys() == set(small)


def test_named_kernels_alone_are_clustered_each_as_it_is_told():
    content = small_cnn()
    names = list(values(content))
    found = cluster(content, {names[1]: Settings(8), names[-1]: Settings(4)}, pictures(20))
    assert {name: len(book.centroids) for name, book in found.codebooks.items()} == {names[1]: 8, names[-1]: 4}
    assert list(cluster(content, {names[3]: PLAIN}).codebooks) == names[3:4]
    with pytest.raises(UserError, match="no kernel 'head' that can be clustered; it has c4"):
        cluster(content, {"head": PLAIN})


def test_a_large_constant_that_is_no_kernel_is_named():
    model = Model(1, 8, 8, 16)
    y = convolution(model, 0, (1, 6, 6, 16), window=3, stride=1)
    content = model.file(dense(model, y, (1, 6, 6, 64)))
    assert cluster(content).skipped == {"c1": "its convolution does not cut patches"}


def test_shared_weights_are_clustered_for_all_their_inputs():
    model = Model(1, 64)
    shared = random(model, (64, 64))
    y = dense(model, dense(model, 0, (1, 64), shared), (1, 64), shared)
    content, examples = model.file(dense(model, y, (1, 64), shared, fused=1)), pictures(80, 64)
    found = cluster(content, COMPENSATED, examples[:60])
    assert len(found.codebooks) == 1
    assert same_as_codebooks(found)
    expected = run(content, *examples[60:])
    plain = run(cluster(content, PLAIN).content, *examples[60:])
    error = np.mean((run(found.content, *examples[60:]) - expected) ** 2)
    assert error < np.mean((plain - expected) ** 2)


def test_a_tied_table_and_dense_layer_stay_tied():
    model = Model(1, 3, type="int32")
    table = random(model, (40, 64))
    rows = model.add("GATHER", [table, 0], (3, 64), own=schema.GatherOptionsT())
    content = model.file(dense(model, rows, (3, 40), table))
    rng = np.random.default_rng(0)
    found = cluster(content, COMPENSATED, [rng.integers(0, 40, 3).astype(np.int32) for _ in range(20)])
    assert len(found.codebooks) == len(values(found.content)) == 1
    assert same_as_codebooks(found)


@pytest.mark.parametrize("constant", [True, False], ids=["constant of the file", "the same for all examples"])
def test_a_layer_with_constant_inputs_is_clustered(constant):
    model = Model(1, 64)
    x = model.constant(np.ones((1, 64))) if constant else 0
    y = dense(model, x, (1, 32))
    content = model.file(model.add("ADD", [y, dense(model, 0, (1, 32))], (1, 32), own=schema.AddOptionsT()))
    examples = [np.ones(64, np.float32)] * 20
    found = cluster(content, COMPENSATED, examples)
    assert len(found.codebooks) == 2
    # There is one direction of inputs, in which 64 rounded weights can be right together.
    np.testing.assert_allclose(run(found.content, examples[0]), run(content, examples[0]), atol=0.05)


def test_rows_of_a_table_count_as_often_as_tokens_occur():
    model = Model(1, 6, type="int32")
    table = random(model, (500, 32))
    content = model.file(model.add("GATHER", [table, 0], (1, 6, 32), own=schema.GatherOptionsT()))
    ids = [np.arange(place, place + 6, dtype=np.int32) % 20 for place in range(32)]
    settings = Settings(16, scales=False)
    [book] = cluster(content, settings, ids).codebooks.values()
    expected = cluster_table(next(iter(values(content).values())), np.bincount(np.ravel(ids), minlength=500), settings)
    assert book.values().tobytes() == expected.values().tobytes()


def test_a_row_that_the_table_does_not_have_is_refused():
    model = Model(1, 2, type="int32")
    content = model.file(model.add("GATHER", [random(model, (40, 32)), 0], (1, 2, 32), own=schema.GatherOptionsT()))
    with pytest.raises(UserError, match="looks up row 40 of c1, which has 40 rows"):
        cluster(content, COMPENSATED, [np.array([0, 40], np.int32)] * 20)


def test_the_codebooks_are_those_that_packing_needs(bert, sentences):
    found = cluster(bert, Settings(16, scales=True), sentences[:16])
    packed = pack_counted(found.content, allow_larger=True)
    assert found.codebooks.keys().isdisjoint(one.name for one in packed.skipped)
    assert values(packed.content).keys() >= found.codebooks.keys()
    assert all(len(book.scales) for book in found.codebooks.values())


def test_inputs_that_are_no_longer_finite_are_refused():
    model = Model(1, 32)
    y = model.add("EXP", [0], (1, 32))
    content = model.file(dense(model, y, (1, 32)))
    with pytest.raises(UserError, match="the inputs of c2 are not finite numbers on the calibration examples"):
        cluster(content, COMPENSATED, [np.full(32, 1e4, np.float32)] * 20)


def test_weights_that_are_not_finite_are_refused():
    model = Model(1, 32)
    content = model.file(dense(model, 0, (1, 32), model.constant(np.full((32, 32), np.nan))))
    with pytest.raises(UserError, match="the weights of c1 are not finite numbers"):
        cluster(content)


def test_a_layer_of_too_many_inputs_is_clustered_by_k_means(monkeypatch):
    monkeypatch.setattr(clustering, "MOST_INPUTS", 63)
    model = Model(1, 64)
    content = model.file(dense(model, 0, (1, 32)))
    with pytest.warns(UserWarning, match="c1 has 64 inputs, .* at most 63 .* by k-means"):
        found = cluster(content, COMPENSATED, pictures(20, 64))
    assert found.content == cluster(content, COMPENSATED).content


def test_a_file_of_two_graphs_is_clustered_without_calibration():
    weights = random(model := Model(1, 32), (32, 32))
    tensors = [tensor("x", (1, 32)), model.tensors[weights], tensor("y", (1, 32))]
    made = [node("FULLY_CONNECTED", (0, 1, -1), (2,), 6)]
    content = build(graph(tensors, made, outputs=(2,)), graph(tensors, made, outputs=(2,)))
    found = cluster(content, COMPENSATED)
    assert list(found.codebooks) == ["c1"]
    assert same_as_codebooks(found)
    with pytest.raises(UserError, match="has 2 graphs"):
        cluster(content, COMPENSATED, pictures(20, 32))


def test_few_examples_are_taken_with_a_warning():
    with pytest.warns(UserWarning, match="calibration on 1 of at least 16 examples says little"):
        assert cluster(small_cnn(), COMPENSATED, pictures(1)).codebooks


def test_a_file_without_large_weights_is_refused():
    model = Model(1, 16)
    with pytest.raises(UserError, match=r"nothing to cluster: no dense layer, .* 1,024 constant float32 weights"):
        cluster(model.file(dense(model, 0, (1, 16))))
