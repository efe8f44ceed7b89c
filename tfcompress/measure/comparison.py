"""Compares several `.tflite` files: bytes, time, memory, outputs for the same examples, and quality."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, computed_field

from tfcompress.errors import UserError
from tfcompress.files import read_json, write_json
from tfcompress.measure import environment
from tfcompress.measure.agreement import agreement
from tfcompress.measure.divergence import Mean, are_class_scores, mean_cosine, mean_divergence
from tfcompress.measure.figures import Figures
from tfcompress.measure.interpreter import Answers, Example, FloatArray, Port, Runner, all_outputs
from tfcompress.measure.latency import Latency, latencies
from tfcompress.measure.memory import Memory, memory
from tfcompress.measure.phone import PhoneReport
from tfcompress.measure.quality import TOP1, Labels, Metric, change, judge, quality
from tfcompress.measure.size import size
from tfcompress.names import is_mask
from tfcompress.progress import track

RANDOM_EXAMPLES = 32

GIVEN = "given examples"
"""What the examples are called if they belong to no data set."""
CALIBRATION = "calibration examples"
"""The same of those that a file was calibrated with."""


class Examples(Protocol):
    """Examples that can be iterated several times, such as a list of them."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


@dataclass(frozen=True)
class Cost:
    """What one inference costs with some number of threads.

    Attributes:
        memory: None where it cannot be measured.
        no_memory: the reason for that; empty otherwise.
    """

    threads: int
    latency: Latency
    memory: Memory | None
    no_memory: str


@dataclass(frozen=True, kw_only=True)
class ComparedFile(Figures):
    """One file and everything that was measured of it. Its `agreement` is with the first file.

    Attributes:
        name: distinguishes it from the others.
        path: as it was given.
        output: name, type and shape of the output that was read.
        costs: one for each number of threads.
        divergence: Kullback-Leibler divergence of its class scores from the first file's, in nats; None if the outputs
            are no class scores, have another shape or are not finite, and for the first file.
        cosine: similarity of its embeddings to the first file's; None if the outputs are class scores or single
            numbers, and in the other cases of `divergence`.
    """

    name: str
    path: str
    output: str
    costs: tuple[Cost, ...]
    divergence: Mean | None = None
    cosine: Mean | None = None

    @property
    def latency(self) -> Latency:
        """With the first number of threads."""
        return self.costs[0].latency

    @property
    def memory(self) -> Memory | None:
        """With the first number of threads."""
        return self.costs[0].memory


@dataclass(frozen=True)
class Comparison:
    """All figures of a comparison, and what is needed to repeat it.

    Attributes:
        data: name of the data set; `GIVEN` or `CALIBRATION` for other examples, and empty for random inputs.
        data_path: where the data set was; empty if it needs no path.
        task: what its labels are, if that was told separately; otherwise empty.
        examples: number of examples that the outputs are compared on.
        rounds: of the latency measurement.
        files: the others are compared with the first.
        phone: what a phone measured of the same files, or None.
    """

    date: str
    versions: dict[str, str]
    machine: dict[str, str | int]
    data: str
    data_path: str
    examples: int
    threads: tuple[int, ...]
    rounds: int
    files: tuple[ComparedFile, ...]
    phone: PhoneReport | None = None
    task: str = ""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def command(self) -> str:
        """The command that repeats the comparison; empty if only a call of `compare` can."""
        if self.data in (GIVEN, CALIBRATION):
            return ""
        data = ["--data", self.data, "--examples", str(self.examples)] if self.data else []
        path = ["--path", self.data_path] if self.data_path else []
        task = ["--task", self.task] if self.task else []
        times = ["--threads", ",".join(map(str, self.threads)), "--rounds", str(self.rounds)]
        return shlex.join(["tfcompress", "compare", *(file.path for file in self.files), *data, *path, *task, *times])

    @property
    def described_data(self) -> str:
        """The examples that the files were compared on, in words."""
        if self.data in ("", GIVEN, CALIBRATION):
            return f"{self.examples} {self.data or 'random inputs'}"
        return f"{self.data}, {self.examples} test examples"

    def save(self, path: Path) -> None:
        """Writes the comparison as JSON."""
        write_json(path, TypeAdapter(Comparison).dump_python(self, mode="json"))

    @classmethod
    def load(cls, path: Path) -> Comparison:
        """Reads a comparison that `save` wrote.

        Raises:
            UserError: the file is missing, or is not a comparison.
        """
        try:
            return TypeAdapter(cls).validate_python(read_json(path))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is not what `tfcompress compare --json` of this version writes") from error


def compare(
    files: Sequence[Path],
    examples: Examples | Mapping[Path, Examples] | None = None,
    labels: Labels | None = None,
    threads: Sequence[int] = (1,),
    rounds: int = 50,
    data: str = "",
    data_path: str = "",
    phone: PhoneReport | None = None,
    orders: Mapping[Path, Sequence[int]] | None = None,
    metrics: Sequence[Metric] = (TOP1,),
    task: str = "",
) -> Comparison:
    """Compares files with the first of them.

    Args:
        files: paths of `.tflite` files of any origin.
        examples: features without a batch axis: the same for all files, or by file if the files take the examples in
            different ways. The default is `RANDOM_EXAMPLES` seeded random examples: real numbers from 0 to 1, or over
            the whole range of a quantized input; ids up to the last row of the shortest table that they are looked up
            in; 0 to 255 for other uint8 inputs; and ones for all other integers.
        labels: of the examples, `(n, …)`.
        threads: numbers of threads to measure with.
        rounds: of the latency measurement, at least two.
        data: name of the data set that the examples belong to; by default `GIVEN`.
        data_path: where the data set is.
        phone: what a phone measured of these files, and possibly of others.
        orders: for each file that names its classes, the index of the score of each class.
        metrics: what is found of labels and outputs; those of a task of `tfcompress.data.tasks`, for instance.
        task: what the labels of the data set are, if it was told separately.

    Class scores have a divergence and embeddings a cosine. With labels, outputs are class scores if each label is one
    class; without labels, see `are_class_scores`.

    Raises:
        UserError: a file cannot be run, the files take different inputs, or the examples or labels do not fit a file.
    """
    if not files or rounds < 2 or not threads or min(threads) < 1:
        raise UserError(
            f"{len(files)} files, {rounds} rounds, {list(threads)} threads; at least one file, two rounds and one "
            "thread are needed"
        )
    names = _names(files)
    paths = dict(zip(names, files, strict=True))
    runners = {name: Runner(path) for name, path in paths.items()}
    phone = phone and phone.of(paths)
    if examples is None:
        examples = random_examples(paths, runners)
    else:
        data = data or GIVEN
    feeds: dict[str, Examples] = {
        name: examples[path] if isinstance(examples, Mapping) else examples for name, path in paths.items()
    }
    number = len(feeds[names[0]])
    if not number:
        raise UserError("there are no examples; at least one is needed")
    if labels is not None and len(labels) != number:
        raise UserError(f"there are {number} examples but {len(labels)} labels; every example needs one")
    metrics = () if labels is None else metrics
    outputs, judged = {}, {}
    for name, path in paths.items():
        answers = _answers(name, runners[name], feeds[name], any(metric.of_all for metric in metrics))
        scores = answers[runners[name].scores.name] if isinstance(answers, dict) else answers
        outputs[name] = _ordered(scores, (orders or {}).get(path))
        judgeable = answers if isinstance(answers, dict) else outputs[name]
        judged[name] = () if labels is None else judge(metrics, labels, judgeable, name)
    costs = _costs(paths, {name: next(iter(feed)) for name, feed in feeds.items()}, threads, rounds)
    first = outputs[names[0]]
    steps = {name: runner.scores.scale for name, runner in runners.items()}
    if labels is not None:
        of_classes = labels.ndim == 1 and bool(np.issubdtype(labels.dtype, np.integer))
    else:
        ports = ((runners[name].scores, found) for name, found in outputs.items())
        of_classes = are_class_scores(ports, any(path in (orders or {}) for path in files))
    compared = [
        ComparedFile(
            name=name,
            path=str(path),
            inputs={port.name: str(port) for port in runners[name].inputs.values()},
            output=f"{runners[name].scores.name}: {runners[name].scores}",
            size=size(path),
            costs=tuple(costs[name]),
            agreement=agreement(outputs[name], first)
            if name != names[0] and outputs[name].shape == first.shape
            else None,
            quality=tuple(map(quality, metrics, judged[name])),
            change=tuple(map(change, metrics, judged[names[0]], judged[name])) if name != names[0] else (),
            divergence=mean_divergence(outputs[name], first, (steps[name], steps[names[0]]))
            if of_classes and name != names[0]
            else None,
            cosine=mean_cosine(outputs[name], first, token_mask(feeds[name], first.shape[1:-1]))
            if not of_classes and name != names[0]
            else None,
        )
        for name, path in paths.items()
    ]
    return Comparison(
        date=environment.now(),
        versions=environment.versions(),
        machine=environment.machine(),
        data=data,
        data_path=data_path,
        examples=number,
        threads=tuple(threads),
        rounds=rounds,
        files=tuple(compared),
        phone=phone,
        task=task,
    )


def token_mask(examples: Examples, tokens: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
    """Returns which tokens of each example are no padding, if an input says so for outputs with so many tokens."""
    first = next(iter(examples))
    for name, values in first.items() if isinstance(first, dict) else ():
        if is_mask(name) and tokens and np.shape(values) == tokens:
            return np.stack([np.asarray(example[name]) != 0 for example in examples])
    return None


def _names(files: Sequence[Path]) -> list[str]:
    """Returns a name per file: its own; its path if others share the name; with a count if the path repeats."""
    stems, paths = Counter(path.stem for path in files), Counter(map(str, files))
    seen: Counter[str] = Counter()
    names = []
    for path in files:
        seen[str(path)] += 1
        name = path.stem if stems[path.stem] == 1 else str(path)
        names.append(f"{name} ({seen[str(path)]})" if paths[str(path)] > 1 else name)
    return names


def _answers(name: str, runner: Runner, examples: Examples, all_of_them: bool) -> Answers:
    """Returns the scores of each example, or all outputs."""
    shown = track(examples, f"running {name}", len(examples))
    return all_outputs(runner, shown) if all_of_them else np.stack([runner.run(example) for example in shown])


def _ordered(scores: FloatArray, order: Sequence[int] | None) -> FloatArray:
    """Returns scores in the order of the classes."""
    return scores if order is None or scores.shape[1:] != (len(order),) else scores[:, list(order)]


def _costs(
    paths: Mapping[str, Path], examples: Mapping[str, Example], threads: Sequence[int], rounds: int
) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {name: [] for name in paths}
    for count in threads:
        times = latencies(paths, examples, rounds, count)
        for name, path in track(paths.items(), f"memory, threads: {count}", len(paths)):
            costs[name].append(Cost(count, times[name], *memory(path, count)))
    return costs


def random_examples(paths: Mapping[str, Path], runners: Mapping[str, Runner]) -> list[Example]:
    """Returns `RANDOM_EXAMPLES` random examples that all files can take; see `compare`."""
    first, *others = runners
    takes = runners[first].inputs
    for other in others:
        if _kinds(runners[other].inputs) != _kinds(takes):
            told = [
                f"{paths[name]} takes {', '.join(f'{port} as {port.name}' for port in runners[name].inputs.values())}"
                for name in (first, other)
            ]
            raise UserError(f"{told[0]}, but {told[1]}; only a data set (--data) can be fed to both")
    rows: dict[str, int] = {}
    for runner in runners.values():
        for name, found in runner.table_rows().items():
            rows[_key(takes, name)] = min(found, rows.get(_key(takes, name), found))
    rng = np.random.default_rng(0)
    columns = {name: _values(rng, port, rows.get(_key(takes, name), 0)) for name, port in takes.items()}
    if len(columns) == 1:
        return list(next(iter(columns.values())))
    return [{name: values[i] for name, values in columns.items()} for i in range(RANDOM_EXAMPLES)]


def _key(inputs: Mapping[str, Port], name: str) -> str:
    """Returns how an input is identified across files: by its name, unless it is the only one."""
    return name if len(inputs) > 1 else ""


def _kinds(inputs: Mapping[str, Port]) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Returns the shapes and kinds of inputs that two files must share to take the same examples."""
    return {_key(inputs, name): (port.shape, port.real) for name, port in inputs.items()}


def _values(rng: np.random.Generator, port: Port, rows: int) -> npt.NDArray[Any]:
    """Returns random values for an input, `(RANDOM_EXAMPLES, …)`, without its batch axis."""
    shape = (RANDOM_EXAMPLES, *(port.shape[1:] if len(port.shape) > 1 else port.shape))
    if port.scale:
        limits = np.iinfo(port.dtype)
        return port.decoded(rng.integers(limits.min, limits.max, shape, endpoint=True))
    if np.issubdtype(port.dtype, np.floating):
        return rng.random(shape, np.float32)
    if np.issubdtype(port.dtype, np.complexfloating):
        return rng.random(shape) + 1j * rng.random(shape)
    if rows:
        return rng.integers(0, rows, shape)
    if port.dtype == np.uint8:
        return rng.integers(0, 256, shape)
    if np.issubdtype(port.dtype, np.integer) or port.dtype == np.bool_:
        return np.ones(shape, np.int64)
    raise UserError(f"input {port.name} takes {port}, which cannot be filled with random values; pass examples")
