import re

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.packed import reference
from tests.packed.graphs import DENSE, K, Model, N, same, some
from tests.packed.reference import kinds, options
from tfcompress.packed import file_weights
from tfcompress.packed.packer import pack, pack_counted
from tfcompress.packed.unpacker import unpack
from tfcompress.tflite import reading


@pytest.mark.parametrize("clusters", [3, 8, 15, 20, 64, 100, 200])
def test_bits_are_the_fewest_for_each_tensor(clusters):
    model = Model(2, K)
    content = model.file(model.dense(0, (2, 100), model.clustered(100, K, clusters)))
    assert same(content, some(2, K)) == [DENSE]
    assert options(pack(content, allow_larger=True), 0).bits == max(2, int(np.ceil(np.log2(clusters))))


@pytest.mark.parametrize(("kind", "code"), [("RELU", 1), ("GELU", 2), ("approximate", 3), ("TANH", 4)])
def test_activations_and_residuals_go_into_the_dense_layer(kind, code):
    model = Model(1, 3, N)
    gelu = schema.GeluOptionsT(kind == "approximate") if kind in ("GELU", "approximate") else None
    y = model.add("GELU" if gelu else kind, [model.dense(0, (1, 3, N))], (1, 3, N), own=gelu)
    content = model.file(model.add("ADD", [0, y], (1, 3, N), own=schema.AddOptionsT()))
    assert same(content, some(1, 3, N)) == [DENSE]
    own = options(pack(content, allow_larger=True), 0)
    assert (own.activation, own.residual) == (code, 1)


def test_fused_activations_are_kept():
    for fused, code in ((1, 1), (4, 4)):
        model = Model(5, K)
        content = model.file(model.dense(0, (5, N), fused=fused))
        assert options(pack(content, allow_larger=True), 0).activation == code
        if fused == 1:  # LiteRT's own float kernel ignores a fused tanh.
            assert same(content, some(5, K)) == [DENSE]
    relu6 = Model(5, K)
    y = relu6.dense(0, (5, K))
    packed = pack_counted(relu6.file(relu6.dense(y, (5, N), fused=3)))
    assert kinds(packed.content) == [DENSE, "FULLY_CONNECTED"]
    assert "fused activation" in packed.skipped[0].reason


def test_an_output_that_others_read_is_not_fused():
    """The layer's output is read before and after its activation."""
    model = Model(2, K)
    y = model.dense(0, (2, N))
    content = model.file(model.add("ADD", [y, model.add("RELU", [y], (2, N))], (2, N), own=schema.AddOptionsT()))
    assert same(content, some(2, K)) == [DENSE, "RELU", "ADD"]


def test_an_addend_of_another_size_is_not_a_residual():
    model = Model(1, 3, N)
    row = model.constant(some(1, 1, N))
    y = model.dense(0, (1, 3, N))
    assert same(model.file(model.add("ADD", [y, row], (1, 3, N), own=schema.AddOptionsT())), some(1, 3, N)) == [
        DENSE,
        "ADD",
    ]


def test_an_addition_after_the_layer_becomes_its_bias():
    model = Model(1, 3, K)
    heads = model.constant([-1, 3, 4, 10], np.int32)
    y = model.add("RESHAPE", [model.dense(0, (1, 3, N), bias=False), heads], (1, 3, 4, 10))
    own = schema.AddOptionsT(fusedActivationFunction=1)
    content = model.file(model.add("ADD", [y, model.constant(some(4, 10))], (1, 3, 4, 10), own=own))
    assert same(content, some(1, 3, K)) == [DENSE, "RESHAPE"]
    assert options(pack(content, allow_larger=True), 0).activation == 1


def test_layers_of_one_input_and_shape_become_one_operator():
    model = Model(1, 3, K)
    layers = [model.dense(0, (1, 3, N)) for _ in range(4)]
    other = model.dense(0, (1, 3, N), model.clustered(N, K, 40))
    y = layers[0]
    for layer in (*layers[1:], other):
        y = model.add("MUL", [y, layer], (1, 3, N), own=schema.MulOptionsT())
    content = model.file(y)
    assert same(content, some(1, 3, K)).count(DENSE) == 2
    assert options(pack(content, allow_larger=True), 0).segments == 4


def test_a_layer_may_flatten_its_input():
    model = Model(2, 3, K)
    assert same(model.file(model.dense(0, (2, N), model.clustered(N, 3 * K))), some(2, 3, K)) == ["RESHAPE", DENSE]
    model = Model(2, 3, K)
    assert same(model.file(model.dense(0, (6, N))), some(2, 3, K)) == [DENSE, "RESHAPE"]


def test_shared_weights_are_packed_once():
    model = Model(2, K)
    weights = model.constant(model.clustered(K, K))
    content = model.file(model.dense(model.dense(0, (2, K), weights), (2, K), weights))
    assert same(content, some(2, K)) == [DENSE, DENSE]
    constants = reading.read(pack(content, allow_larger=True)).graphs[0].tensors
    assert sum(one.dtype == "uint8" for one in constants) == 1


def pack_with_small_last_layer(distinct, allow_larger=False):
    """Packs layers of which the last one is small and has int8 weights with this many distinct values."""
    model = Model(2, K)
    y = model.dense(0, (2, N), some(N, K))
    small = model.constant(np.arange(10 * N).reshape(10, N) % distinct - 60, np.int8, scales=[0.1], zero_points=[0])
    return pack_counted(model.file(model.dense(model.dense(y, (2, N)), (2, 10), small)), allow_larger=allow_larger)


def test_skipped_weights_are_listed_with_the_reason():
    packed = pack_with_small_last_layer(140)
    assert kinds(packed.content) == ["FULLY_CONNECTED", DENSE, "FULLY_CONNECTED"]
    (large, why), (small, reason) = [(one.name, one.reason) for one in packed.skipped]
    assert (large, why) == ("c1", "it has more than 256 distinct values")
    assert small == "c4"
    assert re.fullmatch(r"its 140 distinct values need 8 bits each and [\d,]+ bytes in all, no fewer than now", reason)


def test_a_layer_that_would_grow_is_packed_only_if_asked():
    """60 distinct values need 6 bits, but their codebook and sums take more than the other two save."""
    assert kinds(pack_with_small_last_layer(60).content) == ["FULLY_CONNECTED", DENSE, "FULLY_CONNECTED"]
    assert kinds(pack_with_small_last_layer(60, allow_larger=True).content) == ["FULLY_CONNECTED", DENSE, DENSE]


@pytest.mark.parametrize("scales", [1, N])
def test_int8_weights_keep_their_scales(scales):
    model = Model(4, K)
    values = np.round(model.clustered(N, K, 30) * 100).astype(np.int8)
    steps = np.linspace(0.01, 0.02, scales).astype(np.float32)
    weights = model.constant(values, np.int8, scales=steps, zero_points=np.zeros(scales, np.int64))
    content = model.file(model.dense(0, (4, N), weights))
    for activations, computing in ((None, 1), ("int8", 1), ("float32", 0)):
        packed = pack(content, activations, allow_larger=True)
        assert options(packed, 0).computing == computing
        expected = some(4, K) @ (values * steps[:, None]).T
        bias = next(one.values() for one in reading.read(content).graphs[0].tensors if one.shape == (N,))
        np.testing.assert_allclose(reference.run(packed, some(4, K)), expected + bias, rtol=1e-4, atol=1e-4)
        found = file_weights.weights(unpack(packed))[0]
        np.testing.assert_array_equal(found.values, values)
        np.testing.assert_array_equal(found.scales, steps)


def test_float_weights_for_int8_have_the_prescribed_codebook_and_sums():
    model = Model(4, K)
    weights = model.clustered(N, K, 30)
    graph = reading.read(pack(model.file(model.dense(0, (4, N), weights)), "int8")).graphs[0]
    _, _, codebook, scale, sums, _, original = graph.operators[0].inputs
    centroids = np.unique(weights)
    np.testing.assert_array_equal(original.values(), centroids)
    (step,) = scale.values()
    np.testing.assert_array_equal(codebook.values(), np.round(centroids / step))
    indices = np.searchsorted(centroids, weights)
    plain = np.abs(centroids).max() / 127
    lost = [np.square(weights - np.round(weights / s) * s).sum() for s in (step, plain)]
    assert lost[0] < lost[1]
    assert np.abs(codebook.values()).max() <= 127
    np.testing.assert_array_equal(sums.values(), codebook.values().astype(int)[indices].sum(1))
