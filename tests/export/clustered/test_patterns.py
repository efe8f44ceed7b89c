"""Operators in other forms than our models have: graphs by hand, stock in LiteRT against packed in numpy."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tfcompress import runtime
from tfcompress.errors import UserError
from tfcompress.export import flatbuffer
from tfcompress.export.clustered.packer import pack, pack_counted
from tfcompress.export.clustered.unpacker import unpack

from ..build import build, constant, graph, node, tensor
from . import reference
from .reference import kinds, options

DENSE = "ClusteredFullyConnected"
K, N = 24, 40


class Model:
    """A graph that grows operator by operator; tensor 0 is its input."""

    def __init__(self, *shape: int, seed: int = 0, type: str = "float32") -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors, self.nodes = [], []
        self.x = self.tensor(shape, type)

    def tensor(self, shape, type="float32", **more) -> int:
        self.tensors.append(tensor(f"t{len(self.tensors)}", shape, type, **more))
        return len(self.tensors) - 1

    def constant(self, values, kind=np.float32, **more) -> int:
        self.tensors.append(constant(f"c{len(self.tensors)}", np.asarray(values, kind), **more))
        return len(self.tensors) - 1

    def add(self, kind: str, inputs, shape, version: int = 1, type: str = "float32", own=None, **more) -> int:
        out = self.tensor(shape, type, **more)
        made = node(kind, inputs, [out], version)
        if own is not None:
            made.builtinOptions = own
            made.builtinOptionsType = getattr(schema.BuiltinOptions, own.__class__.__name__.removesuffix("T"))
        self.nodes.append(made)
        return out

    def clustered(self, outputs: int, inputs: int, clusters: int = 16) -> np.ndarray:
        centroids = self.rng.normal(0, inputs**-0.5, clusters).astype(np.float32)
        return centroids[self.rng.integers(0, clusters, (outputs, inputs))]

    def dense(self, x, shape, weights=None, bias=True, fused=0, **more) -> int:
        weights = self.clustered(shape[-1], self.tensors[x].shape[-1]) if weights is None else weights
        weights = self.constant(weights, **more) if isinstance(weights, np.ndarray) else weights
        offset = self.constant(self.rng.normal(size=shape[-1])) if bias else -1
        own = schema.FullyConnectedOptionsT(fused, keepNumDims=len(shape) > 2)
        return self.add("FULLY_CONNECTED", (x, weights, offset), shape, 5, own=own)

    def file(self, out: int) -> bytes:
        return build(graph(self.tensors, self.nodes, outputs=(out,)))


def stock(content: bytes, *inputs: np.ndarray, delegates=()) -> np.ndarray:
    interpreter = Interpreter(model_content=content, experimental_delegates=list(delegates))
    interpreter.allocate_tensors()
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def has_runtime() -> bool:
    """Without a C++ compiler there is none, except where CI=1."""
    try:
        return runtime.library().is_file()
    except UserError:
        if os.environ.get("CI"):
            raise
        return False


def same(content: bytes, *inputs: np.ndarray) -> list[str]:
    """Packs a file, checks that it gives the same, and that it comes back; returns its operators."""
    packed = pack(content)
    expected = stock(content, *inputs)
    tolerance = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(reference.run(packed, *inputs), expected, atol=tolerance)
    if has_runtime():
        found = stock(packed, *inputs, delegates=[runtime.load_delegate()])
        np.testing.assert_allclose(found, expected, atol=tolerance)
    unpacked = unpack(packed)
    np.testing.assert_allclose(stock(unpacked, *inputs), expected, atol=tolerance)
    assert pack(unpacked) == packed
    return kinds(packed)


def some(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("clusters", [3, 8, 15, 20, 64, 100, 200])
def test_bits_are_the_fewest_for_each_tensor(clusters):
    model = Model(2, K)
    content = model.file(model.dense(0, (2, 100), model.clustered(100, K, clusters)))
    assert same(content, some(2, K)) == [DENSE]
    assert options(pack(content), 0).bits == max(2, int(np.ceil(np.log2(clusters))))


@pytest.mark.parametrize(("kind", "code"), [("RELU", 1), ("GELU", 2), ("approximate", 3), ("TANH", 4)])
def test_activations_and_residuals_go_into_the_dense_layer(kind, code):
    model = Model(1, 3, N)
    gelu = schema.GeluOptionsT(kind == "approximate") if kind in ("GELU", "approximate") else None
    y = model.add("GELU" if gelu else kind, [model.dense(0, (1, 3, N))], (1, 3, N), own=gelu)
    content = model.file(model.add("ADD", [0, y], (1, 3, N), own=schema.AddOptionsT()))
    assert same(content, some(1, 3, N)) == [DENSE]
    own = options(pack(content), 0)
    assert (own.activation, own.residual) == (code, 1)


def test_fused_activations_are_kept():
    for fused, code in ((1, 1), (4, 4)):
        model = Model(5, K)
        content = model.file(model.dense(0, (5, N), fused=fused))
        assert options(pack(content), 0).activation == code
        if fused == 1:  # LiteRT's own float kernel ignores a fused tanh.
            assert same(content, some(5, K)) == [DENSE]
    relu6 = Model(5, K)
    y = relu6.dense(0, (5, K))
    packed = pack_counted(relu6.file(relu6.dense(y, (5, N), fused=3)))
    assert kinds(packed.content) == [DENSE, "FULLY_CONNECTED"]
    assert "fused activation" in packed.left[0].reason


def test_what_others_read_is_not_taken_in():
    """The layer's output is read before and after its activation."""
    model = Model(2, K)
    y = model.dense(0, (2, N))
    content = model.file(model.add("ADD", [y, model.add("RELU", [y], (2, N))], (2, N), own=schema.AddOptionsT()))
    assert same(content, some(2, K)) == [DENSE, "RELU", "ADD"]


def test_an_addend_of_another_size_is_no_residual():
    model = Model(1, 3, N)
    row = model.constant(some(1, 1, N))
    y = model.dense(0, (1, 3, N))
    assert same(model.file(model.add("ADD", [y, row], (1, 3, N), own=schema.AddOptionsT())), some(1, 3, N)) == [
        DENSE,
        "ADD",
    ]


def test_a_bias_behind_the_layer_becomes_its_own():
    model = Model(1, 3, K)
    heads = model.constant([-1, 3, 4, 10], np.int32)
    y = model.add("RESHAPE", [model.dense(0, (1, 3, N), bias=False), heads], (1, 3, 4, 10))
    own = schema.AddOptionsT(fusedActivationFunction=1)
    content = model.file(model.add("ADD", [y, model.constant(some(4, 10))], (1, 3, 4, 10), own=own))
    assert same(content, some(1, 3, K)) == [DENSE, "RESHAPE"]
    assert options(pack(content), 0).activation == 1


def test_layers_of_one_input_and_shape_are_one_operator():
    model = Model(1, 3, K)
    layers = [model.dense(0, (1, 3, N)) for _ in range(4)]
    other = model.dense(0, (1, 3, N), model.clustered(N, K, 40))
    y = layers[0]
    for layer in (*layers[1:], other):
        y = model.add("MUL", [y, layer], (1, 3, N), own=schema.MulOptionsT())
    content = model.file(y)
    assert same(content, some(1, 3, K)).count(DENSE) == 2
    assert options(pack(content), 0).segments == 4


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
    constants = flatbuffer.read(pack(content)).graphs[0].tensors
    assert sum(one.type == "uint8" for one in constants) == 1


def small_behind_a_dense_layer(distinct):
    model = Model(2, K)
    y = model.dense(0, (2, N), some(N, K))
    small = model.constant(np.arange(10 * N).reshape(10, N) % distinct - 60, np.int8, scales=[0.1], zero_points=[0])
    return pack_counted(model.file(model.dense(model.dense(y, (2, N)), (2, 10), small)))


def test_what_is_left_is_named_with_the_reason():
    packed = small_behind_a_dense_layer(140)
    assert kinds(packed.content) == ["FULLY_CONNECTED", DENSE, "FULLY_CONNECTED"]
    (large, why), (small, reason) = [(one.name, one.reason) for one in packed.left]
    assert (large, why) == ("c1", "it has more than 256 distinct values")
    assert small == "c4"
    assert re.fullmatch(r"its 140 distinct values need 8 bits and \d+ bytes, not fewer than it has", reason)


def test_a_small_int8_layer_is_packed_even_if_that_takes_more_bytes():
    assert kinds(small_behind_a_dense_layer(60).content) == ["FULLY_CONNECTED", DENSE, DENSE]


@pytest.mark.parametrize("scales", [1, N])
def test_int8_weights_keep_their_scales(scales):
    model = Model(4, K)
    values = np.round(model.clustered(N, K, 30) * 100).astype(np.int8)
    steps = np.linspace(0.01, 0.02, scales).astype(np.float32)
    weights = model.constant(values, np.int8, scales=steps, zero_points=np.zeros(scales, np.int64))
    content = model.file(model.dense(0, (4, N), weights))
    for activations, computing in ((None, 1), ("int8", 1), ("float32", 0)):
        packed = pack(content, activations)
        assert options(packed, 0).computing == computing
        expected = some(4, K) @ (values * steps[:, None]).T
        bias = next(one.values() for one in flatbuffer.read(content).graphs[0].tensors if one.shape == (N,))
        np.testing.assert_allclose(reference.run(packed, some(4, K)), expected + bias, rtol=1e-4, atol=1e-4)
        found = flatbuffer.weights(unpack(packed))[0]
        np.testing.assert_array_equal(found.values, values)
        np.testing.assert_array_equal(found.scales, steps)


def test_float_weights_for_int8_have_the_prescribed_codebook_and_sums():
    model = Model(4, K)
    weights = model.clustered(N, K, 30)
    graph = flatbuffer.read(pack(model.file(model.dense(0, (4, N), weights)), "int8")).graphs[0]
    _, _, codebook, scale, sums, _, original = (graph.tensors[index] for index in graph.operators[0].inputs)
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


NORMS = ["tensorflow", "no beta", "centred", "divided", "keras 3", "channels", "neither"]


@pytest.mark.parametrize("form", NORMS)
def test_a_layer_norm_is_found_in_every_form(form):
    model = Model(1, 3, K)
    x = model.dense(0, (1, 3, K))
    assert same(model.file(norm(model, x, (1, 3, K), form)), some(1, 3, K)) == [DENSE, "LayerNorm"]


def norm(model: Model, x: int, shape, form: str) -> int:
    one, axes = (*shape[:-1], 1), model.constant([len(shape) - 1], np.int32)
    epsilon = model.constant(0.01)
    gamma, beta = model.constant(some(K)), model.constant(some(1, 1, K) + 1)
    last = schema.ReducerOptionsT(keepDims=True)
    if form == "channels":
        return channels(model, x, shape, gamma, beta, epsilon)
    mean = model.add("MEAN", [x, axes], one, own=last)
    if form in ("centred", "divided", "neither"):
        centred = model.add("SUB", [x, mean], shape, own=schema.SubOptionsT())
        square = model.add("MUL", [centred, centred], shape, own=schema.MulOptionsT())
    else:
        square = model.add("SQUARED_DIFFERENCE", [mean, x], shape)
    variance = model.add("MEAN", [square, axes], one, own=last)
    more = model.add("ADD", [epsilon, variance], one, own=schema.AddOptionsT())
    if form == "divided":
        root = model.add("SQRT", [more], one)
        y = model.add("DIV", [centred, root], shape, own=schema.DivOptionsT())
        y = model.add("MUL", [y, gamma], shape, own=schema.MulOptionsT())
        return model.add("ADD", [beta, y], shape, own=schema.AddOptionsT())
    inverse = model.add("RSQRT", [more], one)
    if form == "neither":
        return model.add("MUL", [centred, inverse], shape, own=schema.MulOptionsT())
    scale = model.add("MUL", [inverse, gamma], shape, own=schema.MulOptionsT())
    if form == "centred":
        y = model.add("MUL", [centred, scale], shape, own=schema.MulOptionsT())
        return model.add("ADD", [y, beta], shape, own=schema.AddOptionsT())
    y = model.add("MUL", [x, scale], shape, own=schema.MulOptionsT())
    if form == "keras 3":
        negative = model.add("NEG", [mean], one)
        moved = model.add("MUL", [negative, scale], shape, own=schema.MulOptionsT())
        shift = model.add("ADD", [moved, beta], shape, own=schema.AddOptionsT())
        return model.add("ADD", [y, shift], shape, own=schema.AddOptionsT())
    moved = model.add("MUL", [mean, scale], shape, own=schema.MulOptionsT())
    if form == "no beta":
        return model.add("SUB", [y, moved], shape, own=schema.SubOptionsT())
    shift = model.add("SUB", [beta, moved], shape, own=schema.SubOptionsT())
    return model.add("ADD", [y, shift], shape, own=schema.AddOptionsT())


def channels(model: Model, x: int, shape, gamma: int, beta: int, epsilon: int) -> int:
    """As tf_keras makes it with an epsilon from 1e-3 on."""
    rows, width = shape[1:]
    split = model.add("RESHAPE", [x, model.constant([1, rows, width, 1], np.int32)], (1, rows, width, 1))
    turned = model.add("TRANSPOSE", [split, model.constant([0, 2, 3, 1], np.int32)], (1, width, 1, rows))
    axes, reduce = model.constant([0, 1, 2], np.int32), schema.ReducerOptionsT()
    mean = model.add("MEAN", [turned, axes], (rows,), own=reduce)
    square = model.add("SQUARED_DIFFERENCE", [turned, mean], (1, width, 1, rows))
    variance = model.add("MEAN", [square, axes], (rows,), own=reduce)
    inverse = model.add("RSQRT", [model.add("ADD", [variance, epsilon], (rows,), own=schema.AddOptionsT())], (rows,))
    scaled = model.add("MUL", [turned, inverse], (1, width, 1, rows), own=schema.MulOptionsT())
    moved = model.add("MUL", [mean, inverse], (rows,), own=schema.MulOptionsT())
    shift = model.add("SUB", [model.constant(np.zeros(rows)), moved], (rows,), own=schema.SubOptionsT())
    y = model.add("ADD", [scaled, shift], (1, width, 1, rows), own=schema.AddOptionsT())
    back = model.add("TRANSPOSE", [y, model.constant([0, 3, 1, 2], np.int32)], (1, rows, width, 1))
    y = model.add("RESHAPE", [back, model.constant(shape, np.int32)], shape)
    y = model.add("MUL", [y, gamma], shape, own=schema.MulOptionsT())
    return model.add("ADD", [y, beta], shape, own=schema.AddOptionsT())


def test_a_mean_over_tokens_is_no_layer_norm():
    model = Model(1, K, K)
    out = norm(model, model.dense(0, (1, K, K)), (1, K, K), "tensorflow")
    model.tensors[next(i for i, one in enumerate(model.tensors) if one.data == np.int32(2).tobytes())].data = np.int32(
        1
    ).tobytes()
    assert "LayerNorm" not in kinds(pack(model.file(out)))


def attention(
    model: Model, x: int, batch: int, tokens: int, heads: int, *, mask: int = -1, scaled: str = "", joined: bool = False
) -> int:
    """Scores of the queries behind each other, as for keys that come first, if `scaled` is `turned`."""
    width = model.tensors[x].shape[-1]
    each = width // heads
    split, order = (batch, tokens, heads, each), model.constant([0, 2, 1, 3], np.int32)
    product = schema.BatchMatMulOptionsT
    parts = []
    for _ in range(3):
        y = model.dense(x, (batch, tokens, width))
        y = model.add("RESHAPE", [y, model.constant(split, np.int32)], split)
        y = model.add("TRANSPOSE", [y, order], (batch, heads, tokens, each))
        if joined:
            shape = (batch * heads, tokens, each)
            y = model.add("RESHAPE", [y, model.constant(shape, np.int32)], shape)
        parts.append(y)
    q, k, v = parts
    lead = (batch * heads,) if joined else (batch, heads)
    number = model.constant(0.3)
    if scaled == "query":
        q = model.add("MUL", [q, number], (*lead, tokens, each), own=schema.MulOptionsT())
    scores = (*lead, tokens, tokens)
    if scaled == "turned":
        y = model.add("BATCH_MATMUL", [k, q], scores, own=product(adjY=True))
        y = model.add("TRANSPOSE", [y, model.constant([0, 1, 3, 2], np.int32)], scores)
    else:
        y = model.add("BATCH_MATMUL", [q, k], scores, own=product(adjY=True))
    if scaled == "scores":
        y = model.add("DIV", [y, number], scores, own=schema.DivOptionsT())
    if mask >= 0:
        y = model.add("ADD", [mask, y], scores, own=schema.AddOptionsT())
    y = model.add("SOFTMAX", [y], scores, own=schema.SoftmaxOptionsT(0.5 if scaled == "beta" else 1.0))
    y = model.add("BATCH_MATMUL", [y, v], (*lead, tokens, each), own=product())
    if scaled == "context":
        y = model.add("MUL", [y, number], (*lead, tokens, each), own=schema.MulOptionsT())
    if joined:
        shape = (batch, heads, tokens, each)
        y = model.add("RESHAPE", [y, model.constant(shape, np.int32)], shape)
    y = model.add("TRANSPOSE", [y, order], split)
    rows = (batch * tokens, width) if batch == 1 else (batch, tokens, width)
    return model.add("RESHAPE", [y, model.constant(rows, np.int32)], rows)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("scaled", ["", "query", "scores", "turned", "beta"])
def test_attention_is_found_with_its_scale_anywhere(scaled, batch):
    model = Model(batch, 5, K)
    y = attention(model, 0, batch, 5, 3, scaled=scaled)
    y = model.dense(y, (batch * 5, K) if batch == 1 else (batch, 5, K))
    content = model.file(model.add("ADD", [0, y], (batch, 5, K), own=schema.AddOptionsT()))
    assert same(content, some(batch, 5, K)) == [DENSE, "Attention", DENSE]
    scale = {"query": 0.3, "scores": 1 / 0.3, "beta": 0.5}.get(scaled, 1)
    own = options(pack(content), 1)
    assert (own.heads, own.scale) == (3, pytest.approx(scale))


def test_heads_may_be_joined_with_the_batch():
    model = Model(2, 5, K)
    assert same(model.file(attention(model, 0, 2, 5, 3, joined=True)), some(2, 5, K)) == [DENSE, "Attention"]
    assert options(pack(model.file(attention(model, 0, 2, 5, 3, joined=True))), 1).heads == 3


def test_a_number_behind_the_context_stays_stock():
    model = Model(2, 5, K)
    assert same(model.file(attention(model, 0, 2, 5, 3, scaled="context")), some(2, 5, K)) == [
        DENSE,
        "Attention",
        "MUL",
    ]


@pytest.mark.parametrize("shape", [(2, 1, 1, 5), (1, 1, 1, 5), (5,), (1, 5)])
def test_a_mask_of_keys_goes_in(shape):
    model = Model(2, 5, K)
    out = attention(model, 0, 2, 5, 3, mask=model.constant(np.where(some(*shape) > 0, -40, 0)))
    assert same(model.file(out), some(2, 5, K)) == [DENSE, "Attention"]


@pytest.mark.parametrize("shape", [(5, 5), (1, 3, 1, 5), (5, 1)])
def test_another_mask_leaves_attention_stock(shape):
    model = Model(2, 5, K)
    out = attention(model, 0, 2, 5, 3, mask=model.constant(some(*shape)))
    found = kinds(pack(model.file(out)))
    assert "SOFTMAX" in found
    assert "Attention" not in found


def test_tables_of_floats_and_of_int8_are_looked_up():
    for int8 in (False, True):
        model = Model(2, 3, type="int32")
        values = model.clustered(50, 20)
        more = {"scales": [0.1], "zero_points": [0]} if int8 else {}
        values = np.round(values * 100).astype(np.int8) if int8 else values
        table = model.constant(values, values.dtype, **more)
        gather = schema.GatherOptionsT()
        y = model.add("GATHER", [table, 0], (2, 3, 20), 2, str(values.dtype), gather, **more)
        y = model.add("DEQUANTIZE", [y], (2, 3, 20), 2, own=schema.DequantizeOptionsT()) if int8 else y
        ids = np.array([[0, 1, 49], [7, 7, 8]], np.int32)
        assert same(model.file(y), ids) == ["ClusteredEmbedding"]


def test_an_operator_that_has_no_float_form_is_named():
    model = Model(2, K)
    step = {"scales": [0.1], "zero_points": [0]}
    y = model.dense(0, (2, N))
    y = model.add("QUANTIZE", [y], (2, N), type="int8", **step)
    y = model.add("CAST", [y], (2, N), own=schema.CastOptionsT())
    with pytest.raises(UserError, match=r"operator CAST \(t\d+\) takes or gives int8"):
        pack(model.file(y))


def test_int8_ends_of_a_graph_stay_int8():
    step = {"scales": [0.05], "zero_points": [-3]}
    model = Model(2, K, type="int8")
    model.tensors[0].quantization.scale, model.tensors[0].quantization.zeroPoint = [0.05], [-3]
    values = np.round(model.clustered(N, K, 9) * 100).astype(np.int8)
    weights = model.constant(values, np.int8, scales=[0.01], zero_points=[0])
    bias = model.constant(np.arange(N) * 100, np.int32, scales=[0.0005], zero_points=[0])
    y = model.add("FULLY_CONNECTED", [0, weights, bias], (2, N), 4, "int8", schema.FullyConnectedOptionsT(), **step)
    y = model.add("TANH", [y], (2, N), 2, "int8", scales=[1 / 128], zero_points=[0])
    content = model.file(y)
    assert kinds(pack(content)) == ["DEQUANTIZE", DENSE, "QUANTIZE"]
    given = np.random.default_rng(0).integers(-50, 50, (2, K)).astype(np.int8)
    found, expected = stock(unpack(pack(content)), given), stock(content, given)
    assert np.abs(found.astype(int) - expected).max() <= 6
