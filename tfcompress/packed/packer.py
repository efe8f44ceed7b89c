"""Packs a stock `.tflite` file: stores clustered weights as indices, and fuses operators around them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tfcompress.errors import UserError
from tfcompress.packed import file_weights
from tfcompress.packed.attention import find_attentions
from tfcompress.packed.codebook import MAX_CENTROIDS, ScaledCentroids, count_distinct
from tfcompress.packed.dense import SkippedWeights, WeightPacker, absorb_biases
from tfcompress.packed.float_activations import dequantize_activations, has_quantized_activations
from tfcompress.packed.fusion import dense_options, fuse_activations, fuse_residuals, merge_neighbours, sink_reshapes
from tfcompress.packed.layer_norm import find_layer_norms
from tfcompress.packed.options import (
    ALIGNMENT,
    ATTENTION,
    DENSE,
    LAYER_NORM,
    METADATA_ENTRY,
    RUNTIMES,
    TABLE,
    Activations,
    Computing,
    is_packed,
    latest_version,
)
from tfcompress.packed.stock_codebooks import CODEBOOKS_ENTRY, read_codebooks
from tfcompress.tflite.attached import with_attached_files
from tfcompress.tflite.damage import reporting_damage
from tfcompress.tflite.graph import Content, Graph, Metadata, Model
from tfcompress.tflite.ordering import order_by_use
from tfcompress.tflite.reading import read
from tfcompress.tflite.runtimes import state_runtime
from tfcompress.tflite.tensor import Buffer
from tfcompress.tflite.writing import write


@dataclass(frozen=True, eq=False)
class Packed:
    """A packed file, and what was packed in it.

    Attributes:
        content: the bytes of the file.
        dense: the number of dense layers that were packed; attention's query, key and value count as three.
        attentions: the number of attentions that became one operator each.
        layer_norms: the number of LayerNorms that became one operator each.
        tables: the number of embedding tables that were packed.
        skipped: the weights of dense layers and tables that were not packed, and why.
    """

    content: bytes
    dense: int
    attentions: int
    layer_norms: int
    tables: int
    skipped: tuple[SkippedWeights, ...]


def pack(content: bytes, activations: Activations | None = None, allow_larger: bool = False) -> bytes:
    """Packs a stock file; for arguments and errors see `pack_counted`."""
    return pack_counted(content, activations, allow_larger).content


def pack_counted(
    source: Content | Model,
    activations: Activations | None = None,
    allow_larger: bool = False,
) -> Packed:
    """Packs a stock file whose dense layers have at most 256 distinct weights each, or codebooks with scales.

    Those of weights with a scale per row stand in the file's metadata. One that does not give the weights in the file
    is not used.

    Operators that are not recognised stay as they are, and so do weights that would take no fewer bytes. Quantized
    activations become float32 (or int8, quantized row by row at run time), while quantized weights keep their values.

    Args:
        source: the bytes of a `.tflite` file, or what was read from them, which is changed.
        activations: the type that dense layers and attention compute in; by default int8 where weights are int8.
        allow_larger: also pack weights that become larger but need fewer than 8 bits each, and return a file that is
            larger than the source.

    Raises:
        UserError: the file is not a valid `.tflite` file, is already packed, has nothing to pack, would become larger,
            or has quantized activations in an operator without an equivalent float32 form.
    """
    model = source if isinstance(source, Model) else read(source)
    if is_packed(model):
        raise UserError("the file is already packed; `tfcompress unpack` restores the stock file")
    with reporting_damage("the file"):
        packed = _packed(model, activations, allow_larger, read_codebooks(model))
    before, after = len(model.content), len(packed.content)
    if after > before and not allow_larger:
        raise UserError(
            f"packing would make the file larger, {after:,} bytes instead of {before:,}; keep it as it is, or pass "
            "--allow-larger"
        )
    return packed


def _packed(
    model: Model, activations: Activations | None, allow_larger: bool, codebooks: Mapping[str, ScaledCentroids]
) -> Packed:
    computing = None if activations is None else Computing[activations.upper()]
    skipped: list[SkippedWeights] = []
    for graph in model.graphs:
        if has_quantized_activations(graph):
            dequantize_activations(graph)
        absorb_biases(graph)
        packer = WeightPacker(graph, computing, allow_larger, codebooks)
        graph.replace(packer.pack_dense_layers())
        graph.replace(packer.pack_tables())
        skipped += packer.skipped
    if not any(operator.kind in (DENSE, TABLE) for operator in model.operators()):
        raise UserError(f"there is nothing to pack: {_why_nothing(model.content, skipped)}")
    for graph in model.graphs:
        _fuse(graph, _attention_computing(graph) if computing is None else computing)
    counts = Counter(operator.kind for operator in model.operators())
    dense = sum(dense_options(operator).segments for operator in model.operators() if operator.kind == DENSE)
    version = np.frombuffer(str(latest_version(model.operators())).encode(), np.uint8)
    model.metadata = [
        *(entry for entry in model.metadata if entry.name not in (METADATA_ENTRY, CODEBOOKS_ENTRY)),
        Metadata(METADATA_ENTRY, Buffer(version)),
    ]
    order_by_use(model)
    state_runtime(model, at_least_as_before=False, custom=RUNTIMES)
    written = with_attached_files(model.content, write(model, ALIGNMENT))
    return Packed(written, dense, counts[ATTENTION], counts[LAYER_NORM], counts[TABLE], tuple(skipped))


def _fuse(graph: Graph, attention: Computing) -> None:
    graph.replace(find_attentions(graph, attention))
    graph.drop_unused()
    graph.replace((root, [norm]) for root, norm in find_layer_norms(graph))
    sink_reshapes(graph)
    fuse_activations(graph)
    fuse_residuals(graph)
    merge_neighbours(graph)


def _attention_computing(graph: Graph) -> Computing:
    """Returns the type that attention computes in by default: int8 if a dense layer computes in int8."""
    dense = (dense_options(operator) for operator in graph.operators if operator.kind == DENSE)
    return max((options.computing for options in dense), default=Computing.FLOAT32)


def _why_nothing(content: Content, skipped: list[SkippedWeights]) -> str:
    """Returns why the largest weights of a file were not packed."""
    weights = [one for one in file_weights.weights(content) if one.values.ndim == 2]
    if not weights:
        return "the file has no dense layers or embedding tables with constant float32, float16 or int8 weights"
    largest = max(weights, key=lambda one: one.values.size)
    count = count_distinct(largest.values)
    distinct = f"it has {count:,} distinct values"
    reason = next((one.reason for one in skipped if one.name == largest.name), distinct)
    clustered = count <= MAX_CENTROIDS // 2  # With more, it needs 8 bits.
    advice = "pass --allow-larger to pack it all the same" if clustered else "cluster the model first"
    return f"{largest.name}: {distinct if 'more than' in reason else reason}; {advice}"
