"""Takes a model through one technique, as the pipeline does, and scores it."""

from __future__ import annotations

from pathlib import Path

import tf_keras

from tfcompress.data.dataset import Dataset
from tfcompress.models.outputs import outputs_of
from tfcompress.optimize.technique import Context, Technique, restore_trainable
from tfcompress.training import Objective, fit
from tfcompress.traits import Traits, check_model, measure_model

from .answers import answers


def apply(
    technique: Technique, model: tf_keras.Model, data: Dataset, folder: Path, traits: Traits | None = None
) -> tuple[tf_keras.Model, Traits]:
    """Returns the finished model and its traits, which have been checked."""
    traits = measure_model(model) if traits is None else traits
    steps = technique.fit.epochs * data.steps_per_epoch(technique.fit.batch_size) if technique.fit else 0
    wrapped = technique.prepare(model, Context(data, traits, steps))
    if technique.fit:
        objective = Objective(outputs=outputs_of(model))
        fit(wrapped, data, technique.fit, objective, 0, folder / technique.name, technique.callbacks())
    promised = technique.measured(wrapped, technique.promises(model, traits))
    finished = technique.finalize(wrapped)
    restore_trainable(finished, model)
    check_model(finished, promised, model)
    return finished, promised


def accuracy(model: tf_keras.Model, data: Dataset) -> float:
    """Returns the top-1 on the test split."""
    found = answers(model, data.batches("test", 64)).argmax(1)
    return float((found == data.labels["test"]).mean())
