"""Packing a stock `.tflite`: its clustered weights as indices, and our operators around them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from tfcompress.errors import UserError
from tfcompress.packed import file_weights, finish
from tfcompress.packed.attention import find_attentions
from tfcompress.packed.codebook import count_distinct
from tfcompress.packed.dense import Left, Packer, take_biases
from tfcompress.packed.float_activations import has_quantized_activations, make_float
from tfcompress.packed.fusion import fuse_activations, fuse_residuals, merge_neighbours, sink_reshapes
from tfcompress.packed.layer_norm import find_norms
from tfcompress.packed.net import Net, is_packed
from tfcompress.packed.options import (
    ATTENTION,
    DENSE,
    FLOAT32,
    INT8,
    NORM,
    TABLE,
    Activations,
    DenseOptions,
    read_options,
)
from tfcompress.tflite import writing
from tfcompress.tflite.attached import with_files_of
from tfcompress.tflite.damage import rewriting_carefully


@dataclass(frozen=True, eq=False)
class Packed:
    """A packed file and what was done.

    Attributes:
        content: of the file.
        dense: dense layers that were packed; attention's query, key and value are three.
        attentions: that became one operator each.
        norms: LayerNorms that became one operator each.
        tables: token tables that were packed.
        left: weights of dense layers and tables that were not, and why.
    """

    content: bytes
    dense: int
    attentions: int
    norms: int
    tables: int
    left: tuple[Left, ...]


def pack(content: bytes, activations: Activations | None = None) -> bytes:
    """Returns a stock file as a packed one; see `pack_counted`."""
    return pack_counted(content, activations).content


def pack_counted(content: bytes, activations: Activations | None = None) -> Packed:
    """Packs a stock file whose dense layers have at most 256 distinct weights each.

    Operators that are not recognised stay as they are. Of a file with quantized activations the weights are kept, and
    activations become float32, or are quantized row by row at run time.

    Args:
        content: of a `.tflite`.
        activations: what dense layers and attention compute in; by default int8 where weights are int8.

    Raises:
        UserError: the file is none, packed already or garbled, holds nothing to pack, or has quantized activations
            in an operator that has no float32 form.
    """
    model = writing.read(content)
    if is_packed(model):
        raise UserError("the file is packed already; `tfcompress unpack` gives the stock file back")
    with rewriting_carefully("the file"):
        return _packed(content, model, activations)


def _packed(content: bytes, model: Any, activations: Activations | None) -> Packed:
    computing = None if activations is None else {"float32": FLOAT32, "int8": INT8}[activations]
    nets = [Net(model, graph) for graph in model.subgraphs]
    counts: Counter[str] = Counter()
    left: list[Left] = []
    for net in nets:
        if has_quantized_activations(net):
            make_float(net)
        take_biases(net)
        packer = Packer(net, computing)
        net.replace(packer.dense_layers())
        net.replace(packer.tables())
        left += packer.left
    if not any(net.kind(operator) in (DENSE, TABLE) for net in nets for operator in net.operators):
        raise UserError(f"there is nothing to pack: {_why_nothing(content, left)}")
    for net in nets:
        _fuse(net, _attention_computing(net) if computing is None else computing)
        counts.update(net.kind(operator) for operator in net.operators)
    dense = sum(_segments(net, operator) for net in nets for operator in net.operators)
    written = with_files_of(content, finish.finish(nets, packed=True))
    return Packed(written, dense, counts[ATTENTION], counts[NORM], counts[TABLE], tuple(left))


def _fuse(net: Net, attention: int) -> None:
    net.replace(find_attentions(net, attention))
    net.drop_unused()
    net.replace((root, [norm]) for root, norm in find_norms(net))
    sink_reshapes(net)
    fuse_activations(net)
    fuse_residuals(net)
    merge_neighbours(net)


def _attention_computing(net: Net) -> int:
    """Returns what attention computes in by default: int8 where a dense layer does."""
    dense = [read_options(DENSE, bytes(one.customOptions)) for one in net.operators if net.kind(one) == DENSE]
    return max((one.computing for one in dense if isinstance(one, DenseOptions)), default=FLOAT32)


def _segments(net: Net, operator: Any) -> int:
    options = read_options(DENSE, bytes(operator.customOptions)) if net.kind(operator) == DENSE else None
    return options.segments if isinstance(options, DenseOptions) else 0


def _why_nothing(content: bytes, left: list[Left]) -> str:
    weights = [one for one in file_weights.weights(content) if one.values.ndim == 2]
    if not weights:
        return "the file has no dense layers or token tables with constant float32, float16 or int8 weights"
    largest = max(weights, key=lambda one: one.values.size)
    distinct = f"it has {count_distinct(largest.values):,} distinct values"
    reason = next((one.reason for one in left if one.name == largest.name), distinct)
    return f"{largest.name}: {distinct if 'more than' in reason else reason}; cluster the model first"
