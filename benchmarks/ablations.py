"""Measures what the defaults rest on: one setting changed at a time, beside the row that has them all.

Without training, on DeiT-Tiny with its ImageNet weights, whose pictures may not be shipped. Each row's figures are kept
in one JSON file when they are there; a row that has some is not run again, nor is a row of the file that --save names.

python -m benchmarks.ablations --folder=DEIT_TINY --pictures=VALIDATION --calibration=PICTURES \
  --save=benchmarks/results/ablations.json --table=docs/results.md
python -m benchmarks.ablations --render --save=benchmarks/results/ablations.json --table=docs/results.md
python -m benchmarks.ablations --quick    # random models and data, whose figures mean nothing
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt
from absl import app, flags

from benchmarks.ablations_rows import FREE, MOST_EXAMPLES, TRAINED, Free, Row
from benchmarks.costs import sizes
from benchmarks.program import QUICK, Program
from benchmarks.rows import Result, heading, markdown
from benchmarks.training_free_tasks import VIT, Features, Task, outputs_of, prepare_quick, prepare_vit
from tfcompress.files import atomic_write, write_json
from tfcompress.measure import environment
from tfcompress.measure.divergence import Mean, divergence
from tfcompress.measure.quality import Quality, change, quality

_FOLDER = flags.DEFINE_string("folder", None, "The Hugging Face folder of DeiT-Tiny.")
_PICTURES = flags.DEFINE_string("pictures", None, "Labelled pictures: a folder with one sub-folder per class.")
_CALIBRATION = flags.DEFINE_string("calibration", None, "A folder of unlabelled pictures, 1,000 or more.")
_FASHION = flags.DEFINE_string(
    "fashion", None, "The folder of Fashion-MNIST's files; by default where Debian has them."
)
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of training and centroids.")

_ROWS: dict[str, Row] = {**FREE, **TRAINED}

Outputs = npt.NDArray[np.floating]
"""Of a row's files, `(seeds, examples, classes)`."""


class Ground(Protocol):
    """Makes the files of a group of rows, and says what they are measured on.

    Attributes:
        base: the row of the float32 files.
        seeds: each row has a file for each.
        examples: features without a batch axis by input name.
        labels: their classes `(examples,)`.
    """

    base: str

    @property
    def seeds(self) -> Sequence[int]: ...
    @property
    def examples(self) -> Sequence[Features]: ...
    @property
    def labels(self) -> npt.NDArray[np.integer]: ...
    def content(self, name: str, seed: int) -> bytes:
        """Makes the file of a row."""


def _run(name: str, output: Path) -> None:
    """Makes the files of a row, measures them, and writes down what was found."""
    ground = _ground(name in FREE, output)
    for needed in (ground.base, _ROWS[name].reference or name, name):
        _make(needed, output, ground)
    write_json(output / f"{name}.json", {"date": environment.now(), **_measured(name, output, ground)})


def _ground(free: bool, output: Path) -> Ground:
    if free:
        if QUICK.value:
            prepare_quick(output, [VIT])
        elif not Task.of(output / VIT).ready:
            prepare_vit(output / VIT, Path(_FOLDER.value), Path(_PICTURES.value), _CALIBRATION.value, MOST_EXAMPLES)
        return Free(Task.of(output / VIT))
    from benchmarks.ablations_trained import Trained  # Imports TensorFlow.

    folder = output / "stages"
    if QUICK.value:
        return Trained.quick(folder)
    return Trained.of(folder, Path(_FASHION.value) if _FASHION.value else None, [int(seed) for seed in _SEEDS.value])


def _make(name: str, output: Path, ground: Ground) -> None:
    """Makes the files of a row and runs them, unless their outputs are kept."""
    kept_outputs = output / f"{name}.npy"
    if kept_outputs.is_file():
        return
    outputs = []
    for seed in ground.seeds:
        file = output / f"{name}-{seed}.tflite"
        file.write_bytes(ground.content(name, seed))
        outputs.append(outputs_of(file, ground.examples))
    with atomic_write(kept_outputs) as beside, beside.open("wb") as opened:
        np.save(opened, np.stack(outputs))


def _measured(name: str, output: Path, ground: Ground) -> Result:
    """Compares a row with float32 for each seed, and with its reference for each picture's mean over the seeds."""
    from tfcompress.data.tasks import Classification  # Imports TensorFlow.

    row = _ROWS[name]
    metric = Classification().metrics(ground.labels)[0]
    expected, found = (np.load(output / f"{one}.npy") for one in (ground.base, name))
    before, after = ([metric.scores(ground.labels, one) for one in outputs] for outputs in (expected, found))
    lost = _divergence(found, expected)
    result = {
        "base": ground.base,
        "ablation": row.ablation,
        "value": row.value,
        "seeds": list(ground.seeds),
        "files": [sizes(output / f"{name}-{seed}.tflite") for seed in ground.seeds],
        "quality": [vars(quality(metric, scores)) for scores in after],
        "change": [vars(change(metric, *both)) for both in zip(before, after, strict=True)],
        "divergence": vars(Mean.of(lost)),
    }
    if row.reference:
        other = np.load(output / f"{row.reference}.npy")
        usual = np.array([metric.scores(ground.labels, one) for one in other])
        flips = usual.astype(int) - np.array(after)
        result["beside"] = {
            "row": row.reference,
            "divergence": vars(Mean.of(lost - _divergence(other, expected))),
            "top-1": vars(Mean.of(-flips.mean(axis=0))),
            "lost": int((flips > 0).sum()),
            "gained": int((flips < 0).sum()),
        }
    return result


def _divergence(found: Outputs, expected: Outputs) -> npt.NDArray[np.float64]:
    """Returns the divergence of each example `(examples,)`, the mean over the seeds."""
    return np.asarray(np.mean([divergence(*both) for both in zip(found, expected, strict=True)], axis=0))


def _table(found: Mapping[str, Result]) -> str:
    """Returns the circumstances in a line, and a Markdown table for each model."""
    columns = (
        "top-1 of each seed (95 %)", "lost / gained", "KL from float32 (95 %)", "zipped", "KL less the defaults'",
        "top-1 less the defaults'", "lost / gained against the defaults",
    )  # fmt: skip
    tables = [
        markdown((base, "value", *columns), [_cells(row) for row in found["rows"].values() if row["base"] == base])
        for base in dict.fromkeys(row["base"] for row in found["rows"].values())
    ]
    libraries = ("tensorflow", "tensorflow-model-optimization", "ai-edge-litert")
    return "\n\n".join([heading(found, libraries, timed=False), *tables])


def _cells(row: Result) -> list[str]:
    beside = row.get("beside")
    return [
        row["ablation"],
        row["value"],
        "; ".join(str(Quality(**one)) for one in row["quality"]),
        "; ".join("{lost} / {gained} (p {p_value:.2g})".format(**one) for one in row["change"]),
        "{value:.4f} ({low:.4f}-{high:.4f})".format(**row["divergence"]),
        f"{np.mean([file['zipped'] for file in row['files']]):,.0f}",
        "{value:+.4f} ({low:+.4f} to {high:+.4f})".format(**beside["divergence"]) if beside else "",
        _points(beside["top-1"]) if beside else "",
        f"{beside['lost']} / {beside['gained']}" if beside else "",
    ]


def _points(mean: Mapping[str, float]) -> str:
    value, low, high = (100 * mean[key] for key in ("value", "low", "high"))
    return f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


PROGRAM = Program(
    name="ablations",
    shown="the table of ablations",
    command="python -m benchmarks.ablations --folder=DEIT_TINY --pictures=VALIDATION --calibration=PICTURES",
    rows=list(_ROWS),
    run=_run,
    tables=_table,
    quick=(("16-damping-0.1", "cluster-16"), 9),  # without those that they are compared with
)

if __name__ == "__main__":
    app.run(PROGRAM.main)
