"""What the outputs of a model are: logits, probabilities of which kind, or other numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tfcompress.answers import End
from tfcompress.errors import UserError
from tfcompress.measure.interpreter import Answers
from tfcompress.models.losses import BinaryCrossentropyOfLabels, CrossEntropy, LabelAccuracy, SquaredError
from tfcompress.models.ranges import Range, range_of_output

Told: TypeAlias = Literal["logits", "probabilities"]
"""What a user can say of a model's outputs."""

_SMALLEST = 1e-9
"""Below it, a probability is taken for this, so that its logarithm is finite."""

_TOLERANCE = 1e-3
"""How far the sum of a row of probabilities may be from 1: a model may round or clip them."""

_EXAMPLES = 16

_Values: TypeAlias = npt.NDArray[np.float64]


class Outputs(StrEnum):
    """What the outputs `(batch, …, classes)` of a model are.

    Attributes:
        LOGITS: real numbers, whose softmax are the probabilities. Logarithms of probabilities are such.
        PROBABILITIES: of classes that exclude each other; each row sums to 1.
        INDEPENDENT_LOGITS: real numbers, whose sigmoids are probabilities of classes that do not exclude each other.
        INDEPENDENT: probabilities of classes that do not exclude each other, as of a sigmoid per class. A single one
            is the probability of the second of two classes.
        NUMBERS: an answer as it is, such as a regression's or an embedding.
    """

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    INDEPENDENT_LOGITS = "independent logits"
    INDEPENDENT = "independent probabilities"
    NUMBERS = "numbers"

    @property
    def are_logits(self) -> bool:
        """Whether a softmax or sigmoid makes probabilities of them."""
        return self in (Outputs.LOGITS, Outputs.INDEPENDENT_LOGITS)

    @property
    def exclude_each_other(self) -> bool:
        """Whether the classes do."""
        return self in (Outputs.LOGITS, Outputs.PROBABILITIES)

    def loss(self) -> tf_keras.losses.Loss:
        """Returns the loss of such outputs `(batch, …, classes)` for labels: a cross-entropy in nats, or squared error.

        Labels are classes `(batch, …)`, or for classes that do not exclude each other also 0 or 1
        `(batch, …, classes)`, or numbers.
        """
        if self is Outputs.NUMBERS:
            return SquaredError()
        kind = CrossEntropy if self.exclude_each_other else BinaryCrossentropyOfLabels
        return kind(from_logits=self.are_logits)

    def metric(self) -> tf_keras.metrics.Metric:
        """Returns what is watched in training for the same labels: accuracy, or of numbers the mean absolute error."""
        if self is Outputs.NUMBERS:
            return tf_keras.metrics.MeanAbsoluteError("mae")
        return LabelAccuracy(0.0 if self.are_logits else 0.5)

    def to_logits(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the numbers whose softmax, or for independent classes whose sigmoid, are the probabilities."""
        if self.are_logits or self is Outputs.NUMBERS:
            return outputs
        logarithm = tf.math.log(tf.maximum(outputs, _SMALLEST))
        if self is Outputs.PROBABILITIES:
            return logarithm
        return logarithm - tf.math.log(tf.maximum(1.0 - outputs, _SMALLEST))

    def to_probabilities(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the probabilities; numbers stay as they are."""
        if self is Outputs.LOGITS:
            return tf.nn.softmax(outputs)
        return tf.sigmoid(outputs) if self is Outputs.INDEPENDENT_LOGITS else outputs


def answers(model: tf_keras.Model, gives: Outputs, names: Sequence[str], batches: Iterable[Any]) -> Answers:
    """Returns what a model answers to batches of features: `(n, …)`, or of several outputs such arrays by name.

    Args:
        model: gives one output, or several in a list.
        gives: what they are; logits become probabilities.
        names: of the outputs.
        batches: of features.
    """
    rows = [
        [np.asarray(gives.to_probabilities(output)) for output in tf.nest.flatten(model(features, training=False))]
        for features in batches
    ]
    found = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
    return found[0] if len(found) == 1 else dict(zip(names, found, strict=True))


def outputs_of(model: tf_keras.Model, features: Any = None, told: str | None = None, end: End = "softmax") -> Outputs:
    """Finds out what a model gives: from its last operations or, if those do not tell, from values.

    Args:
        model: a functional tf_keras model whose first output is `(batch, …, classes)`.
        features: some examples as the model takes them, an array or a dict of arrays by input name; by default random
            ones.
        told: what the user says, one of `Told`.
        end: what turns logits into the answers of its task. A single output is never the end of a softmax.

    Raises:
        UserError: neither operations nor values tell, and the user does not say; or they contradict the user, or
            `told` is something else.
    """
    if told not in (None, *get_args(Told)):
        raise UserError(f"outputs is {told!r}; it must be {' or '.join(get_args(Told))}")
    if end == "none":
        if told is not None:
            raise UserError(f"outputs is {told}, but the answers of this task have no softmax or sigmoid; leave it out")
        return Outputs.NUMBERS
    kind = _of_logits_or_probabilities(model, features, told)
    if end == "softmax" and model.outputs[0].shape[-1] != 1:
        return kind
    return Outputs.INDEPENDENT_LOGITS if kind.are_logits else Outputs.INDEPENDENT


def _of_logits_or_probabilities(model: tf_keras.Model, features: Any, told: str | None) -> Outputs:
    found = range_of_output(model)
    if told is None and found in _CERTAIN:
        return _CERTAIN[found]
    values = _values(model, features)
    kind = _CERTAIN.get(found) or _kind_of(values, found is Range.OF_PROBABILITIES)
    given = f"those of model {model.name} are from {values.min():.3g} to {values.max():.3g}"
    if told == "logits" and kind in (Outputs.PROBABILITIES, Outputs.INDEPENDENT):
        raise UserError(f"outputs is logits, but {given} and are {kind}; say probabilities, or leave it out")
    if told == "probabilities" and not _within_one(values):
        raise UserError(f"outputs is probabilities, but {given}; leave it out, or end the model in a softmax")
    if told is not None:
        return _of_probabilities(values) if told == "probabilities" else Outputs.LOGITS
    if kind is None:
        raise UserError(
            f"it cannot be told whether the outputs are logits or probabilities: {given} and do not sum to 1; say it "
            'by outputs="logits" or outputs="probabilities", in a recipe by `model: {outputs: logits}`'
        )
    return kind


_CERTAIN = {
    Range.SUMS_TO_ONE: Outputs.PROBABILITIES,
    Range.UP_TO_ONE: Outputs.INDEPENDENT,
    Range.UNBOUNDED: Outputs.LOGITS,
}


def _kind_of(values: _Values, of_probabilities: bool) -> Outputs | None:
    """Returns what values are, or None if they could be logits as well as probabilities."""
    if not _within_one(values):
        return None if of_probabilities and values.min() >= 0 else Outputs.LOGITS
    kind = _of_probabilities(values)
    return kind if of_probabilities or kind is Outputs.PROBABILITIES else None


def _of_probabilities(values: _Values) -> Outputs:
    sums_to_one = (np.abs(values.sum(-1) - 1) < _TOLERANCE).all()
    return Outputs.PROBABILITIES if sums_to_one else Outputs.INDEPENDENT


def _within_one(values: _Values) -> bool:
    return bool(values.min() >= -_TOLERANCE and values.max() <= 1 + _TOLERANCE)


def _values(model: tf_keras.Model, features: Any) -> _Values:
    """Returns the outputs `(examples, classes)` for examples, and for others with their numbers in random places."""
    rng = np.random.default_rng(0)
    if features is None:
        features = {x.node.layer.name: _random(x, rng) for x in model.inputs}
    named = features if isinstance(features, Mapping) else {model.input_names[0]: features}
    given = {name: np.asarray(named[name])[:_EXAMPLES] for name in model.input_names}
    mixed = {name: rng.permuted(x.ravel()).reshape(x.shape) for name, x in given.items()}
    return np.concatenate([_run(model, examples) for examples in (given, mixed)]).astype(np.float64)


def _run(model: tf_keras.Model, examples: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    tensors = [tf.constant(examples[name]) for name in model.input_names]
    return np.asarray(tf.nest.flatten(model(tensors[0] if len(tensors) == 1 else tensors, training=False))[0])


def _random(x: tf_keras.KerasTensor, rng: np.random.Generator) -> npt.NDArray[Any]:
    shape = (_EXAMPLES, *x.shape[1:])
    return rng.uniform(size=shape).astype(np.float32) if x.dtype.is_floating else np.ones(shape, x.dtype.as_numpy_dtype)
