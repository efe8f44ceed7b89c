"""Writing a rewritten file: without what nothing uses any more, and the rest in one order.

The order depends on the graph alone, so that a file that is unpacked and packed again has the same bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.packed.net import Net
from tfcompress.packed.options import ENTRY, RUNTIMES, VERSION
from tfcompress.tflite import writing
from tfcompress.tflite.graph import OperatorCode
from tfcompress.tflite.runtimes import state_runtime

_ALIGNMENT = 64  # of packed indices, for vector loads; the format asks for it


def finish(nets: list[Net], packed: bool) -> bytes:
    """Serializes the model of all its nets, marked as packed or not."""
    model = nets[0].model
    _mark(model, packed)
    for index, net in enumerate(nets):
        net.drop_unused()
        signatures = [one for one in model.signatureDefs or [] if one.subgraphIndex == index]
        _order_tensors(net, signatures)
    _order_codes(model, nets)
    state_runtime(model, _kinds(model, nets), at_least_as_before=False, custom=RUNTIMES)
    _order_buffers(model)
    return writing.write(model, _ALIGNMENT)


def _mark(model: Any, packed: bool) -> None:
    model.metadata = [entry for entry in model.metadata or [] if entry.name != ENTRY.encode()]
    if packed:
        model.metadata.append(schema.MetadataT(ENTRY.encode(), len(model.buffers)))
        model.buffers.append(schema.BufferT(np.frombuffer(str(VERSION).encode(), np.uint8)))


def _order_tensors(net: Net, signatures: list[Any]) -> None:
    """Numbers tensors in the order in which they are used; those that are not are dropped."""
    ends = [end for signature in signatures for end in (*(signature.inputs or []), *(signature.outputs or []))]
    used = [*net.graph.inputs]
    for operator in net.operators:
        used += [*operator.inputs, *operator.outputs, *_extra(operator.intermediates)]
    used += [*net.graph.outputs, *(end.tensorIndex for end in ends)]
    order = dict.fromkeys(tensor for tensor in used if tensor >= 0)
    for tensor in list(order):  # Scales of blocks are tensors, too.
        order |= dict.fromkeys(_scale_tensors(net.graph.tensors[tensor]))
    number = {old: new for new, old in enumerate(order)} | {-1: -1}
    for operator in net.operators:
        operator.inputs = [number[tensor] for tensor in operator.inputs]
        operator.outputs = [number[tensor] for tensor in operator.outputs]
        if operator.intermediates is not None:
            operator.intermediates = [number[tensor] for tensor in _extra(operator.intermediates)]
    for end in ends:
        end.tensorIndex = number[end.tensorIndex]
    net.graph.inputs = [number[tensor] for tensor in net.graph.inputs]
    net.graph.outputs = [number[tensor] for tensor in net.graph.outputs]
    net.graph.tensors = [net.graph.tensors[tensor] for tensor in order]
    for tensor in net.graph.tensors:
        if _scale_tensors(tensor):
            details = tensor.quantization.details
            details.scales, details.zeroPoints = (number.get(one, one) for one in (details.scales, details.zeroPoints))
    net.changed()


def _scale_tensors(tensor: Any) -> list[int]:
    details = None if tensor.quantization is None else tensor.quantization.details
    found = [getattr(details, field, -1) for field in ("scales", "zeroPoints")]
    return [index for index in found if index > 0]


def _extra(tensors: Any) -> list[int]:
    return [] if tensors is None else [int(tensor) for tensor in tensors]


def _order_codes(model: Any, nets: list[Net]) -> None:
    used = dict.fromkeys(operator.opcodeIndex for net in nets for operator in net.operators)
    number = {old: new for new, old in enumerate(used)}
    for net in nets:
        for operator in net.operators:
            operator.opcodeIndex = number[operator.opcodeIndex]
    model.operatorCodes = [model.operatorCodes[old] for old in used]


def _kinds(model: Any, nets: list[Net]) -> list[OperatorCode]:
    kinds = {(net.kind(one), one.opcodeIndex) for net in nets for one in net.operators}
    codes = model.operatorCodes
    return [OperatorCode(kind, codes[code].version, bool(codes[code].customCode)) for kind, code in kinds]


def _order_buffers(model: Any) -> None:
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    used = dict.fromkeys([0, *(owner.buffer for owner in (*tensors, *model.metadata))])
    number = {old: new for new, old in enumerate(used)}
    for owner in (*tensors, *model.metadata):
        owner.buffer = number[owner.buffer]
    model.buffers = [model.buffers[old] for old in used]
    model.metadataBuffer = None  # superseded by `metadata`, and full of numbers that are no longer right
