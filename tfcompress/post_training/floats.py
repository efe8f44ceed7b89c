"""Checks that a file computes in float32, and turns weights that it stores in fewer bits into float32."""

from __future__ import annotations

import warnings

import numpy as np

from tfcompress.errors import UserError
from tfcompress.packed.float_activations import has_quantized_activations
from tfcompress.packed.options import is_packed
from tfcompress.tflite.graph import Graph, Model, Operator
from tfcompress.tflite.tensor import Array, Buffer, Tensor, constant

_STATE = ("ASSIGN_VARIABLE", "CALL", "CALL_ONCE", "HASHTABLE", "IF", "VAR_HANDLE", "WHILE")
_ADVICE = "cluster the float model that it was made from"


def check_float(model: Model) -> None:
    """Checks that nothing in a file computes with integers in place of real numbers.

    Raises:
        UserError: an operator has integer activations, or reads integer weights; or the file is packed.
    """
    if is_packed(model):
        raise UserError("the file is packed; `tfcompress unpack` restores the stock file, which can be clustered")
    for graph in model.graphs:
        if has_quantized_activations(graph):
            raise UserError(f"the file computes with integer activations; {_ADVICE}")
        for operator in graph.operators:
            for tensor in operator.inputs:
                coded = len(tensor.scales) or tensor.scale_tensors
                if len(tensor.data) and coded and operator.kind not in ("DEQUANTIZE", "GATHER"):
                    raise UserError(
                        f"{operator.kind} reads the {tensor.dtype} weights {tensor.name} and computes with integers; "
                        f"{_ADVICE}"
                    )


def check_straight(model: Model) -> None:
    """Checks that a file can be run piece by piece.

    Raises:
        UserError: it has several graphs, as control flow and several signatures need, or keeps a state.
    """
    kinds = sorted({one.kind for one in model.operators() if one.kind in _STATE})
    if len(model.graphs) > 1 or kinds:
        what = f"the operators {', '.join(kinds)}" if kinds else f"{len(model.graphs)} graphs"
        raise UserError(
            f"the file has {what}, and only one graph without control flow and state can be calibrated; leave out the "
            "calibration data"
        )


def unpack_weights(model: Model) -> None:
    """Turns constants that a DEQUANTIZE unpacks into float32 constants, with a warning that names their types."""
    types = {kind for graph in model.graphs for kind in _unpack(graph)}
    if types:
        used = {tensor.buffer for graph in model.graphs for tensor in graph.tensors if graph.consumers(tensor)}
        for tensor in (tensor for graph in model.graphs for tensor in graph.tensors):
            if tensor.dtype in types and tensor.buffer is not None and tensor.buffer not in used:
                tensor.buffer.data = None
        warnings.warn(
            f"the file stores weights as {' and '.join(sorted(types))}, so their rounding stays; cluster the float32 "
            "model if you have it",
            UserWarning,
            stacklevel=2,
        )


def _unpack(graph: Graph) -> set[str]:
    """Turns the dequantized constants of a graph into float32, and returns the types that they had."""
    found = set()
    removed: list[tuple[Operator, list[Operator]]] = []
    for operator in graph.operators:
        if operator.kind != "DEQUANTIZE":
            continue
        coded, out = operator.inputs[0], operator.outputs[0]
        lookup = graph.producer(coded, "GATHER")
        table = coded if lookup is None else lookup.inputs[0]
        values = _dequantized(table)
        kept = out in graph.outputs if lookup is None else graph.only_consumer(coded) is None
        if values is None or kept:
            continue
        if lookup is None:
            out.buffer = Buffer(values.reshape(-1).view(np.uint8))
        else:
            lookup.inputs = (constant(table.name, values), *lookup.inputs[1:])
            lookup.outputs = (out,)
        removed.append((operator, []))
        found.add(table.dtype)
    graph.replace(removed)
    return found


def _dequantized(tensor: Tensor) -> Array | None:
    """Returns the float32 numbers of a float16 or quantized constant; None for another tensor."""
    values = tensor.numbers()
    if values is None or (values.dtype != np.float16 and not len(tensor.scales)):
        return None
    numbers = values.astype(np.float32)
    if values.dtype == np.float16:
        return numbers
    shape = [1] * numbers.ndim
    if len(tensor.scales) > 1:
        shape[tensor.axis] = len(tensor.scales)
    return (numbers - tensor.zero_points.reshape(shape).astype(np.float32)) * tensor.scales.reshape(shape)
