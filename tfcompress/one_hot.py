"""Losses and metrics that take one-hot vectors, made to take integer labels like all others.

Nothing in a loss says which of the two it takes, and many accept both: integer labels are broadcast, and the result is
wrong without an error. So each is called with a few answers, of which one at a time is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError, first_line

Metric: TypeAlias = str | tf_keras.metrics.Metric

_BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")
"""Names for which Keras chooses a metric that fits the labels."""

_NOISE = 1e-6
"""Smaller differences, relative to the value, are rounding."""


def loss_of_labels(loss: tf_keras.losses.Loss, classes: int) -> tf_keras.losses.Loss:
    """Returns a loss that takes integer labels: the one given, or `OneHotLoss` around it.

    Raises:
        UserError: with neither integer labels nor one-hot vectors, a wrong answer costs more than a right one.
    """
    if classes < 2:
        return loss  # There are no wrong answers.
    trials = {one_hot: _tried(lambda y, p: loss(y, p), classes, one_hot) for one_hot in (False, True)}
    for one_hot, trial in trials.items():
        if trial.rises:
            return OneHotLoss(loss, classes) if one_hot else loss
    raise UserError(
        f"loss: {type(loss).__name__} takes neither integer labels ({trials[False].problem}) nor one-hot vectors of "
        f"{classes} classes ({trials[True].problem}); pass a loss that is lower for right answers, such as those of "
        "tf_keras.losses for classification"
    )


def metric_of_labels(metric: Metric, classes: int) -> Metric:
    """Returns a metric that takes integer labels: the one given, or `OneHotMetric` around it.

    Raises:
        UserError: it is unknown, cannot be copied, fails with both, or gives several numbers.
    """
    if metric in _BY_SHAPE:
        return metric
    found = _metric(metric)
    name = metric if isinstance(metric, str) else type(metric).__name__

    def measured(y: tf.Tensor, p: tf.Tensor) -> Any:
        copy = fresh(found)
        copy.update_state(y, p)
        return copy.result()

    trials = {one_hot: _tried(measured, classes, one_hot) for one_hot in (True, False)}
    for one_hot, trial in sorted(trials.items(), key=lambda item: not item[1].changes):
        if trial.error is None:
            made = OneHotMetric(found, classes) if one_hot else found
            _check_result(made, classes, name)
            return made
    raise UserError(
        f"metrics: {name} takes neither integer labels ({trials[False].problem}) nor one-hot vectors of {classes} "
        f"classes ({trials[True].problem}); pass another metric of tf_keras.metrics"
    )


def fresh(metric: Metric) -> Any:
    """Returns a copy of a metric in its initial state."""
    if isinstance(metric, str):
        return metric
    if isinstance(metric, OneHotMetric):
        return OneHotMetric(fresh(metric.given), metric.classes)
    return type(metric).from_config(metric.get_config())


def as_given(part: Any) -> Any:
    """Returns the loss or metric that the user gave, of one that was put around it."""
    return part.given if isinstance(part, Around) else part


class Around:
    """What is put around a loss or metric that the user gave."""

    given: Any


class OneHotLoss(tf_keras.losses.Loss, Around):
    """A loss of one-hot vectors that takes integer labels.

    Args:
        given: takes one-hot vectors, float32 `(batch, classes)`.
        classes: their number.
    """

    def __init__(self, given: tf_keras.losses.Loss, classes: int) -> None:
        super().__init__(given.reduction, given.name)
        self.given, self.classes = given, classes

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return self.given.call(_vectors(y_true, self.classes), y_pred)


class OneHotMetric(tf_keras.metrics.Metric, Around):
    """A metric of one-hot vectors that takes integer labels.

    Args:
        given: takes one-hot vectors, float32 `(batch, classes)`.
        classes: their number.
    """

    def __init__(self, given: tf_keras.metrics.Metric, classes: int) -> None:
        super().__init__(given.name)
        self.given, self.classes = given, classes

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> Any:
        return self.given.update_state(_vectors(y_true, self.classes), y_pred, sample_weight)

    def result(self) -> tf.Tensor:
        return self.given.result()

    def reset_state(self) -> None:
        self.given.reset_state()


@dataclass(frozen=True)
class _Trial:
    """Values for right answers only, then with each answer wrong in turn; or what went wrong."""

    values: npt.NDArray[np.float64]
    error: Exception | None = None

    @property
    def rises(self) -> bool:
        """Whether each wrong answer makes the value larger."""
        right = self.values[:1]
        return self.error is None and bool(np.all(self.values[1:] - right > _NOISE * np.abs(right)))

    @property
    def changes(self) -> bool:
        """Whether each wrong answer makes the value larger, or each makes it smaller."""
        return self.rises or _Trial(-self.values, self.error).rises

    @property
    def problem(self) -> str:
        return "wrong answers do not cost more" if self.error is None else first_line(self.error).rstrip(".")[:150]


def _tried(function: Callable[[tf.Tensor, tf.Tensor], Any], classes: int, one_hot: bool) -> _Trial:
    """Evaluates a function of targets and predictions as training would: on integers `(n, 1)` or vectors."""
    number = 3 if classes != 3 else 4  # Another number than that of the classes, or shapes could fit by chance.
    labels = np.arange(number, dtype=np.intp) % classes
    targets = tf.one_hot(labels, classes) if one_hot else tf.constant(labels[:, None], tf.int32)
    wrong = (labels + 1) % classes
    right = np.stack([_probabilities(classes, *pair) for pair in zip(labels, wrong, strict=True)])
    predictions = [right]
    for place, pair in enumerate(zip(wrong, labels, strict=True)):
        predictions.append(right.copy())
        predictions[-1][place] = _probabilities(classes, *pair)
    try:
        values = [_number(function(targets, tf.constant(p))) for p in predictions]
    except Exception as error:
        return _Trial(np.zeros(0), error)
    return _Trial(np.array(values))


def _probabilities(classes: int, first: np.intp, last: np.intp) -> npt.NDArray[np.float32]:
    """Returns probabilities `(classes,)`, the largest of class `first` and the smallest of class `last`.

    All contain the same numbers, so that what ignores their order gives the same for all.
    """
    found = np.full(classes, 0.2 / classes, np.float32)
    found[first], found[last] = 0.8, 0.1 / classes
    return found


def _number(result: Any) -> float:
    """Returns the mean of all numbers that a loss or a metric gives."""
    return float(np.mean([np.mean(value) for value in tf.nest.flatten(result)]))


def _check_result(metric: tf_keras.metrics.Metric, classes: int, name: str) -> None:
    """Raises a `UserError` if a metric gives an array: the history of training holds numbers."""
    copy = fresh(metric)
    copy.update_state(tf.zeros((1, 1), tf.int32), tf.fill((1, classes), 1 / classes))
    for result in tf.nest.flatten(copy.result()):
        if np.size(result) != 1:
            raise UserError(
                f"metrics: {name} gives {np.size(result)} numbers; pass a metric that gives one, such as F1Score with "
                "average='macro'"
            )


def _metric(metric: Metric) -> tf_keras.metrics.Metric:
    """Returns the metric of a name, and checks that it can be copied and gives one number.

    Raises:
        UserError: see `metric_of_labels`.
    """
    if isinstance(metric, str):
        try:
            found = tf_keras.metrics.get(metric)
        except ValueError:
            found = None
        if not callable(found):
            raise UserError(
                f"metrics: {metric!r} is not the name of a metric in tf_keras.metrics; accuracy is one, for instance"
            )
        if isinstance(found, tf_keras.metrics.Metric):
            return found
        return tf_keras.metrics.MeanMetricWrapper(found, name=metric)
    try:
        fresh(metric)
    except Exception as error:
        raise UserError(
            f"metrics: {type(metric).__name__} cannot be copied, which each stage needs: {first_line(error)}; give it "
            "a get_config that returns the arguments of its constructor"
        ) from error
    return metric


def _vectors(labels: tf.Tensor, classes: int) -> tf.Tensor:
    """Returns one-hot vectors `(batch, classes)` for labels `(batch,)` or `(batch, 1)`."""
    return tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), classes)
