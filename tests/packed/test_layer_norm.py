import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.packed.graphs import DENSE, K, Model, same, some
from tests.packed.reference import kinds
from tfcompress.packed.packer import pack

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
