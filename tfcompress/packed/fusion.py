"""Dense layers and norms without reshapes between them, and with their activations, residuals and neighbours inside.

Our operators take rows of any number of axes, so a RESHAPE that only splits or joins these moves behind them, until it
meets another one or what needs it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tfcompress.packed.net import Net, Shape, option
from tfcompress.packed.options import (
    DENSE,
    DENSE_CONSTANTS,
    GELU,
    GELU_TANH,
    MOST_SEGMENTS,
    NONE,
    NORM,
    RELU,
    TANH,
    DenseOptions,
    read_options,
)

_ROW_BY_ROW = (DENSE, NORM, "GELU", "RELU", "TANH")
_ACTIVATIONS = {"RELU": RELU, "TANH": TANH}


def sink_reshapes(net: Net) -> None:
    """Moves reshapes behind what treats row by row, and drops those that do nothing then."""
    moved = True
    while moved:
        moved = False
        for operator in list(net.operators):
            kind = net.kind(operator)
            if kind == "RESHAPE":
                moved |= _shortened(net, operator)
            elif kind in _ROW_BY_ROW:
                moved |= _sunk(net, operator)
            elif kind == "ADD":
                moved |= _added(net, operator)
        net.drop_unused()


def _reshaped(net: Net, tensor: int) -> int:
    """Returns what a tensor was before a RESHAPE made it; -1 if none did."""
    maker = net.producer(tensor)
    return maker.inputs[0] if net.kind(maker) == "RESHAPE" else -1


def _shortened(net: Net, operator: Any) -> bool:
    """Joins a RESHAPE with one before it, or drops one that changes nothing."""
    source, out = operator.inputs[0], operator.outputs[0]
    if (before := _reshaped(net, source)) >= 0:
        operator.inputs[0] = before
        net.changed()
        return True
    if not _same(net.shape(source), net.shape(out)):
        return False
    if out not in net.graph.outputs:
        if not net.consumers(out):
            return False
        net.read_instead({out: source})
        return True
    maker = net.producer(source)
    if maker is None or source in net.graph.outputs or net.constant(source) is not None:
        return False
    maker.outputs = [out if tensor == source else tensor for tensor in maker.outputs]
    net.replace([(operator, [])])
    net.read_instead({source: out})
    return True


def _sunk(net: Net, operator: Any) -> bool:
    """Moves a RESHAPE from before an operator behind it."""
    x, out = operator.inputs[0], operator.outputs[0]
    source = _reshaped(net, x)
    if source < 0 or len(operator.outputs) != 1:
        return False
    shape, taken = net.shape(source), net.shape(x)
    width = _options(operator).inputs if net.kind(operator) == DENSE else taken[-1] if taken else -1
    if not shape or shape[-1] != width or net.shape(out).count(-1) > 1:
        return False
    operator.inputs[0] = source
    _give_rows(net, operator, (*shape[:-1], net.shape(out)[-1]))
    return True


def _added(net: Net, operator: Any) -> bool:
    """Lets an ADD read what a RESHAPE only gave another number of axes."""
    out = net.shape(operator.outputs[0])
    sources = [_reshaped(net, tensor) for tensor in operator.inputs]
    shapes = [net.shape(source) if source >= 0 else () for source in sources]
    moved = False
    for place, (source, shape) in enumerate(zip(sources, shapes, strict=True)):
        elements = net.shape(operator.inputs[place])
        if source >= 0 and shape == out and -1 not in (*out, *elements) and np.prod(elements) == np.prod(out):
            operator.inputs[place] = source
            moved = True
    if not moved and sources[0] >= 0 and shapes[0] == shapes[1] and shapes[0].count(-1) <= 1:
        equal = net.shape(operator.inputs[0]) == net.shape(operator.inputs[1]) == out
        if equal and out.count(-1) <= 1 and shapes[0][-1:] == out[-1:]:
            operator.inputs = sources
            _give_rows(net, operator, shapes[0])
            moved = True
    if moved:
        net.changed()
    return moved


def _give_rows(net: Net, operator: Any, shape: Shape) -> None:
    """Makes an operator give its output in another shape, with a RESHAPE behind it to the one it had."""
    out = operator.outputs[0]
    rows = net.add_tensor(f"{net.name(out)}_rows", shape)
    operator.outputs = [rows]
    net.replace([(operator, [operator, net.reshape(rows, out)])])


def _same(shape: Shape, other: Shape) -> bool:
    """Tells whether a RESHAPE from one to the other changes nothing: at most one length is not known."""
    return shape == other and shape.count(-1) <= 1


def _options(operator: Any) -> DenseOptions:
    options = read_options(DENSE, bytes(operator.customOptions))
    assert isinstance(options, DenseOptions)
    return options


def _set_options(operator: Any, options: DenseOptions) -> None:
    operator.customOptions = np.frombuffer(options.pack(), np.uint8)


def fuse_activations(net: Net) -> None:
    """Takes GELU, RELU and TANH into the dense layers before them."""
    replacements: list[tuple[Any, list[Any]]] = []
    for operator in net.operators:
        kind = net.kind(operator)
        if kind not in ("GELU", "RELU", "TANH"):
            continue
        dense = net.producer(operator.inputs[0])
        if net.kind(dense) != DENSE or net.only_consumer(operator.inputs[0]) is None:
            continue
        if _options(dense).activation == NONE:
            gelu = GELU_TANH if kind == "GELU" and option(operator, "approximate") else GELU
            _set_options(dense, replace(_options(dense), activation=_ACTIVATIONS.get(kind, gelu)))
            dense.outputs = list(operator.outputs)
            replacements.append((operator, []))
    net.replace(replacements)


def fuse_residuals(net: Net) -> None:
    """Takes an ADD of an equally large tensor into the dense layer before it."""
    order = {id(operator): place for place, operator in enumerate(net.operators)}
    replacements: list[tuple[Any, list[Any]]] = []
    for operator in net.operators:
        if net.kind(operator) != "ADD" or option(operator, "fusedActivationFunction"):
            continue
        shape = net.shape(operator.outputs[0])
        pairs = [(operator.inputs[0], operator.inputs[1]), (operator.inputs[1], operator.inputs[0])]
        found = [(net.producer(one), other) for one, other in pairs if _takes(net, one, other, shape)]
        if found:
            dense, other = max(found, key=lambda pair: order[id(pair[0])])
            fused = net.make_custom(replace(_options(dense), residual=1), [*dense.inputs, other], operator.outputs)
            replacements += [(dense, []), (operator, [fused])]
    net.replace(replacements)


def _takes(net: Net, given: int, other: int, shape: Shape) -> bool:
    dense = net.producer(given)
    if net.kind(dense) != DENSE or given == other or net.only_consumer(given) is None:
        return False
    return not _options(dense).residual and net.shape(given) == net.shape(other) == shape


def merge_neighbours(net: Net) -> None:
    """Makes one operator of dense layers of one shape that read the same tensor, such as query, key and value."""
    groups: dict[tuple[int, DenseOptions], list[Any]] = {}
    for operator in net.operators:
        if net.kind(operator) == DENSE and not _options(operator).residual:
            groups.setdefault((operator.inputs[0], _options(operator)), []).append(operator)
    replacements: list[tuple[Any, list[Any]]] = []
    for (x, options), members in groups.items():
        for start in range(0, len(members), MOST_SEGMENTS):
            some = members[start : start + MOST_SEGMENTS]
            constants = [tensor for one in some for tensor in one.inputs[1 : 1 + DENSE_CONSTANTS]]
            outputs = [one.outputs[0] for one in some]
            merged = net.make_custom(replace(options, segments=len(some)), [x, *constants], outputs)
            replacements += [(some[0], [merged]), *((one, []) for one in some[1:])]
    net.replace(replacements)
