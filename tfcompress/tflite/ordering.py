"""Puts the parts of a changed model into a canonical order before it is written."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import chain

from tfcompress.tflite.graph import Graph, Metadata, Model, OperatorCode, Signature
from tfcompress.tflite.tensor import ABSENT, Buffer, Tensor


def order_by_use(model: Model) -> None:
    """Sorts tensors, kinds of operators and buffers by where they are first used, and drops unused ones.

    Constants of several graphs that have equal bytes share one buffer afterwards.

    The order depends only on the graphs, so a file that is unpacked and packed again has the same bytes.
    """
    for graph in model.graphs:
        graph.drop_unused()
        graph.tensors = _used_tensors(graph, [signature for signature in model.signatures if signature.graph is graph])
    _share_equal_data(model.graphs)
    codes: dict[tuple[str, int, bool], OperatorCode] = {}
    for operator in model.operators():
        operator.code = codes.setdefault(operator.code.key, operator.code)
    model.codes = list(codes.values())
    owners: Sequence[Tensor | Metadata] = [*chain(*(graph.tensors for graph in model.graphs)), *model.metadata]
    used = (owner.buffer for owner in owners if owner.buffer is not None)
    model.buffers = list(dict.fromkeys((model.buffers[0], *used)))
    model.metadata_buffer = None  # Its indices are now wrong, and `metadata` supersedes it.


def _share_equal_data(graphs: Sequence[Graph]) -> None:
    """Makes equal constants of different graphs share one buffer; those of one graph stay apart."""
    known: dict[tuple[bytes, int], Buffer] = {}
    for graph in graphs if len(graphs) > 1 else ():
        counts: Counter[bytes] = Counter()
        shared: dict[Buffer, Buffer] = {}
        for tensor in graph.tensors:
            if tensor.buffer is None or not len(tensor.data):
                continue
            if tensor.buffer not in shared:
                digest = hashlib.sha256(tensor.data.tobytes()).digest()
                shared[tensor.buffer] = known.setdefault((digest, counts[digest]), tensor.buffer)
                counts[digest] += 1
            tensor.buffer = shared[tensor.buffer]


def _used_tensors(graph: Graph, signatures: Sequence[Signature]) -> list[Tensor]:
    """Returns the tensors of a graph in the order of their first use, followed by those that hold scales."""
    used = [*graph.inputs]
    for operator in graph.operators:
        used += [*operator.inputs, *operator.outputs, *(operator.intermediates or ())]
    used += graph.outputs
    for signature in signatures:
        used += [*signature.inputs.values(), *signature.outputs.values()]
    order = dict.fromkeys(tensor for tensor in used if tensor is not ABSENT)
    for tensor in list(order):
        order |= dict.fromkeys(tensor.scale_tensors.values())
    return list(order)
