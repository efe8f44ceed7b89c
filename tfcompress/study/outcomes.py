"""A model's losses on the same examples under one change after another, each kept in a folder."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.data.dataset import Dataset
from tfcompress.measure.quality import judge
from tfcompress.models.outputs import Outputs
from tfcompress.study.kept import Kept

_BATCH = 64


@dataclass(frozen=True)
class Outcome:
    """The loss of each example, and the scores of each case by the task's first metric; see `Metric`."""

    losses: list[float]
    scores: list[Any]

    @property
    def loss(self) -> float:
        """The mean of the losses."""
        return float(np.mean(self.losses))


class Outcomes:
    """Measures outcomes on the first validation examples; the model is compiled for them once.

    Args:
        model: of the outputs.
        gives: what its outputs are.
        data: as the model takes them.
        examples: how many.
        folder: keeps the outcomes.

    Attributes:
        examples: how many there are.
        metric: the task's first.
    """

    def __init__(self, model: tf_keras.Model, gives: Outputs, data: Dataset, examples: int, folder: Path) -> None:
        self._batches = list(data.examples("validation").take(examples).batch(_BATCH))
        self._labels = np.concatenate([labels.numpy() for _, labels in self._batches])
        self._kept = Kept(folder, Outcome)
        self._gives, self._loss = gives, gives.loss()
        self._predict = tf.function(lambda features: model(features, training=False), reduce_retracing=True)
        self._whose = f"model {model.name}"
        self.examples = len(self._labels)
        self.metric = data.task.metrics(self._labels)[0]

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
        losses, outputs = [], []
        for features, labels in self._batches:
            outputs.append(self._predict(features))
            of_batch = self._loss.call(labels, outputs[-1]).numpy()  # of tokens, one each
            losses.append(of_batch.reshape(len(of_batch), -1).mean(axis=1))
        answers = np.asarray(self._gives.to_probabilities(np.concatenate(outputs)))
        (scores,) = judge([self.metric], self._labels, answers, self._whose)
        return Outcome(np.concatenate(losses).tolist(), scores.tolist())
