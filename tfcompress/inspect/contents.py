"""What a `.tflite` holds, in figures.

The rows are its weights: parameters of two dimensions or more, such as kernels and tables. Parameters are the constants
that are no shapes, axes or indices of the graph: real numbers, quantized ones and all integers of a byte or less. Those
of one dimension, such as biases and the scales of a LayerNorm, are only summed up.

A constant that several tensors share counts once, for the operator that first reads it; one behind a DEQUANTIZE or
DENSIFY for the operator behind that.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import zstandard

from tfcompress.errors import UserError
from tfcompress.inspect.statistics import packed_statistics, statistics
from tfcompress.packed.options import RUNTIMES, TABLE
from tfcompress.packed.weights import PackedWeights, weights_of
from tfcompress.progress import bar, track
from tfcompress.tflite.attached import DAMAGES
from tfcompress.tflite.graph import Content, Graph, Model, Operator, Signature
from tfcompress.tflite.metadata import ImageInput, TextInput, read_description
from tfcompress.tflite.reading import open_file
from tfcompress.tflite.runtimes import minimum_runtime, requirement, stated
from tfcompress.tflite.tensor import Buffer, Tensor

_LOOKUPS = {"EMBEDDING_LOOKUP": 1, "GATHER": 0, "GATHER_ND": 0}
"""Which input of an operator is a table of which it reads some rows."""

_UNPACKING = ("DEQUANTIZE", "DENSIFY")
_GZIP_LEVEL, _GZIP_FORMAT = 9, 31  # as in the reports of runs
_ZSTD_LEVEL = 9
_CHUNK = 1 << 20
GRAPH, METADATA, FILES, UNUSED = "(graph)", "(metadata)", "(attached files)", "(unused)"
"""What has bytes in a file beside operators; the graph is all the rest, with padding."""


@dataclass(frozen=True)
class Weights:
    """One tensor of weights.

    Attributes:
        name: as in the file.
        operator: that reads it first.
        shape: as in the file.
        type: such as `float32` or `int4`; `6-bit float32` of packed ones, whose shape is that of what they stand for.
        sparse: whether only some of its values are stored, of which then all but `zeros` is.
        unique, zeros, entropy: as in `Statistics`; None for types of more than 64 bits.
        bytes: stored; types of less than a byte are packed, int4 two a byte.
        entropy_bytes: what they would take with `entropy` bits each.
    """

    name: str
    operator: str
    shape: tuple[int, ...]
    type: str
    sparse: bool
    unique: int | None
    zeros: float | None
    entropy: float | None
    bytes: int
    entropy_bytes: int | None


@dataclass(frozen=True)
class OperatorKind:
    """Operators of one kind and version: how many nodes there are, and the runtime they need, if that is known."""

    operator: str
    version: int
    count: int
    runtime: str


@dataclass(frozen=True)
class GraphFigures:
    """A graph of the file.

    Attributes:
        name: as in the file, often empty.
        operators: number of nodes.
        weight_bytes_read: by one run of it: the parameters that each node reads. A lookup reads the rows that it gives,
            at most the table; what several nodes read counts for each of them.
    """

    name: str
    operators: int
    weight_bytes_read: int


@dataclass(frozen=True)
class SignatureFigures:
    """An entry point: the graph it runs, type and shape of inputs and outputs by name; a free size is 1."""

    name: str
    graph: int
    inputs: dict[str, str]
    outputs: dict[str, str]


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes:
        file: its path.
        bytes: of the whole file.
        parameters: how many numbers its parameters are.
        bytes_by_operator: of the constants, by the operator that reads them, and of all else; their sum is `bytes`.
        bytes_by_type: of the constants.
        weight_bytes_read: by one inference: of the first graph and those that no signature starts, such as the body of
            a loop, each run once.
        gzip, zstd: bytes after gzip of level 9 and zstd of level 9; None if that was not asked for.
        minimum_runtime: the oldest TFLite that runs it; empty if nothing says so.
        operators: the most frequent first.
        metadata: bytes of each entry by name.
        attached: bytes of each file in an archive behind the model, such as labels, by name.
        description: what the file says of itself.
        weights: a row a tensor, in the order of the operators.
        other_tensors, other_parameters, other_bytes: of the parameters that are no row.
    """

    file: str
    bytes: int
    parameters: int
    bytes_by_operator: dict[str, int]
    bytes_by_type: dict[str, int]
    weight_bytes_read: int
    gzip: int | None
    zstd: int | None
    minimum_runtime: str
    operators: tuple[OperatorKind, ...]
    graphs: tuple[GraphFigures, ...]
    signatures: tuple[SignatureFigures, ...]
    metadata: dict[str, int]
    attached: dict[str, int]
    description: dict[str, str]
    weights: tuple[Weights, ...]
    other_tensors: int
    other_parameters: int
    other_bytes: int


def inspect(path: Path, compressed: bool = False) -> Contents:
    """Reads a file.

    Args:
        path: of a `.tflite`.
        compressed: also measure it after gzip and zstd, which takes seconds for each ten megabytes.

    Raises:
        UserError: it cannot be read, or is not a valid `.tflite`.
    """
    file = open_file(path)
    constants = _constants(file)
    rows = [one for one in constants if one.is_weights]
    others = [one.tensor for one in constants if one.is_parameter and not one.is_weights]
    graphs = tuple(
        GraphFigures(graph.name, len(graph.operators), sum(map(_read, graph.operators))) for graph in file.graphs
    )
    started = {signature.graph for signature in file.signatures} - {file.graphs[0]}
    attached, attached_bytes = _attached(path)
    return Contents(
        file=str(path),
        bytes=len(file.content),
        parameters=sum(math.prod(one.shape) for one in constants if one.is_parameter),
        bytes_by_operator=_by_operator(file, constants, attached_bytes),
        bytes_by_type=_summed((one.tensor.dtype, len(one.tensor.data)) for one in constants),
        weight_bytes_read=sum(
            figures.weight_bytes_read
            for graph, figures in zip(file.graphs, graphs, strict=True)
            if graph not in started
        ),
        gzip=_gzip(file.content) if compressed else None,
        zstd=_zstd(file.content) if compressed else None,
        minimum_runtime=minimum_runtime(file, RUNTIMES),
        operators=_operators(file),
        graphs=graphs,
        signatures=_signatures(file),
        metadata=_summed((entry.name, len(entry.data)) for entry in file.metadata),
        attached=attached,
        description=_description(file),
        weights=tuple(_weights(one) for one in track(rows, f"inspecting {path.name}", len(rows))),
        other_tensors=len(others),
        other_parameters=sum(tensor.elements for tensor in others),
        other_bytes=sum(len(tensor.data) for tensor in others),
    )


@dataclass(frozen=True, eq=False)
class _Constant:
    """A tensor with data, the operator that reads it first, whether it is a parameter, and what is packed in it."""

    tensor: Tensor
    operator: str
    is_parameter: bool
    packed: PackedWeights | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape if self.packed is None else self.packed.indices.shape

    @property
    def is_weights(self) -> bool:
        return self.is_parameter and sum(size > 1 for size in self.shape) > 1


def _constants(file: Model) -> list[_Constant]:
    """Returns the constants, each buffer once, in the order of the operators that read them."""
    found: dict[Buffer, _Constant] = {}
    for graph in file.graphs:
        readers = _readers(graph)
        scales = {scale for tensor in graph.tensors for scale in tensor.scale_tensors.values()}
        packed = {one.tensor: one for operator in graph.operators for one in weights_of(operator)}
        scales |= {part for one in packed.values() for part in one.parts}
        for tensor in sorted(graph.tensors, key=lambda tensor: readers.get(tensor, len(graph.operators))):
            if tensor.buffer is not None and len(tensor.data) and tensor.buffer not in found:
                kind = graph.operators[readers[tensor]].kind if tensor in readers else UNUSED
                parameter = tensor not in scales and _is_parameter(tensor)
                found[tensor.buffer] = _Constant(tensor, kind, parameter, packed.get(tensor))
    return list(found.values())


def _readers(graph: Graph) -> dict[Tensor, int]:
    """Returns the place of the operator that first reads a tensor, or what is unpacked from it."""
    found: dict[Tensor, int] = {}
    for place, operator in reversed(list(enumerate(graph.operators))):
        unpacked = operator.kind in _UNPACKING and operator.outputs
        found |= dict.fromkeys(operator.inputs, found.get(operator.outputs[0], place) if unpacked else place)
    for tensor in graph.tensors:
        if tensor in found:
            found |= dict.fromkeys(tensor.scale_tensors.values(), found[tensor])
    return found


def _is_parameter(tensor: Tensor) -> bool:
    quantized = len(tensor.scales) or tensor.scale_tensors
    wide_integer = tensor.bits > 8 and "int" in tensor.dtype
    return tensor.bits > 0 and tensor.dtype != "bool" and bool(quantized or not wide_integer)


def _read(operator: Operator) -> int:
    """Returns how many bytes of parameters an operator reads."""
    if packed := weights_of(operator):
        return sum(_read_packed(one, operator) for one in packed)
    total = 0
    for tensor in dict.fromkeys(operator.inputs):
        if not len(tensor.data) or not _is_parameter(tensor):
            continue
        size = len(tensor.data) + sum(len(scales.data) for scales in tensor.scale_tensors.values())
        if operator.inputs.index(tensor) == _LOOKUPS.get(operator.kind) and operator.outputs:
            size = _looked_up(size, operator, tensor.elements)
        total += size
    return total


def _read_packed(packed: PackedWeights, operator: Operator) -> int:
    """Returns how many bytes of packed weights are read; of a table those of the rows that are looked up."""
    size = len(packed.tensor.data)
    if operator.kind == TABLE and operator.outputs:
        size = _looked_up(size, operator, packed.indices.size)
    return size + sum(len(part.data) for part in packed.parts_read)


def _looked_up(size: int, operator: Operator, elements: int) -> int:
    """Returns how many bytes of a table of `size` bytes and so many elements an operator reads for its output."""
    given = operator.outputs[0]
    return min(size, math.ceil(size * given.elements / elements)) if min(given.shape, default=1) >= 0 else size


def _by_operator(file: Model, constants: list[_Constant], attached_bytes: int) -> dict[str, int]:
    found = _summed((one.operator, len(one.tensor.data)) for one in constants)
    metadata = sum(len(entry.data) for entry in file.metadata)
    stored = sum(len(buffer.data) for buffer in file.buffers if buffer.data is not None)
    unused = max(0, stored - sum(found.values()) - metadata)
    others = {UNUSED: found.pop(UNUSED, 0) + unused, METADATA: metadata, FILES: attached_bytes}
    others[GRAPH] = max(0, len(file.content) - sum(found.values()) - sum(others.values()))
    return found | {name: size for name, size in others.items() if size}


def _operators(file: Model) -> tuple[OperatorKind, ...]:
    counts = Counter(requirement(operator, RUNTIMES) for operator in file.operators())
    unused = set(file.codes) - {operator.code for operator in file.operators()}
    kinds = [*counts.items(), *((stated(code, RUNTIMES), 0) for code in unused)]
    found = (OperatorKind(one.operator, one.version, count, one.runtime) for one, count in kinds)
    return tuple(sorted(found, key=lambda kind: (-kind.count, kind.operator, kind.version)))


def _signatures(file: Model) -> tuple[SignatureFigures, ...]:
    def ports(named: dict[str, Tensor]) -> dict[str, str]:
        return {name: f"{tensor.dtype} {tensor.shape}" for name, tensor in named.items()}

    first = file.graphs[0]
    unnamed = [{tensor.name: tensor for tensor in ends} for ends in (first.inputs, first.outputs)]
    return tuple(
        SignatureFigures(one.name, file.graphs.index(one.graph), ports(one.inputs), ports(one.outputs))
        for one in file.signatures or [Signature("", first, *unnamed)]
    )


def _attached(path: Path) -> tuple[dict[str, int], int]:
    """Returns the sizes of the files in an archive behind the flatbuffer, and all the bytes behind it."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except DAMAGES:
        return {}, 0
    begin = min((member.header_offset for member in members), default=0)
    return {member.filename: member.file_size for member in members}, path.stat().st_size - begin if begin > 0 else 0


def _description(file: Model) -> dict[str, str]:
    try:
        found = read_description(file.content)
    except UserError as error:
        return {"damaged": str(error)}
    if found is None:
        return {}
    described = {"name": found.name, "text": found.text, "labels": ", ".join(found.labels)}
    if isinstance(found.input, ImageInput):
        described["input"] = f"pixels of 0 to 255, less {found.input.mean}, divided by {found.input.std}"
    if isinstance(found.input, TextInput):
        case = {True: ", in lower case", False: ", in its case", None: ""}[found.input.lowercase]
        described["input"] = f"text{case}, as WordPiece of {len(found.input.vocabulary):,} pieces"
    return {name: text for name, text in described.items() if text}


def _weights(constant: _Constant) -> Weights:
    tensor = constant.tensor
    packed = constant.packed
    figures = statistics(tensor) if packed is None else packed_statistics(packed.indices, packed.centroids)
    return Weights(
        name=tensor.name,
        operator=constant.operator,
        shape=constant.shape,
        type=tensor.dtype if packed is None else packed.type,
        sparse=tensor.sparse,
        unique=figures.unique if figures else None,
        zeros=figures.zeros if figures else None,
        entropy=figures.entropy if figures else None,
        bytes=len(tensor.data),
        entropy_bytes=math.ceil(round(figures.stored * figures.entropy / 8, 3)) if figures else None,
    )


def _gzip(content: Content) -> int:
    compressor = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
    return _compressed(content, "gzip", compressor.compress, compressor.flush)


def _zstd(content: Content) -> int:
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj(size=len(content))
    return _compressed(content, "zstd", compressor.compress, compressor.flush)


def _compressed(content: Content, what: str, add: Callable[[bytes], bytes], end: Callable[[], bytes]) -> int:
    size = 0
    with bar(what, -(-len(content) // _CHUNK)) as shown:
        for start in range(0, len(content), _CHUNK):
            size += len(add(bytes(content[start : start + _CHUNK])))
            shown.advance()
    return size + len(end())


def _summed(items: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Returns the sum for each name, the largest first."""
    sums: Counter[str] = Counter()
    for name, size in items:
        sums[name] += size
    return dict(sums.most_common())
