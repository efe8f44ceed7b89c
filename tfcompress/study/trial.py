"""One trial of a search: makes the file of a recipe, judges it on the validation split, and measures what it costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import tf_keras

from tfcompress.errors import UserError
from tfcompress.measure import environment
from tfcompress.measure.interpreter import predict_all
from tfcompress.measure.latency import latencies
from tfcompress.measure.memory import memory
from tfcompress.measure.quality import Quality, judge, quality
from tfcompress.measure.size import size
from tfcompress.progress import track
from tfcompress.runs.base import load_data
from tfcompress.runs.exporting import ExportedFile, export_stage
from tfcompress.runs.pipeline import chain_of
from tfcompress.runs.recipe import Export, Recipe
from tfcompress.runs.stages import BASE, Stage
from tfcompress.study.sharing import copy_stages

Cost = Literal["bytes", "download", "latency", "memory"]
"""What a file costs: its bytes, the same zipped, the time of an inference, and the memory that this adds."""

COSTS: tuple[Cost, ...] = get_args(Cost)

Losses = Mapping[str, Sequence[float]]
"""The validation loss after each epoch, by technique."""


@dataclass(frozen=True)
class Trial:
    """What is to be tried; it can be sent to another process.

    Attributes:
        recipe: with its values chosen.
        workdir: the trial's own folder.
        made: the stages that other runs have finished, see `tfcompress.study.sharing`.
        costs: what is measured.
        reference: the base model's file; latencies are ratios to its.
        misses: the losses of earlier trials that missed the budget. One that is worse is stopped.
    """

    recipe: Recipe
    workdir: Path
    made: Mapping[str, Path]
    costs: tuple[Cost, ...]
    reference: Path | None = None
    misses: Sequence[Losses] = ()


@dataclass(frozen=True)
class Outcome:
    """What a trial found.

    Attributes:
        state: `stopped` trials were poor, `failed` ones cannot be made.
        quality: the task's first figure on the validation split.
        costs: of the file. `latency` is a ratio, `memory` are bytes above an empty interpreter.
        file: its path below the trial's folder.
        losses: on the validation split.
        reason: why it failed.
        seconds: how long it took.
        processor: that measured the costs, as the system calls it.
    """

    state: Literal["complete", "stopped", "failed"]
    quality: Quality | None = None
    costs: dict[str, float] = field(default_factory=dict)
    file: str = ""
    losses: dict[str, list[float]] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0
    processor: str = ""


def make_trial(trial: Trial) -> Outcome:
    """Makes a trial. If an earlier call was killed, it resumes where that stopped."""
    started, losses = time.monotonic(), dict[str, list[float]]()

    def watch(technique: str, rows: Sequence[Mapping[str, float]]) -> None:
        losses[technique] = _validation(rows)
        if trial.misses:
            from tfcompress.study.stopping import is_poor  # takes a second to import

            if is_poor(losses[technique], [one[technique] for one in trial.misses if technique in one]):
                raise _PoorError

    copy_stages(trial.recipe, trial.workdir, trial.made)
    try:
        chain = replace(chain_of(trial.recipe, load_data(trial.recipe), trial.workdir), watch=watch)
        for stage in chain.stages(lambda *_: None):
            if stage.name != BASE and stage.history:  # also of a stage that was made before
                losses[stage.name] = _validation(stage.history)
        outcome = measured(last_file(stage, trial.recipe.export, trial.workdir), trial.costs, trial.reference)
        outcome = replace(outcome, losses=losses)
    except _PoorError:
        outcome = Outcome("stopped", losses=losses)
    except UserError as error:
        outcome = Outcome("failed", losses=losses, reason=str(error))
    finally:
        tf_keras.backend.clear_session()  # Otherwise the memory of all models adds up.
    return replace(outcome, seconds=time.monotonic() - started)


def _judged(file: ExportedFile) -> Quality:
    """Returns the task's first figure of a file on the validation split."""
    data = file.stage.data
    labels = data.labels["validation"]
    metric = data.task.metrics(labels)[0]
    examples = (features for features, _ in data.examples("validation").as_numpy_iterator())
    outputs = predict_all(file.path, track(examples, "judging", data.size("validation")))
    (scores,) = judge([metric], labels, outputs, str(file.path))
    return quality(metric, scores)


def measured(file: ExportedFile, costs: Sequence[Cost], reference: Path | None = None) -> Outcome:
    """Judges a file on the validation split, and measures what it costs.

    Args:
        file: of the last stage of a run.
        costs: which are measured.
        reference: the file to whose latency its own is a ratio, by default itself.

    Raises:
        UserError: a cost cannot be measured here.
    """
    bytes_of = size(file.path)
    found: dict[str, float] = {"bytes": bytes_of.raw, "download": bytes_of.gzip}
    if "latency" in costs:
        example = next(file.stage.data.examples("validation").take(1).as_numpy_iterator())[0]
        files = {"reference": reference or file.path, "file": file.path}
        found["latency"] = latencies(files, dict.fromkeys(files, example))["file"].ratio
    if "memory" in costs:
        taken, why = memory(file.path)
        if taken is None:
            raise UserError(f"memory cannot be measured: {why}; search for another goal")
        found["memory"] = taken.above_empty
    name, processor = f"tflite/{file.path.name}", str(environment.machine()["processor"])
    return Outcome("complete", _judged(file), {cost: found[cost] for cost in costs}, name, processor=processor)


def last_file(stage: Stage, export: Export, workdir: Path) -> ExportedFile:
    """Writes the files of a run's last stage and returns the one that counts: the last, packed if it can be."""
    return export_stage(stage, export, workdir)[-1]


def _validation(rows: Sequence[Mapping[str, float]]) -> list[float]:
    return [row["val_loss"] for row in rows]


class _PoorError(Exception):
    """The trial is stopped."""
