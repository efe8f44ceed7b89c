"""Attention and LayerNorm in the forms that converters write them in."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.packed.graphs import K, Model, some

LAYER_NORM_FORMS = ["tensorflow", "no beta", "centred", "divided", "keras 3", "channels", "neither"]


def attention(
    model: Model, x: int, batch: int, tokens: int, heads: int, *, mask: int = -1, scaled: str = "", joined: bool = False
) -> int:
    """Self-attention with random weights; returns its output.

    Args:
        model: is added to.
        x: the tensor to attend to, (batch, tokens, width).
        batch, tokens, heads: of `x`.
        mask: a tensor to add to the scores, or -1.
        scaled: what is multiplied by a number: `query`, `scores`, `context` or the softmax's `beta`; `turned` computes
            k qᵀ and transposes it.
        joined: heads and batch are one axis.
    """
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


def layer_norm(model: Model, x: int, shape, form: str) -> int:
    """A LayerNorm over the last axis in one of the forms in `LAYER_NORM_FORMS`; returns its output."""
    one, axes = (*shape[:-1], 1), model.constant([len(shape) - 1], np.int32)
    epsilon = model.constant(0.01)
    gamma, beta = model.constant(some(K)), model.constant(some(1, 1, K) + 1)
    last = schema.ReducerOptionsT(keepDims=True)
    if form == "channels":
        return _channels(model, x, shape, gamma, beta, epsilon)
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


def _channels(model: Model, x: int, shape, gamma: int, beta: int, epsilon: int) -> int:
    """As tf_keras computes it with an epsilon of 1e-3 or more: rows are the channels of an image."""
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
