"""Finding attention among reshapes, transpositions and products of matrices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tfcompress.packed.net import Net, Shape, option
from tfcompress.packed.options import AttentionOptions

_MOST_ELEMENTS = 1 << 26
_ANY_BATCH = 3
"""Stands for a free batch, where the order of elements is tried out; 1 would hide what moves the batch."""

Order = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Scores:
    """softmax(factor · q kᵀ + mask): the operands of the product, and whether the first one is k."""

    query: int
    key: int
    query_turned: bool
    key_turned: bool
    factor: float
    mask: int
    shape: Shape


def find_attentions(net: Net, computing: int) -> Iterator[tuple[Any, list[Any]]]:
    """Yields the last operator of each attention, and what stands in its place."""
    for softmax in list(net.operators):
        if net.kind(softmax) == "SOFTMAX":
            found = _attention(net, softmax, computing)
            if found is not None:
                yield found


def _attention(net: Net, softmax: Any, computing: int) -> tuple[Any, list[Any]] | None:
    scores = _scores(net, softmax)
    context = net.only_consumer(softmax.outputs[0])
    if scores is None or context is None or net.kind(context) != "BATCH_MATMUL" or option(context, "adjX"):
        return None
    if context.inputs[0] != softmax.outputs[0] or _fixed(scores.shape) is None:
        return None
    *batches, queries, keys = scores.shape
    rows = math.prod(_fixed(tuple(batches)) or ())  # examples times heads
    if queries != keys or keys < 1:
        return None
    turned = bool(option(context, "adjY"))
    sources = [
        _sources(net, scores.query, scores.query_turned, rows, keys),
        _sources(net, scores.key, scores.key_turned, rows, keys),
        _sources(net, context.inputs[1], turned, rows, keys),
    ]
    results = _results(net, context, rows, keys)
    for heads in sorted(set(results).intersection(*sources), reverse=True):
        tensors, factors = zip(*(source[heads] for source in sources), strict=True)
        last, behind = results[heads]
        widths = {net.shape(tensor)[-1] for tensor in (*tensors, last.outputs[0])}
        known = net.shape(last.outputs[0]).count(-1) <= 1
        if len(widths) == 1 and known and _masks(net, scores, rows // heads, heads):
            batch = -1 if scores.shape[0] == -1 else rows // heads
            shape = (batch, keys, widths.pop())
            scale = float(np.float32(scores.factor * factors[0] * factors[1]))
            options = AttentionOptions(heads, scale, computing)
            return last, _rewritten(net, options, tensors, scores.mask, last, shape, behind * factors[2])
    return None


def _rewritten(
    net: Net, options: AttentionOptions, inputs: tuple[int, ...], mask: int, last: Any, shape: Shape, factor: float
) -> list[Any]:
    made = []
    operands = []
    for tensor in inputs:
        if net.shape(tensor) != shape:
            rows = net.add_tensor(f"{net.name(tensor)}_rows", shape)
            made.append(net.reshape(tensor, rows))
            tensor = rows
        operands.append(tensor)
    out = last.outputs[0]
    target = out if net.shape(out) == shape else net.add_tensor(f"{net.name(out)}_rows", shape)
    if factor != 1:
        product = target
        target = net.add_tensor(f"{net.name(out)}_context", shape)
    made.append(net.make_custom(options, [*operands, *([mask] if mask >= 0 else [])], [target]))
    if factor != 1:
        constant = net.add_constant(f"{net.name(out)}_factor", np.array(factor, np.float32))
        made.append(net.make("MUL", [target, constant], [product], options=schema.MulOptionsT()))
        target = product
    if target != out:
        made.append(net.reshape(target, out))
    return made


def _scores(net: Net, softmax: Any) -> _Scores | None:
    """Follows the scores from the softmax back to their product."""
    tensor, mask, turned = softmax.inputs[0], -1, False
    factor = float(option(softmax, "beta"))
    shape = net.shape(tensor)
    while (made := net.producer(tensor)) is not None:
        kind = net.kind(made)
        if kind == "BATCH_MATMUL":
            first_turned, second_turned = bool(option(made, "adjX")), not option(made, "adjY")
            first, second = made.inputs
            if turned:
                return _Scores(second, first, second_turned, first_turned, factor, mask, shape)
            return _Scores(first, second, first_turned, second_turned, factor, mask, shape)
        scaled = _scaling(net, made)
        if scaled is not None:
            tensor, factor = scaled[0], factor * scaled[1]
        elif kind == "ADD" and mask < 0 and not turned and factor == 1 and not _fused(made):
            scores, mask = made.inputs
            if net.shape(scores) != net.shape(tensor):
                scores, mask = mask, scores
            tensor, shape = scores, net.shape(scores)
        elif kind == "TRANSPOSE":
            order = net.constant(made.inputs[1])
            rank = len(net.shape(tensor))
            if order is None or order.ravel().tolist() != [*range(rank - 2), rank - 1, rank - 2]:
                return None
            tensor, turned = made.inputs[0], not turned
        elif kind == "RESHAPE" and net.shape(made.inputs[0])[-2:] == net.shape(tensor)[-2:]:
            tensor = made.inputs[0]
        else:
            return None
    return None


def _masks(net: Net, scores: _Scores, batch: int, heads: int) -> bool:
    """Tells whether the mask is the same for all heads and queries of an example."""
    if scores.mask < 0:
        return True
    keys = scores.shape[-1]
    mask = _fixed(net.shape(scores.mask))
    if net.type(scores.mask) != "float32" or mask is None or mask[-1:] != (keys,):
        return False
    if math.prod(mask) == keys:
        return True
    split = _fixed(scores.shape) == (batch, heads, keys, keys)
    return split and mask == (batch, 1, 1, keys)


def _sources(net: Net, tensor: int, turned: bool, rows: int, tokens: int) -> dict[int, tuple[int, float]]:
    """Returns, by the number of heads, tensors (batch · tokens, width) that an operand of a product is cut from.

    Args:
        net: that it is in.
        tensor: the operand, (rows, tokens, width of a head) or `turned` (rows, width of a head, tokens).
        turned: see there.
        rows: examples times heads.
        tokens: of the operand.

    Returns:
        With each tensor the number that it is multiplied by on the way.
    """
    whole = _fixed(net.shape(tensor))
    found: dict[int, tuple[int, float]] = {}
    if whole is None or math.prod(whole) > _MOST_ELEMENTS:
        return found
    factor = 1.0
    way: list[Any] = []
    while True:
        shape = _fixed(net.shape(tensor))
        if shape is None or math.prod(shape) != math.prod(whole):
            return found
        width = math.prod(whole) // (rows * tokens)
        heads = shape[-1] // width if shape and width else 0
        if heads and shape[-1] == heads * width and rows % heads == 0 and heads not in found:
            order = np.arange(math.prod(shape)).reshape(shape)
            for step in reversed(way):
                order = _applied(net, step, order)
            if np.array_equal(order.ravel(), _cut(rows // heads, heads, tokens, width, turned).ravel()):
                found[heads] = tensor, factor
        made = net.producer(tensor)
        scaled = None if made is None else _scaling(net, made)
        if scaled is not None:
            tensor, factor = scaled[0], factor * scaled[1]
        elif made is not None and _moves(net, made):
            way.append(made)
            tensor = made.inputs[0]
        else:
            return found


def _results(net: Net, context: Any, rows: int, tokens: int) -> dict[int, tuple[Any, float]]:
    """Returns, by the number of heads, the operator behind which the context is (batch · tokens, width) again.

    With each comes the number that the context is multiplied by on the way.
    """
    found: dict[int, tuple[Any, float]] = {}
    shape = _fixed(net.shape(context.outputs[0]))
    if shape is None or math.prod(shape) > _MOST_ELEMENTS or math.prod(shape) % (rows * tokens):
        return found
    width = math.prod(shape) // (rows * tokens)
    order = np.arange(math.prod(shape)).reshape(shape)
    last, factor = context, 1.0
    while True:
        end = order.shape[-1]
        heads = end // width if width else 0
        if heads and end == heads * width and rows % heads == 0 and heads not in found:
            wanted = np.empty(order.size, np.int64)
            wanted[_cut(rows // heads, heads, tokens, width, False).ravel()] = np.arange(order.size)
            if np.array_equal(order.ravel(), wanted):
                found[heads] = last, factor
        following = net.only_consumer(last.outputs[0])
        scaled = None if following is None else _scaling(net, following)
        if scaled is not None:
            factor *= scaled[1]
        elif following is not None and _moves(net, following):
            order = _applied(net, following, order)
        else:
            return found
        last = following


def _cut(batch: int, heads: int, tokens: int, width: int, turned: bool) -> Order:
    """Returns where in (batch, tokens, heads · width) each element of (batch, heads, tokens, width) comes from."""
    elements = np.arange(batch * tokens * heads * width).reshape(batch, tokens, heads, width)
    return elements.transpose(0, 2, 3, 1) if turned else elements.transpose(0, 2, 1, 3)


def _moves(net: Net, operator: Any) -> bool:
    """Tells whether an operator only moves elements, in a way that is known."""
    if net.kind(operator) == "TRANSPOSE":
        return net.constant(operator.inputs[1]) is not None
    return net.kind(operator) == "RESHAPE" and _fixed(net.shape(operator.outputs[0])) is not None


def _applied(net: Net, operator: Any, order: Order) -> Order:
    if net.kind(operator) == "TRANSPOSE":
        axes = net.constant(operator.inputs[1])
        assert axes is not None
        return order.transpose(axes.ravel().tolist())
    return order.reshape(_fixed(net.shape(operator.outputs[0])) or ())


def _scaling(net: Net, operator: Any) -> tuple[int, float] | None:
    """Returns what an operator multiplies by a number, and the number."""
    if net.kind(operator) not in ("MUL", "DIV") or _fused(operator):
        return None
    first, second = operator.inputs
    number = net.scalar(second)
    if net.kind(operator) == "DIV":
        return None if not number or net.scalar(first) is not None else (first, 1 / number)
    if number is None:
        first, number = second, net.scalar(first)
    same = number is not None and net.shape(first) == net.shape(operator.outputs[0])
    return (first, number) if same and number is not None else None


def _fixed(shape: Shape) -> Shape | None:
    """Returns a shape with a number for a free batch; None if something else is free."""
    if -1 in shape[1:] or 0 in shape:
        return None
    return (_ANY_BATCH, *shape[1:]) if shape[:1] == (-1,) else shape


def _fused(operator: Any) -> bool:
    return bool(option(operator, "fusedActivationFunction"))
