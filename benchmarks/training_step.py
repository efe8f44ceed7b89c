"""Measures what a training step costs with each technique: processor time and memory, beside a plain step.

For the times, all variants take turns in one process with one thread, in a rotating order, so that noise affects them
equally. For the memory, each variant trains for a few steps in a process of its own.

python -m benchmarks.training_step --save=benchmarks/results/training_step.json --table=docs/results.md
python -m benchmarks.training_step --render --save=benchmarks/results/training_step.json --table=docs/results.md
python -m benchmarks.training_step --quick    # a tiny model and two rounds, whose figures mean nothing
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"

import numpy as np
import tf_keras
from absl import app, flags

from benchmarks.peers import peak_rss
from benchmarks.rows import Result, circumstances, heading, markdown, show
from tfcompress import Cluster, Dataset, Distil, Prune, Quantize, Training
from tfcompress.files import read_json, write_json
from tfcompress.measure import environment
from tfcompress.models import presets
from tfcompress.optimize.technique import Context, ModelAndData, Technique
from tfcompress.training import Objective, compile_model, fit, make_repeatable
from tfcompress.traits import Traits, check_model, measure_model

_PRESET = flags.DEFINE_enum("preset", "vit_fashion_mnist", list(presets.VIT_PRESETS), "Preset of the model.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Examples per step.")
_ROUNDS = flags.DEFINE_integer("rounds", 30, "Number of steps per variant.")
_SAVE = flags.DEFINE_string("save", None, "Write the figures to this JSON file.")
_TABLE = flags.DEFINE_string("table", None, "Put the table between the markers of this Markdown file.")
_RENDER = flags.DEFINE_boolean("render", False, "Only put the table of --save into the page --table.")
_QUICK = flags.DEFINE_boolean("quick", False, "Train a tiny model for two rounds, to see that all works.")
_CHILD = flags.DEFINE_string("child", None, "Used by the program itself: the variant to train in this process.")

_NAME = "the table of training steps"
"""Of the table between its markers."""
_COMMAND = "python -m benchmarks.training_step"
_WARM_UP = 3
"""Rounds before those that count."""
_ONE_EPOCH = Training(epochs=1, batch_size=32)
_CHAINS: dict[str, tuple[Technique, ...]] = {
    "plain": (),
    "distil": (Distil(fit=_ONE_EPOCH),),
    "prune": (Prune(fit=_ONE_EPOCH),),
    "cluster": (Cluster(fit=_ONE_EPOCH),),
    "cluster, zeros kept": (Prune(schedule="constant", fit=_ONE_EPOCH), Cluster(fit=_ONE_EPOCH)),
    "QAT": (Quantize(fit=_ONE_EPOCH),),
    "PQAT": (Prune(schedule="constant", fit=_ONE_EPOCH), Quantize(fit=_ONE_EPOCH)),
    "CQAT": (Cluster(fit=_ONE_EPOCH), Quantize(fit=_ONE_EPOCH)),
    "PCQAT": (Prune(schedule="constant", fit=_ONE_EPOCH), Cluster(fit=_ONE_EPOCH), Quantize(fit=_ONE_EPOCH)),
}
_QUICK_CHAINS = ("plain", "distil")

Step = Callable[[], object]


def main(arguments: Sequence[str]) -> None:
    """Measures all variants, and prints the table."""
    if arguments[1:]:
        raise app.UsageError(f"unknown arguments {arguments[1:]}")
    if _CHILD.value:
        with TemporaryDirectory() as folder:
            step = _steps([_CHILD.value], Path(folder))[_CHILD.value]
            for _ in range(_WARM_UP):
                step()
        print(peak_rss())
        return
    found = read_json(Path(_SAVE.value)) if _RENDER.value else _measured()
    if _QUICK.value:
        print(f"{len(found['rows'])} variants were measured; the figures mean nothing and are not shown")
        return
    if _SAVE.value:
        write_json(Path(_SAVE.value), found)
    show(_table(found), _NAME, _TABLE.value)


def _measured() -> Result:
    names = _QUICK_CHAINS if _QUICK.value else tuple(_CHAINS)
    with TemporaryDirectory() as folder:
        taken = _seconds(_steps(names, Path(folder)), 2 if _QUICK.value else _ROUNDS.value)
    rows = {}
    for name in names:
        low, median, high = np.quantile(taken[name] / taken["plain"], [0.1, 0.5, 0.9])
        rows[name] = {"low": low, "ratio": median, "high": high}
        if not _QUICK.value:
            rows[name]["memory"] = _peak(name)
    about = {"preset": _PRESET.value, "batch_size": _BATCH_SIZE.value, "rounds": _ROUNDS.value}
    return {**circumstances([{"date": environment.now()}], _COMMAND, {}), **about, "rows": rows}


def _seconds(steps: Mapping[str, Step], rounds: int) -> dict[str, np.ndarray]:
    """Returns the seconds of processor time of each variant's steps, which take turns, by name."""
    taken: dict[str, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for number in range(-_WARM_UP, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            start = time.process_time()
            steps[name]()
            if number >= 0:
                taken[name].append(time.process_time() - start)
    return {name: np.array(seconds) for name, seconds in taken.items()}


def _peak(name: str) -> int:
    """Returns the peak of memory in bytes of a process that trains this variant."""
    options = [f"--{flag}={value}" for flag, value in (("preset", _PRESET.value), ("batch_size", _BATCH_SIZE.value))]
    command = [sys.executable, "-m", "benchmarks.training_step", f"--child={name}", *options]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _steps(names: Iterable[str], folder: Path) -> dict[str, Step]:
    """Returns a function for each variant that makes one step."""
    make_repeatable(0)
    size = presets.VIT_PRESETS[_PRESET.value].image_size
    plain = presets.build(_PRESET.value, 10, **({"depth": 1} if _QUICK.value else {}))
    data = _random_images(size, 64)
    batch = next(_random_images(size, _BATCH_SIZE.value).batches("train", _BATCH_SIZE.value).as_numpy_iterator())
    return {name: _step(plain, _CHAINS[name], data, batch, folder / name) for name in names}


def _step(
    model: tf_keras.Model, chain: Sequence[Technique], data: Dataset, batch: tuple[Any, Any], folder: Path
) -> Step:
    """Returns the step of the last technique of a chain, after a short training with each earlier one."""
    steps = 1 if _QUICK.value else 1000  # A training of few steps is not traced, which takes seconds.
    base = ModelAndData(model, data)
    traits: Traits = measure_model(model)
    for technique in chain:
        assert technique.fit is not None
        context = Context(data, traits, steps, earlier={"base": base}, folder=folder / "teacher")
        wrapped = technique.prepare(model, context)
        if technique is chain[-1]:
            images, labels = batch
            lesson = technique.lesson(wrapped, context)
            targets = labels
            if lesson is not None:
                places = np.arange(len(labels)) % data.size("train")
                targets = lesson.targets("train", images, labels, places)
            compile_model(wrapped, technique.fit, lesson.objective if lesson else Objective(), steps)
            for callback in technique.callbacks():
                callback.set_model(wrapped)
                callback.on_train_begin()
            return lambda: wrapped.train_on_batch(images, targets)
        fit(
            wrapped, data, technique.fit, Objective(), 0, folder / technique.name, technique.callbacks(), technique.name
        )
        finished = technique.finalize(wrapped)
        traits = technique.promises(model, traits)
        check_model(finished, traits, model)
        model = finished
    compile_model(model, _ONE_EPOCH, Objective(), steps)
    return lambda: model.train_on_batch(*batch)


def _random_images(size: int, count: int) -> Dataset:
    rng = np.random.default_rng(0)
    split = rng.random((count, size, size, 3), np.float32), rng.integers(0, 10, count)
    return Dataset.from_arrays("random", [str(i) for i in range(10)], split, split, split)


def _table(found: Mapping[str, Any]) -> str:
    """Returns the circumstances in a line, and a Markdown table."""
    plain = found["rows"]["plain"]["memory"]
    lines = [
        [
            name,
            f"{row['ratio']:.2f}",
            f"{row['low']:.2f}-{row['high']:.2f}",
            f"{(row['memory'] - plain) / 2**20:+.0f} MiB" if name != "plain" else f"{plain / 2**20:.0f} MiB",
        ]
        for name, row in found["rows"].items()
    ]
    columns = ("technique", "time / plain step", f"10 % to 90 % of {found['rounds']} rounds", "memory")
    return f"{heading(found, ('tensorflow', 'tensorflow-model-optimization'))}\n\n{markdown(columns, lines)}"


if __name__ == "__main__":
    app.run(main)
