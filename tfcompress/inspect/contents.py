"""What a `.tflite` file contains, in figures.

Each row of weights is a parameter with two dimensions or more, such as a kernel or a table. Parameters with one
dimension, such as biases and the scales of a LayerNorm, are only summed up. `tfcompress.inspect.constants` says what a
parameter is.
"""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tfcompress.errors import UserError
from tfcompress.inspect.compressed import gzip_size, zstd_size
from tfcompress.inspect.constants import UNUSED, Constant, bytes_read, find_constants
from tfcompress.inspect.statistics import packed_statistics, statistics
from tfcompress.packed.options import RUNTIMES
from tfcompress.progress import track
from tfcompress.tflite.attached import ARCHIVE_ERRORS
from tfcompress.tflite.graph import Model, Signature
from tfcompress.tflite.metadata import LOOKUP, ImageInput, LookupInput, TextInput, read_description
from tfcompress.tflite.reading import open_file
from tfcompress.tflite.runtimes import minimum_runtime, requirement, stated_requirement
from tfcompress.tflite.tensor import Tensor

GRAPH, METADATA, ATTACHED_FILES = "(graph)", "(metadata)", "(attached files)"
"""What takes up bytes of a file besides the constants of operators. The graph is the remainder, with all padding."""


@dataclass(frozen=True)
class Weights:
    """One tensor of weights.

    Attributes:
        name: of the tensor in the file.
        operator: the kind of operator that reads it first.
        shape: of the tensor in the file; for packed weights, the shape of the weights that they encode.
        type: such as `float32` or `int4`; packed weights have a type such as `6-bit float32`.
        sparse: whether the file stores only some of its values.
        unique, zeros, entropy: see `Statistics`; None for types with more than 64 bits.
        bytes: the size of the stored values; types of less than a byte are packed, two int4 per byte.
        entropy_bytes: the size that the stored values would have at `entropy` bits each.
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
    """The operators of one kind and version: how many there are, and the runtime they need (empty if unknown)."""

    operator: str
    version: int
    count: int
    runtime: str


@dataclass(frozen=True)
class GraphFigures:
    """One graph of the file.

    Attributes:
        name: in the file, often empty.
        operators: the number of operators.
        weight_bytes_read: bytes of parameters that its operators read in one run. A lookup counts the rows that it
            returns, but at most the whole table. A parameter that several operators read counts once for each.
    """

    name: str
    operators: int
    weight_bytes_read: int


@dataclass(frozen=True)
class SignatureFigures:
    """An entry point: the index of its graph, and type and shape of inputs and outputs by name (a free length is 1)."""

    name: str
    graph: int
    inputs: dict[str, str]
    outputs: dict[str, str]


@dataclass(frozen=True)
class Contents:
    """What a file contains. Sizes are in bytes.

    Attributes:
        file: its path.
        bytes: the size of the file.
        parameters: the number of values in all parameters.
        bytes_by_operator: the size of constants by the kind of operator that reads them, and of everything else; the
            sizes add up to `bytes`.
        bytes_by_type: the size of constants by data type.
        weight_bytes_read: what one inference reads: the first graph and the graphs that no signature starts, such as
            the body of a loop, each run once.
        gzip, zstd: the size after gzip at level 9 and after zstd at level 9; None if not asked for.
        minimum_runtime: the oldest TFLite version that runs the file; empty if unknown.
        operators: the most frequent kind first.
        graphs: in the order of the file.
        signatures: in the order of the file; a file without any has one without a name.
        metadata: the size of each metadata entry, by name.
        attached: the uncompressed size of each file, such as labels, in an archive that follows the model.
        description: what the file's TFLite Metadata say.
        weights: one row per tensor, in the order of the operators.
        other_tensors, other_parameters, other_bytes: totals of the parameters that have no row.
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
    """Reads a file and counts what it contains.

    Args:
        path: of a `.tflite` file.
        compressed: also measure its size after gzip and zstd, which takes seconds per ten megabytes.

    Raises:
        UserError: the file cannot be read or is not a valid `.tflite` file.
    """
    file = open_file(path)
    constants = find_constants(file)
    rows = [one for one in constants if one.is_weights]
    others = [one.tensor for one in constants if one.is_parameter and not one.is_weights]
    graphs = tuple(
        GraphFigures(graph.name, len(graph.operators), sum(map(bytes_read, graph.operators))) for graph in file.graphs
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
        gzip=gzip_size(file.content) if compressed else None,
        zstd=zstd_size(file.content) if compressed else None,
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


def _by_operator(file: Model, constants: list[Constant], attached_bytes: int) -> dict[str, int]:
    """Returns the size of constants by the operator that reads them, and of all other parts of the file."""
    found = _summed((one.operator, len(one.tensor.data)) for one in constants)
    metadata = sum(len(entry.data) for entry in file.metadata)
    stored = sum(len(buffer.data) for buffer in file.buffers if buffer.data is not None)
    unused = max(0, stored - sum(found.values()) - metadata)
    others = {UNUSED: found.pop(UNUSED, 0) + unused, METADATA: metadata, ATTACHED_FILES: attached_bytes}
    others[GRAPH] = max(0, len(file.content) - sum(found.values()) - sum(others.values()))
    return found | {name: size for name, size in others.items() if size}


def _operators(file: Model) -> tuple[OperatorKind, ...]:
    """Counts operators by kind and version; a kind that the file lists and does not use has 0."""
    counts = Counter(requirement(operator, RUNTIMES) for operator in file.operators())
    unused = set(file.codes) - {operator.code for operator in file.operators()}
    kinds = [*counts.items(), *((stated_requirement(code, RUNTIMES), 0) for code in unused)]
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
    """Returns the sizes of the files in an archive that follows the flatbuffer, and the size of the archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except ARCHIVE_ERRORS:
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
    described = {"name": found.name, "text": found.text, "task": found.task, "labels": ", ".join(found.labels)}
    if isinstance(found.input, ImageInput):
        described["input"] = f"pixels of 0 to 255, less {found.input.mean}, divided by {found.input.std}"
    if isinstance(found.input, TextInput):
        case = {True: ", in lower case", False: ", in its case", None: ""}[found.input.lowercase]
        accents = " without accents" if found.input.strip_accents else ""
        kind = "pair of texts" if found.input.pairs else "text"
        described["input"] = f"{kind}{case}{accents}, as WordPiece of {len(found.input.vocabulary):,} pieces"
    if isinstance(found.input, LookupInput):
        described["input"] = f"what {LOOKUP}, in the archive at the end of the file, makes of words"
    return {name: text for name, text in described.items() if text}


def _weights(constant: Constant) -> Weights:
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


def _summed(items: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Returns the sum of the numbers for each name, the largest first."""
    sums: Counter[str] = Counter()
    for name, size in items:
        sums[name] += size
    return dict(sums.most_common())
