"""Packing a `.tflite` file and unpacking one, and running both to compare."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from tfcompress.errors import UserError
from tfcompress.files import atomic_write
from tfcompress.measure.accuracy import same_top1
from tfcompress.measure.comparison import random_examples
from tfcompress.measure.interpreter import Example, Runner
from tfcompress.packed import packer, unpacker
from tfcompress.packed.dense import SkippedWeights
from tfcompress.packed.options import Activations
from tfcompress.progress import bar, track
from tfcompress.tflite import reading

_EXAMPLES = 64


@dataclass(frozen=True)
class Drift:
    """How far a file is from the one it was made from.

    Attributes:
        largest_difference: of all outputs, absolute.
        largest_output: of the file before, absolute.
        examples: that both were run on.
        same_top1: on how many the largest score is the same one; None where an output holds no scores.
        data: their data set; empty for a random one.
    """

    largest_difference: float
    largest_output: float
    examples: int
    same_top1: int | None
    data: str

    def __str__(self) -> str:
        what = f"{self.examples} examples of {self.data}" if self.data else "a random input"
        top = "" if self.same_top1 is None else f", the same top-1 on {self.same_top1} of {self.examples}"
        difference = f"{self.largest_difference:.2g} from the file before at most"
        return f"run on {what}: {difference}, whose largest output is {self.largest_output:.2g}{top}"


@dataclass(frozen=True)
class Repacked:
    """What was written.

    Attributes:
        path: of the file.
        done: in words.
        bytes_before, bytes_after: of the files.
        constants_before, constants_after: bytes of all their constants.
        left: weights that were not packed, and why.
        drift: None where the files could not be run.
        not_run: why; empty otherwise.
    """

    path: Path
    done: str
    bytes_before: int
    bytes_after: int
    constants_before: int
    constants_after: int
    left: tuple[SkippedWeights, ...]
    drift: Drift | None
    not_run: str

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.done}",
            f"{self.bytes_after:,} bytes, {self.bytes_before:,} before; of constants {self.constants_after:,}, "
            f"{self.constants_before:,} before: {self.constants_after / self.constants_before:.3f} of them",
            *(f"left as it is: {one.name}: {one.reason}" for one in self.left),
            str(self.drift) if self.drift else f"not run: {self.not_run}",
        ]
        return "\n".join(lines)


def pack_file(source: Path, output: Path, activations: str | None = None, data: str | None = None) -> Repacked:
    """Packs a stock `.tflite`; see `packer.pack_counted`.

    Args:
        source: path of the file.
        output: path of the packed file; one that is there is replaced.
        activations: `float32` or `int8`; by default what the weights of a layer are.
        data: a data set as `NAME` or `NAME:PATH`, to compare both files on; by default one random input.

    Raises:
        UserError: something of that does not fit, or there is nothing to pack.
    """
    known: dict[str | None, Activations | None] = {None: None} | {kind: kind for kind in get_args(Activations)}
    if activations not in known:
        raise UserError(f"activations {activations!r}; they are float32 or int8")
    content = _read(source)
    with bar(f"packing {source.name}", 1) as shown:
        packed = packer.pack_counted(content, known[activations])
        shown.advance()
    parts = {
        "dense layers": packed.dense,
        "attentions": packed.attentions,
        "norms": packed.layer_norms,
        "token tables": packed.tables,
    }
    done = f"packed {', '.join(f'{count} {part}' for part, count in parts.items())}"
    return _written(source, content, output, packed.content, done, packed.skipped, data)


def unpack_file(source: Path, output: Path, data: str | None = None) -> Repacked:
    """Makes a stock `.tflite` of a packed one; arguments as for `pack_file`.

    Raises:
        UserError: something of that does not fit, or the file is not packed.
    """
    content = _read(source)
    with bar(f"unpacking {source.name}", 1) as shown:
        stock = unpacker.unpack(content)
        shown.advance()
    return _written(source, content, output, stock, "unpacked", (), data)


def _read(path: Path) -> bytes:
    reading.open_file(path)  # finds what is wrong with it
    return path.read_bytes()


def _written(
    source: Path,
    before: bytes,
    output: Path,
    after: bytes,
    done: str,
    left: tuple[SkippedWeights, ...],
    data: str | None,
) -> Repacked:
    drift, not_run = None, ""
    feeds, of_data = _examples(source, data) if data else (None, "")
    with atomic_write(output) as beside:
        beside.write_bytes(after)
        try:
            drift = _drift(source, beside, feeds, of_data)
        except UserError as error:
            not_run = str(error).replace(str(beside), str(output))
    sizes = (len(before), len(after), _constant_bytes(before), _constant_bytes(after))
    return Repacked(output, done, *sizes, left, drift, not_run)


def _examples(source: Path, data: str) -> tuple[Iterable[Example], str]:
    from tfcompress.commands.examples import examples_for

    name, _, path = data.partition(":")
    feeds, _ = examples_for([source], name, Path(path) if path else None, _EXAMPLES)
    return feeds[source], name


def _drift(before: Path, after: Path, feeds: Iterable[Example] | None, data: str) -> Drift:
    runners = [Runner(before), Runner(after)]
    examples = random_examples({"": before}, {"": runners[0]})[:1] if feeds is None else list(feeds)
    difference = largest = 0.0
    tops = []
    for example in track(examples, "running both", len(examples)):
        for runner in runners:
            runner.run(example)
        expected, found = (runner.outputs() for runner in runners)
        difference = max(difference, *(_largest(found[name] - expected[name]) for name in expected))
        largest = max(largest, *(_largest(values) for values in expected.values()))
        scores = runners[0].scores.name
        tops.append(same_top1(found[scores], expected[scores]))
    return Drift(difference, largest, len(examples), None if None in tops else sum(map(bool, tops)), data)


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max(initial=0))


def _constant_bytes(content: bytes) -> int:
    sizes = {one.buffer: len(one.data) for graph in reading.read(content).graphs for one in graph.tensors}
    return sum(sizes.values())
