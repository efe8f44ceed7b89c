"""Several outputs of a model as one, which is what tf_keras gives to a loss, and taken apart again for the user's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError
from tfcompress.one_hot import Around, Metric, fresh


@dataclass(frozen=True)
class Joint:
    """How several outputs lie in one, float32 `(batch, numbers)`: one behind the other, each flattened.

    Attributes:
        names: of the outputs.
        shapes: of each for one example.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, model: tf_keras.Model, names: Sequence[str]) -> Joint | None:
        """Returns how the outputs of a functional model lie in one; None if it has one."""
        if len(model.outputs) == 1:
            return None
        return cls(tuple(names), tuple(tuple(output.shape[1:]) for output in model.outputs))

    def joined(self, model: tf_keras.Model) -> tf_keras.Model:
        """Returns a model of the same layers with one output."""
        flat = [tf.reshape(tf.cast(x, tf.float32), (-1, math.prod(x.shape[1:]))) for x in model.outputs]
        return tf_keras.Model(model.inputs, tf.concat(flat, axis=-1), name=model.name)

    def split(self, joined: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the outputs by name, each float32 `(batch, …)`."""
        parts = tf.split(joined, [math.prod(shape) for shape in self.shapes], axis=-1)
        return {
            name: tf.reshape(part, (-1, *shape))
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }


class JoinedLoss(tf_keras.losses.Loss, Around):
    """A loss of outputs by name that takes them as one.

    Args:
        given: takes labels and the outputs in a dictionary.
        joint: how they lie in one.
    """

    def __init__(self, given: tf_keras.losses.Loss, joint: Joint) -> None:
        super().__init__(given.reduction, given.name)
        self.given, self.joint = given, joint

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return self.given.call(y_true, self.joint.split(y_pred))


class JoinedMetric(tf_keras.metrics.Metric, Around):
    """A metric of outputs by name that takes them as one; see `JoinedLoss`.

    Raises:
        UserError: the metric is only named, so that it takes one output.
    """

    def __init__(self, given: Metric, joint: Joint) -> None:
        if isinstance(given, str):
            raise UserError(
                f"metrics: {given!r} takes one output, but the model has {', '.join(joint.names)}; pass an object of "
                "tf_keras.metrics that takes them in a dictionary"
            )
        super().__init__(given.name)
        self.given, self.joint = given, joint

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> Any:
        return self.given.update_state(y_true, self.joint.split(y_pred), sample_weight)

    def result(self) -> tf.Tensor:
        return self.given.result()

    def reset_state(self) -> None:
        self.given.reset_state()

    def get_config(self) -> dict[str, Any]:
        return {"given": self.given, "joint": self.joint}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> JoinedMetric:
        return cls(fresh(config["given"]), config["joint"])
