"""Losses and a metric of labels in any form that a task has them: classes, a 0 or 1 per class, or numbers."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from tfcompress.answers import IGNORED


class CrossEntropy(tf_keras.losses.SparseCategoricalCrossentropy):
    """Cross-entropy of classes that exclude each other; of tokens, it is the mean over those that are not `IGNORED`.

    Labels are integers `(batch,)` or `(batch, tokens)`, outputs logits or probabilities with a last axis `classes`.
    """

    def __init__(self, from_logits: bool = False) -> None:
        super().__init__(from_logits=from_logits)
        self._from_logits = from_logits

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        if len(y_pred.shape) < 3:
            return super().call(y_true, y_pred)
        return tf_keras.losses.sparse_categorical_crossentropy(y_true, y_pred, self._from_logits, ignore_class=IGNORED)


class BinaryCrossentropyOfLabels(tf_keras.losses.Loss):
    """Mean binary cross-entropy over classes that do not exclude each other.

    Labels are 0 or 1 `(batch, classes)`, or integers `(batch,)`: the one class that is present, or for a single output
    whether it is. Outputs are logits or probabilities `(batch, classes)`.
    """

    def __init__(self, from_logits: bool = False, name: str = "binary_crossentropy_of_labels", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self._from_logits = from_logits

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf_keras.losses.binary_crossentropy(_per_class(y_true, y_pred), y_pred, self._from_logits)


class SquaredError(tf_keras.losses.Loss):
    """Mean squared error of numbers. Labels are `(batch,)` or of the shape of the outputs."""

    def __init__(self) -> None:
        super().__init__(name="squared_error")

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return tf_keras.losses.mean_squared_error(tf.reshape(y_true, tf.shape(y_pred)), y_pred)


class LabelAccuracy(tf_keras.metrics.Mean):
    """The share of labels that are right, of those that are not `IGNORED`; labels as the losses here take them.

    Args:
        threshold: a class that does not exclude the others is said to be present from this output on.
    """

    def __init__(self, threshold: float = 0.5, name: str = "accuracy") -> None:
        super().__init__(name)
        self.threshold = threshold

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> Any:
        if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == y_pred.shape[-1]:
            truth = tf.cast(y_true, tf.float32) > 0.5
            return super().update_state(tf.cast(truth == (y_pred >= self.threshold), tf.float32))
        labels = tf.reshape(tf.cast(y_true, tf.int32), tf.shape(y_pred)[:-1])
        right = tf.argmax(y_pred, axis=-1, output_type=tf.int32) == labels
        return super().update_state(tf.cast(right, tf.float32), tf.cast(labels != IGNORED, tf.float32))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "threshold": self.threshold}


def _per_class(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Returns float labels of the outputs' shape `(batch, classes)`."""
    labels, classes = tf.convert_to_tensor(labels), outputs.shape[-1]
    if len(labels.shape) == len(outputs.shape) and labels.shape[-1] == classes:
        return tf.cast(labels, outputs.dtype)
    flat = tf.reshape(labels, [-1])
    return tf.cast(flat[:, None], outputs.dtype) if classes == 1 else tf.one_hot(tf.cast(flat, tf.int32), classes)
