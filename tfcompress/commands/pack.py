"""Packs a `.tflite` file or unpacks a packed one, and runs both files to compare them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from tfcompress.errors import UserError
from tfcompress.files import atomic_write, check_outputs
from tfcompress.measure.agreement import Difference, compare_models
from tfcompress.measure.comparison import Examples, random_examples
from tfcompress.measure.interpreter import Runner
from tfcompress.packed import packer, unpacker
from tfcompress.packed.dense import SkippedWeights
from tfcompress.packed.options import Activations
from tfcompress.progress import bar, track
from tfcompress.tflite.graph import Model
from tfcompress.tflite.reading import open_file, read

_EXAMPLES = 64


@dataclass(frozen=True)
class PackingResult:
    """What packing or unpacking wrote.

    Attributes:
        path: of the file that was written.
        summary: what was done, in words.
        bytes_before, bytes_after: of the two files.
        constants_before, constants_after: bytes of all constants in the two files.
        not_packed: weights that stay as they are, and why.
        difference: between the outputs of the two files; None where they could not be run.
        not_run: the reason for that; empty otherwise.
        data: name of the data set that they were run on; empty for a random input.
    """

    path: Path
    summary: str
    bytes_before: int
    bytes_after: int
    constants_before: int
    constants_after: int
    not_packed: tuple[SkippedWeights, ...]
    difference: Difference | None
    not_run: str
    data: str

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.summary}",
            f"{self.bytes_after:,} bytes instead of {self.bytes_before:,}; constants {self.constants_after:,} instead "
            f"of {self.constants_before:,}, a ratio of {self.constants_after / self.constants_before:.3f}",
            *(f"not packed: {weights.name}: {weights.reason}" for weights in self.not_packed),
            self._compared(self.difference) if self.difference else f"not run: {self.not_run}",
        ]
        return "\n".join(lines)

    def _compared(self, difference: Difference) -> str:
        what = f"{difference.examples} examples of {self.data}" if self.data else "a random input"
        return f"run on {what}: {difference}"


def pack_file(
    source: Path,
    output: Path,
    activations: str | None = None,
    data: str | None = None,
    allow_larger: bool = False,
) -> PackingResult:
    """Packs a `.tflite` file; see `packer.pack_counted`.

    Args:
        source: path of the file.
        output: path of the packed file. An existing file is replaced.
        activations: `float32` or `int8`; by default the type of each layer's weights.
        data: the data set to compare both files on, `NAME` or `NAME:PATH`; by default one random input.
        allow_larger: also write a file that is larger than the source.

    Raises:
        UserError: an argument cannot be used, the file has nothing to pack, or it would become larger.
    """
    computing = known_activations(activations)
    check_outputs([output])
    model = open_file(source)
    sizes = _Sizes.of(model)
    with bar(f"packing {source.name}", 1) as shown:
        packed = packer.pack_counted(model, computing, allow_larger)
        shown.advance()
    parts = {
        "dense layers": packed.dense,
        "attentions": packed.attentions,
        "norms": packed.layer_norms,
        "embedding tables": packed.tables,
    }
    summary = f"packed {', '.join(f'{count} {part}' for part, count in parts.items())}"
    return _written(source, sizes, output, packed.content, summary, packed.skipped, data)


def known_activations(asked: str | None) -> Activations | None:
    """Returns the type that a packed file computes in; raises a `UserError` if there is no such type."""
    known: dict[str | None, Activations | None] = {None: None} | {kind: kind for kind in get_args(Activations)}
    if asked not in known:
        raise UserError(f"activations {asked!r} are not known; choose float32 or int8")
    return known[asked]


def unpack_file(source: Path, output: Path, data: str | None = None) -> PackingResult:
    """Turns a packed file into one for any TFLite runtime; the arguments are those of `pack_file`.

    Raises:
        UserError: an argument cannot be used, or the file is not packed.
    """
    check_outputs([output])
    model = open_file(source)
    sizes = _Sizes.of(model)
    with bar(f"unpacking {source.name}", 1) as shown:
        stock = unpacker.unpack(model)
        shown.advance()
    return _written(source, sizes, output, stock, "unpacked", (), data)


@dataclass(frozen=True)
class _Sizes:
    """Bytes of a file and of its constants."""

    file: int
    constants: int

    @classmethod
    def of(cls, model: Model) -> _Sizes:
        sizes = {tensor.buffer: len(tensor.data) for graph in model.graphs for tensor in graph.tensors}
        return cls(len(model.content), sum(sizes.values()))


def _written(
    source: Path,
    before: _Sizes,
    output: Path,
    after: bytes,
    summary: str,
    not_packed: tuple[SkippedWeights, ...],
    data: str | None,
) -> PackingResult:
    """Writes a file and compares it with the one that it was made from."""
    difference, not_run = None, ""
    name, _, path = (data or "").partition(":")
    examples = _examples(source, name, path) if name else None
    with tempfile.TemporaryDirectory() as folder:  # Not beside the output, where it would stay if LiteRT crashed.
        made = Path(folder) / output.name
        made.write_bytes(after)
        try:
            difference = _compared(source, made, examples)
        except UserError as error:
            not_run = str(error).replace(str(made), str(output))
    with atomic_write(output) as beside:
        beside.write_bytes(after)
    now = _Sizes.of(read(after))
    sizes = (before.file, now.file, before.constants, now.constants)
    return PackingResult(output, summary, *sizes, not_packed, difference, not_run, name)


def _examples(source: Path, name: str, path: str) -> Examples:
    from tfcompress.commands.examples import examples_for  # Imports TensorFlow, which packing does not need.

    feeds, *_ = examples_for([source], name, Path(path) if path else None, _EXAMPLES)
    return feeds[source]


def _compared(before: Path, after: Path, examples: Examples | None) -> Difference:
    """Runs two files on the same examples, by default on one random input."""
    first, second = Runner(before), Runner(after)
    feed: Examples = random_examples({"": before}, {"": first})[:1] if examples is None else examples
    running = track(feed, "running both files", len(feed))
    return compare_models(second.run_all, first.run_all, running, first.scores.name)
