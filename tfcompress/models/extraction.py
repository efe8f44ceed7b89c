"""Cuts a part out of a traced model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.python.framework.func_graph import FuncGraph

from tfcompress.models.expand import Call, Trace
from tfcompress.models.probing import Probe


def extracted(probe: Probe, given: Sequence[tf.Tensor], wanted: Sequence[tf.Tensor]) -> Trace:
    """Returns a trace of its own of what computes some tensors from others.

    Args:
        probe: of the whole trace.
        given: tensors with a batch axis, which become inputs.
        wanted: the outputs.
    """
    whole = probe.trace
    operations = _between(wanted, {tensor.name for tensor in given})
    kept = {operation.name for operation in operations}
    read = {tensor.name for operation in operations for tensor in operation.inputs}
    part = Trace(FuncGraph(whole.graph.name))
    replaced: dict[str, tf.Tensor] = {}
    with part.graph.as_default():
        for i, tensor in enumerate(given):
            name, shape = f"given_{i}", (None, *probe.shape(tensor)[1:])
            part.inputs[name] = replaced[tensor.name] = tf.compat.v1.placeholder(tensor.dtype, shape, name)
        used = {name: placeholder for name, placeholder in replaced.items() if name in read}
        tf.import_graph_def(_definition(operations), input_map=used, name="")

    def own(x: Any) -> Any:
        if not tf.is_tensor(x):
            return x
        return replaced[x.name] if x.name in replaced else part.graph.get_tensor_by_name(x.name)

    for outer, inner in whole.graph.captures:
        if inner.op.name in kept:
            part.graph.add_capture(outer, own(inner))
    for call in whole.calls:
        if all(x.op.name in kept for x in call.outputs) and not any(x.name in replaced for x in call.outputs):
            part.calls.append(_moved(call, own))
    part.made_by = {tensor.name: call for call in part.calls for tensor in call.outputs}
    part.outputs = [own(tensor) for tensor in wanted]
    part.paths = {name: path for name, path in whole.paths.items() if name in kept}
    return part


def _between(wanted: Sequence[tf.Tensor], given: set[str]) -> list[tf.Operation]:
    """Returns the operations that compute tensors from given ones, in the order of the graph."""
    pending, found = list(wanted), dict[str, tf.Operation]()
    while pending:
        tensor = pending.pop()
        if tensor.name not in given and tensor.op.name not in found:
            found[tensor.op.name] = tensor.op
            pending += tensor.op.inputs
    return list(found.values())


def _definition(operations: Sequence[tf.Operation]) -> graph_pb2.GraphDef:
    """Returns operations as a graph, without those that must only run before them, such as checks."""
    graph = operations[0].graph if operations else None
    definition = graph_pb2.GraphDef()
    if graph is None:
        return definition
    definition.versions.CopyFrom(graph.graph_def_versions)
    for operation in operations:
        node = operation.node_def
        inputs = [name for name in node.input if not name.startswith("^")]
        del node.input[:]
        node.input.extend(inputs)
        definition.node.append(node)
    if any(attribute.type in ("func", "list(func)") for x in operations for attribute in x.op_def.attr):
        definition.library.CopyFrom(graph.as_graph_def().library)
    return definition


def _moved(call: Call, own: Callable[[Any], Any]) -> Call:
    """Returns a call with the tensors of another graph."""
    moved = {
        name: tf.nest.map_structure(own, getattr(call, name)) for name in ("arguments", "masks", "outputs", "structure")
    }
    return dataclasses.replace(call, **moved)
