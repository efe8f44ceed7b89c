import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.packed.graphs import DENSE, K, Model, same, some
from tests.packed.reference import kinds, options
from tfcompress.packed.packer import pack


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
