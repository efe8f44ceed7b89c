"""A model's losses on the same examples under one change after another, each kept in a folder."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.data.dataset import Dataset
from tfcompress.models.outputs import Outputs
from tfcompress.study.kept import Kept

_BATCH = 64


@dataclass(frozen=True)
class Outcome:
    """For each example, the cross-entropy in nats, see `Outputs.loss`, and whether it is classified correctly."""

    losses: list[float]
    correct: list[bool]

    @property
    def loss(self) -> float:
        """The mean of the losses."""
        return float(np.mean(self.losses))


class Outcomes:
    """Measures outcomes on the first validation examples; the model is compiled for them once."""

    def __init__(self, model: tf_keras.Model, outputs: Outputs, data: Dataset, examples: int, folder: Path) -> None:
        self._batches = list(data.examples("validation").take(examples).batch(_BATCH))
        self._kept = Kept(folder, Outcome)
        self._loss = outputs.loss()
        self._predict = tf.function(lambda features: model(features, training=False), reduce_retracing=True)
        self.examples = sum(len(labels) for _, labels in self._batches)

    def digest(self) -> str:
        """Returns the sha256 of the examples."""
        digest = hashlib.sha256()
        for tensor in tf.nest.flatten(self._batches):
            digest.update(tensor.numpy().tobytes())
        return digest.hexdigest()

    def of(self, key: str, change: AbstractContextManager[None] | None = None) -> Outcome:
        """Returns the outcome under `change`, which is not entered if an earlier call kept the outcome under `key`."""

        def measured() -> Outcome:
            with change or nullcontext():
                return self._measured()

        return self._kept.of(key, measured)

    def _measured(self) -> Outcome:
        outcome = Outcome([], [])
        for features, labels in self._batches:
            outputs = self._predict(features)
            losses = self._loss.call(labels, outputs)
            outcome.losses.extend(losses.numpy().tolist())
            outcome.correct.extend((outputs.numpy().argmax(1) == labels.numpy()).tolist())
        return outcome
