"""Finds attention, which stock files compute with reshapes, transpositions and matrix products."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tfcompress.packed.options import AttentionOptions, Computing
from tfcompress.tflite.graph import Graph, Operator, custom_operator, operator, reshape
from tfcompress.tflite.tensor import Shape, Tensor, computed, constant

_MAX_ELEMENTS = 1 << 26
_ANY_BATCH = 3
"""The length of a free batch while the order of elements is tracked. With 1, moving the batch would not show."""

Order = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Scores:
    """The operands of softmax(factor · q kᵀ + mask), and whether q and k are transposed."""

    query: Tensor
    key: Tensor
    query_transposed: bool
    key_transposed: bool
    factor: float
    mask: Tensor | None
    shape: Shape


def find_attentions(graph: Graph, computing: Computing) -> Iterator[tuple[Operator, list[Operator]]]:
    """Yields the last operator of each attention, and the operators that replace it."""
    for softmax in graph.operators:
        if softmax.kind == "SOFTMAX":
            found = _attention(graph, softmax, computing)
            if found is not None:
                yield found


def _attention(graph: Graph, softmax: Operator, computing: Computing) -> tuple[Operator, list[Operator]] | None:
    scores = _scores(graph, softmax)
    context = graph.only_consumer(softmax.outputs[0])
    if scores is None or context is None or context.kind != "BATCH_MATMUL" or context.option("adjX"):
        return None
    if context.inputs[0] is not softmax.outputs[0] or _fixed(scores.shape) is None:
        return None
    *batches, queries, keys = scores.shape
    rows = math.prod(_fixed(tuple(batches)) or ())  # examples times heads
    if queries != keys or keys < 1:
        return None
    transposed = bool(context.option("adjY"))
    sources = [
        _sources(graph, scores.query, scores.query_transposed, rows, keys),
        _sources(graph, scores.key, scores.key_transposed, rows, keys),
        _sources(graph, context.inputs[1], transposed, rows, keys),
    ]
    results = _results(graph, context, rows, keys)
    for heads in sorted(set(results).intersection(*sources), reverse=True):
        tensors, factors = zip(*(source[heads] for source in sources), strict=True)
        last, after = results[heads]
        out = last.outputs[0].free_shape
        widths = {tensor.free_shape[-1] for tensor in (*tensors, last.outputs[0])}
        if len(widths) == 1 and out.count(-1) <= 1 and _takes_mask(scores, rows // heads, heads):
            batch = -1 if scores.shape[0] == -1 else rows // heads
            shape = (batch, keys, widths.pop())
            scale = float(np.float32(scores.factor * factors[0] * factors[1]))
            options = AttentionOptions(heads, scale, computing)
            return last, _rewritten(options, tensors, scores.mask, last, shape, after * factors[2])
    return None


def _rewritten(
    options: AttentionOptions,
    inputs: tuple[Tensor, ...],
    mask: Tensor | None,
    last: Operator,
    shape: Shape,
    factor: float,
) -> list[Operator]:
    """Returns the operators that replace an attention: reshapes around the custom operator, and a factor after it."""
    made: list[Operator] = []
    operands: list[Tensor] = []
    for tensor in inputs:
        rows = tensor
        if tensor.free_shape != shape:
            rows = computed(f"{tensor.name}_rows", shape)
            made.append(reshape(tensor, rows))
        operands.append(rows)
    out = last.outputs[0]
    target = out if out.free_shape == shape else computed(f"{out.name}_rows", shape)
    context = target if factor == 1 else computed(f"{out.name}_context", shape)
    operands += [] if mask is None else [mask]
    made.append(custom_operator(options.name, operands, [context], options.pack()))
    if factor != 1:
        number = constant(f"{out.name}_factor", np.array(factor, np.float32))
        made.append(operator("MUL", [context, number], [target], options=schema.MulOptionsT()))
    if target is not out:
        made.append(reshape(target, out))
    return made


def _scores(graph: Graph, softmax: Operator) -> _Scores | None:
    """Traces the input of a softmax back to the product of queries and keys; None if it has another form."""
    tensor, transposed = softmax.inputs[0], False
    mask: Tensor | None = None
    factor = float(softmax.option("beta"))
    shape = tensor.free_shape
    while (made := graph.producer(tensor)) is not None:
        if made.kind == "BATCH_MATMUL":
            first_transposed, second_transposed = bool(made.option("adjX")), not made.option("adjY")
            first, second = made.inputs
            if transposed:
                return _Scores(second, first, second_transposed, first_transposed, factor, mask, shape)
            return _Scores(first, second, first_transposed, second_transposed, factor, mask, shape)
        scaled = _scaling(graph, made)
        if scaled is not None:
            tensor, factor = scaled[0], factor * scaled[1]
        elif made.kind == "ADD" and mask is None and not transposed and factor == 1 and not _is_fused(made):
            scores, mask = made.inputs
            if scores.free_shape != tensor.free_shape:
                scores, mask = mask, scores
            tensor, shape = scores, scores.free_shape
        elif made.kind == "TRANSPOSE":
            order = graph.numbers(made.inputs[1])
            rank = len(tensor.free_shape)
            if order is None or order.ravel().tolist() != [*range(rank - 2), rank - 1, rank - 2]:
                return None
            tensor, transposed = made.inputs[0], not transposed
        elif made.kind == "RESHAPE" and made.inputs[0].free_shape[-2:] == tensor.free_shape[-2:]:
            tensor = made.inputs[0]
        else:
            return None
    return None


def _takes_mask(scores: _Scores, batch: int, heads: int) -> bool:
    """Returns whether there is no mask, or one that is the same for all heads and queries of an example."""
    if scores.mask is None:
        return True
    keys = scores.shape[-1]
    mask = _fixed(scores.mask.free_shape)
    if scores.mask.dtype != "float32" or mask is None or mask[-1:] != (keys,):
        return False
    if math.prod(mask) == keys:
        return True
    split = _fixed(scores.shape) == (batch, heads, keys, keys)
    return split and mask == (batch, 1, 1, keys)


def _sources(graph: Graph, tensor: Tensor, transposed: bool, rows: int, tokens: int) -> dict[int, tuple[Tensor, float]]:
    """Returns tensors (batch · tokens, width) that, split into heads, are an operand of a product.

    Args:
        graph: the graph of the tensor.
        tensor: the operand: (rows, tokens, head width), or (rows, head width, tokens) if `transposed`.
        transposed: whether the last two axes of the operand are swapped.
        rows: the number of examples times the number of heads.
        tokens: the number of tokens of the operand.

    Returns:
        By number of heads, a tensor and the factor that it is multiplied by before the product.
    """
    whole = _fixed(tensor.free_shape)
    found: dict[int, tuple[Tensor, float]] = {}
    if whole is None or math.prod(whole) > _MAX_ELEMENTS:
        return found
    factor = 1.0
    path: list[Operator] = []
    while True:
        shape = _fixed(tensor.free_shape)
        if shape is None or math.prod(shape) != math.prod(whole):
            return found
        width = math.prod(whole) // (rows * tokens)
        heads = shape[-1] // width if shape and width else 0
        if heads and shape[-1] == heads * width and rows % heads == 0 and heads not in found:
            order = np.arange(math.prod(shape)).reshape(shape)
            for step in reversed(path):
                order = _applied(graph, step, order)
            if np.array_equal(order.ravel(), _split_order(rows // heads, heads, tokens, width, transposed).ravel()):
                found[heads] = tensor, factor
        made = graph.producer(tensor)
        scaled = None if made is None else _scaling(graph, made)
        if scaled is not None:
            tensor, factor = scaled[0], factor * scaled[1]
        elif made is not None and _only_moves(graph, made):
            path.append(made)
            tensor = made.inputs[0]
        else:
            return found


def _results(graph: Graph, context: Operator, rows: int, tokens: int) -> dict[int, tuple[Operator, float]]:
    """Returns the operators after which the heads of the context are joined to (batch · tokens, width) again.

    Returns:
        By number of heads, the operator and the factor that the context is multiplied by up to there.
    """
    found: dict[int, tuple[Operator, float]] = {}
    shape = _fixed(context.outputs[0].free_shape)
    if shape is None or math.prod(shape) > _MAX_ELEMENTS or math.prod(shape) % (rows * tokens):
        return found
    width = math.prod(shape) // (rows * tokens)
    order = np.arange(math.prod(shape)).reshape(shape)
    last, factor = context, 1.0
    while True:
        end = order.shape[-1]
        heads = end // width if width else 0
        if heads and end == heads * width and rows % heads == 0 and heads not in found:
            wanted = np.empty(order.size, np.int64)
            wanted[_split_order(rows // heads, heads, tokens, width, False).ravel()] = np.arange(order.size)
            if np.array_equal(order.ravel(), wanted):
                found[heads] = last, factor
        following = graph.only_consumer(last.outputs[0])
        if following is None:
            return found
        scaled = _scaling(graph, following)
        if scaled is not None:
            factor *= scaled[1]
        elif _only_moves(graph, following):
            order = _applied(graph, following, order)
        else:
            return found
        last = following


def _split_order(batch: int, heads: int, tokens: int, width: int, transposed: bool) -> Order:
    """Returns the index in (batch, tokens, heads · width) of each element of (batch, heads, tokens, width)."""
    elements = np.arange(batch * tokens * heads * width).reshape(batch, tokens, heads, width)
    return elements.transpose(0, 2, 3, 1) if transposed else elements.transpose(0, 2, 1, 3)


def _only_moves(graph: Graph, one: Operator) -> bool:
    """Returns whether an operator only moves elements, in an order that can be tracked."""
    if one.kind == "TRANSPOSE":
        return graph.numbers(one.inputs[1]) is not None
    return one.kind == "RESHAPE" and _fixed(one.outputs[0].free_shape) is not None


def _applied(graph: Graph, one: Operator, order: Order) -> Order:
    """Returns the order of elements after an operator that only moves them."""
    if one.kind == "TRANSPOSE":
        axes = graph.numbers(one.inputs[1])
        assert axes is not None
        return order.transpose(axes.ravel().tolist())
    return order.reshape(_fixed(one.outputs[0].free_shape) or ())


def _scaling(graph: Graph, one: Operator) -> tuple[Tensor, float] | None:
    """Returns the tensor that an operator multiplies by a number, and the number; None if it does something else."""
    if one.kind not in ("MUL", "DIV") or _is_fused(one):
        return None
    first, second = one.inputs
    number = graph.scalar(second)
    if one.kind == "DIV":
        return None if not number or graph.scalar(first) is not None else (first, 1 / number)
    if number is None:
        first, number = second, graph.scalar(first)
    same = number is not None and first.free_shape == one.outputs[0].free_shape
    return (first, number) if same and number is not None else None


def _fixed(shape: Shape) -> Shape | None:
    """Returns a shape with `_ANY_BATCH` for a free batch; None if another length is free or 0."""
    if -1 in shape[1:] or 0 in shape:
        return None
    return (_ANY_BATCH, *shape[1:]) if shape[:1] == (-1,) else shape


def _is_fused(one: Operator) -> bool:
    return bool(one.option("fusedActivationFunction"))
