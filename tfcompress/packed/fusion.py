"""Removes reshapes between packed dense layers and LayerNorms, and fuses operators into the dense layers.

The custom operators take rows with any number of axes. A RESHAPE that only splits or joins those axes therefore moves
after them, until it meets another RESHAPE or an operator that needs it. Dense layers take in the activations and
residuals that follow them, and merge with neighbours that read the same tensor.
"""

from __future__ import annotations

import math
from dataclasses import replace

from tfcompress.packed.options import (
    DENSE,
    DENSE_CONSTANTS,
    LAYER_NORM,
    MAX_SEGMENTS,
    Activation,
    DenseOptions,
    read_options,
)
from tfcompress.tflite.graph import Graph, Operator, custom_operator, reshape
from tfcompress.tflite.tensor import Shape, Tensor, computed

Replacements = list[tuple[Operator, list[Operator]]]

_ROW_BY_ROW = (DENSE, LAYER_NORM, "GELU", "RELU", "TANH")
_ACTIVATIONS = {"RELU": Activation.RELU, "TANH": Activation.TANH}


def sink_reshapes(graph: Graph) -> None:
    """Moves each RESHAPE after operators that treat rows independently, and drops those that then do nothing."""
    moved = True
    while moved:
        moved = False
        for operator in graph.operators:
            if operator.graph is not graph:  # It was dropped earlier in this pass.
                continue
            if operator.kind == "RESHAPE":
                moved |= _shorten(graph, operator)
            elif operator.kind in _ROW_BY_ROW:
                moved |= _sink(graph, operator)
            elif operator.kind == "ADD":
                moved |= _sink_addends(graph, operator)
        graph.drop_unused()


def _before_reshape(graph: Graph, tensor: Tensor) -> Tensor | None:
    """Returns the input of the RESHAPE that computes a tensor; None if another operator computes it."""
    made = graph.producer(tensor, "RESHAPE")
    return made.inputs[0] if made is not None else None


def _shorten(graph: Graph, operator: Operator) -> bool:
    """Merges a RESHAPE with one before it, or drops it if it changes nothing. Returns whether it did."""
    source, out = operator.inputs[0], operator.outputs[0]
    if (before := _before_reshape(graph, source)) is not None:
        operator.replace_input(0, before)
        return True
    if not _same(source.free_shape, out.free_shape):
        return False
    if out not in graph.outputs:
        if not graph.consumers(out):
            return False
        graph.redirect_readers(out, source)
        return True
    maker = graph.producer(source)
    if maker is None or source in graph.outputs or graph.numbers(source) is not None:
        return False
    maker.outputs = tuple(out if tensor is source else tensor for tensor in maker.outputs)
    graph.replace([(operator, [])])
    graph.redirect_readers(source, out)
    return True


def _sink(graph: Graph, operator: Operator) -> bool:
    """Moves a RESHAPE from before an operator to after it. Returns whether it did."""
    x, out = operator.inputs[0], operator.outputs[0]
    source = _before_reshape(graph, x)
    if source is None or len(operator.outputs) != 1:
        return False
    shape, taken = source.free_shape, x.free_shape
    width = dense_options(operator).inputs if operator.kind == DENSE else taken[-1] if taken else -1
    if not shape or shape[-1] != width or out.free_shape.count(-1) > 1:
        return False
    operator.replace_input(0, source)
    _change_shape(graph, operator, (*shape[:-1], out.free_shape[-1]))
    return True


def _sink_addends(graph: Graph, operator: Operator) -> bool:
    """Makes an ADD read the inputs of reshapes that only change the number of axes. Returns whether it did."""
    out = operator.outputs[0].free_shape
    sources = [_before_reshape(graph, tensor) for tensor in operator.inputs]
    shapes = [source.free_shape if source is not None else () for source in sources]
    moved = False
    for place, (source, shape) in enumerate(zip(sources, shapes, strict=True)):
        given = operator.inputs[place].free_shape
        same_size = -1 not in (*out, *given) and math.prod(given) == math.prod(out)
        if source is not None and shape == out and same_size:
            operator.replace_input(place, source)
            moved = True
    first, second = sources if len(sources) == 2 else (None, None)
    if not moved and first is not None and second is not None and shapes[0] == shapes[1] and shapes[0].count(-1) <= 1:
        equal = operator.inputs[0].free_shape == operator.inputs[1].free_shape == out
        if equal and out.count(-1) <= 1 and shapes[0][-1:] == out[-1:]:
            operator.inputs = (first, second)
            _change_shape(graph, operator, shapes[0])
            moved = True
    return moved


def _change_shape(graph: Graph, operator: Operator, shape: Shape) -> None:
    """Changes the shape of an operator's output, and adds a RESHAPE to its former shape."""
    out = operator.outputs[0]
    rows = computed(f"{out.name}_rows", shape)
    operator.outputs = (rows,)
    graph.replace([(operator, [operator, reshape(rows, out)])])


def _same(shape: Shape, other: Shape) -> bool:
    """Returns whether a RESHAPE from one shape to the other changes nothing, even if one length is free."""
    return shape == other and shape.count(-1) <= 1


def dense_options(operator: Operator) -> DenseOptions:
    """Returns the options of a packed dense layer."""
    options = read_options(DENSE, operator.custom_options)
    assert isinstance(options, DenseOptions)
    return options


def fuse_activations(graph: Graph) -> None:
    """Fuses GELU, RELU and TANH into the dense layers before them."""
    replacements: Replacements = []
    for operator in graph.operators:
        if operator.kind not in ("GELU", "RELU", "TANH"):
            continue
        dense = graph.producer(operator.inputs[0], DENSE)
        if dense is None or graph.only_consumer(operator.inputs[0]) is None:
            continue
        options = dense_options(dense)
        if options.activation == Activation.NONE:
            gelu = Activation.GELU_TANH if operator.option("approximate") else Activation.GELU
            options = replace(options, activation=_ACTIVATIONS.get(operator.kind, gelu))
            dense.custom_options, dense.outputs = options.pack(), operator.outputs
            replacements.append((operator, []))
    graph.replace(replacements)


def fuse_residuals(graph: Graph) -> None:
    """Fuses an ADD of two tensors with the same shape into the dense layer that computes one of them."""
    order = {operator: place for place, operator in enumerate(graph.operators)}
    replacements: Replacements = []
    for operator in graph.operators:
        if operator.kind != "ADD" or operator.option("fusedActivationFunction"):
            continue
        shape = operator.outputs[0].free_shape
        pairs = [(operator.inputs[0], operator.inputs[1]), (operator.inputs[1], operator.inputs[0])]
        found = [(dense, other) for one, other in pairs if (dense := _takes_residual(graph, one, other, shape))]
        if found:
            dense, other = max(found, key=lambda pair: order[pair[0]])
            options = replace(dense_options(dense), residual=1)
            fused = custom_operator(DENSE, [*dense.inputs, other], operator.outputs, options.pack())
            replacements += [(dense, []), (operator, [fused])]
    graph.replace(replacements)


def _takes_residual(graph: Graph, given: Tensor, other: Tensor, shape: Shape) -> Operator | None:
    """Returns the dense layer that computes `given` if `other` can be its residual, else None."""
    dense = graph.producer(given, DENSE)
    if dense is None or given is other or graph.only_consumer(given) is None or dense_options(dense).residual:
        return None
    return dense if given.free_shape == other.free_shape == shape else None


def merge_neighbours(graph: Graph) -> None:
    """Merges dense layers of one shape that read the same tensor, such as query, key and value, into one operator."""
    groups: dict[tuple[Tensor, DenseOptions], list[Operator]] = {}
    for operator in graph.operators:
        if operator.kind == DENSE and not (options := dense_options(operator)).residual:
            groups.setdefault((operator.inputs[0], options), []).append(operator)
    replacements: Replacements = []
    for (x, options), members in groups.items():
        for start in range(0, len(members), MAX_SEGMENTS):
            some = members[start : start + MAX_SEGMENTS]
            constants = [tensor for one in some for tensor in one.inputs[1 : 1 + DENSE_CONSTANTS]]
            outputs = [one.outputs[0] for one in some]
            merged = custom_operator(DENSE, [x, *constants], outputs, replace(options, segments=len(some)).pack())
            replacements += [(some[0], [merged]), *((one, []) for one in some[1:])]
    graph.replace(replacements)
