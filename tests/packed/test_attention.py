import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.packed.blocks import attention
from tests.packed.graphs import DENSE, K, Model, same, some
from tests.packed.reference import kinds, options
from tfcompress.packed.packer import pack


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("scaled", ["", "query", "scores", "turned", "beta"])
def test_attention_is_found_with_its_scale_anywhere(scaled, batch):
    model = Model(batch, 5, K)
    y = attention(model, 0, batch, 5, 3, scaled=scaled)
    y = model.dense(y, (batch * 5, K) if batch == 1 else (batch, 5, K))
    content = model.file(model.add("ADD", [0, y], (batch, 5, K), own=schema.AddOptionsT()))
    assert same(content, some(batch, 5, K)) == [DENSE, "Attention", DENSE]
    scale = {"query": 0.3, "scores": 1 / 0.3, "beta": 0.5}.get(scaled, 1)
    own = options(pack(content, allow_larger=True), 1)
    assert (own.heads, own.scale) == (3, pytest.approx(scale))


def test_heads_may_be_joined_with_the_batch():
    model = Model(2, 5, K)
    assert same(model.file(attention(model, 0, 2, 5, 3, joined=True)), some(2, 5, K)) == [DENSE, "Attention"]
    assert options(pack(model.file(attention(model, 0, 2, 5, 3, joined=True))), 1).heads == 3


def test_a_factor_after_the_context_stays_stock():
    model = Model(2, 5, K)
    assert same(model.file(attention(model, 0, 2, 5, 3, scaled="context")), some(2, 5, K)) == [
        DENSE,
        "Attention",
        "MUL",
    ]


@pytest.mark.parametrize("shape", [(2, 1, 1, 5), (1, 1, 1, 5), (5,), (1, 5)])
def test_a_mask_of_keys_is_fused(shape):
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
