"""Training that can be killed at any moment and ends as if it had not been."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf
import tf_keras
from pydantic import BaseModel, ConfigDict, Field

from tfcompress.data.dataset import Dataset, Targets
from tfcompress.errors import UserError
from tfcompress.files import read_json, remove_folder, write_json, writing_to
from tfcompress.progress import Bar, bar


class Training(BaseModel):
    """How long and how fast a stage trains."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(2, ge=1, description="passes over the training split")
    batch_size: int = Field(64, ge=1, description="examples a step")
    learning_rate: float = Field(1e-4, gt=0, description="its peak, if the schedule is not constant")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="cosine falls to zero over all the steps")
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the steps in which the rate rises from zero")
    weight_decay: float = Field(0.0, ge=0, description="decoupled, as in AdamW")


@dataclass(frozen=True)
class Objective:
    """What training minimises and watches, and with what; the user's to give.

    Attributes:
        loss: a Keras loss; by default sparse categorical cross-entropy of what the model gives, logits or
            probabilities.
        optimizer: used as it is in every stage, each with a fresh copy; by default Adam, or AdamW with weight decay,
            at the rates of the stage's `Training`.
        metrics: Keras metrics besides the loss; names such as `accuracy` make a fresh one each time.
    """

    loss: tf_keras.losses.Loss | None = None
    optimizer: tf_keras.optimizers.Optimizer | None = None
    metrics: Sequence[Any] = field(default=("accuracy",))

    def check(self) -> None:
        """Raises a `UserError` for a loss, optimizer or metric that is no object of tf_keras."""
        for what, given, kind, module in (
            ("loss", self.loss, tf_keras.losses.Loss, "losses"),
            ("optimizer", self.optimizer, tf_keras.optimizers.Optimizer, "optimizers"),
            *(("metrics", metric, (str, tf_keras.metrics.Metric), "metrics") for metric in self.metrics),
        ):
            if given is not None and not isinstance(given, kind):
                raise UserError(f"{what}: {given!r} is a {type(given).__name__}; pass an object of tf_keras.{module}")

    def describe(self) -> list[str]:
        """Returns a line for the loss, the optimizer and each metric."""
        parts = (self.loss, self.optimizer, *self.metrics)
        return [str(p) if p is None or isinstance(p, str) else f"{type(p).__name__} {p.get_config()}" for p in parts]


def make_repeatable(seed: int) -> None:
    """Makes this process compute the same bits each time: seeds, deterministic kernels, random layers with a state.

    TensorFlow offers no way back, so this holds until the process ends.
    """
    tf_keras.utils.set_random_seed(seed % 2**32)
    tf.config.experimental.enable_op_determinism()
    tf_keras.backend.experimental.enable_tf_random_generator()


def fit(
    model: tf_keras.Model,
    data: Dataset,
    training: Training,
    objective: Objective,
    seed: int,
    folder: Path,
    callbacks: Sequence[tf_keras.callbacks.Callback] = (),
    title: str = "training",
    targets: Targets | None = None,
) -> list[dict[str, float]]:
    """Trains a model in place, from where an earlier call with the same arguments and `folder` was cut off.

    Weights, optimizer and a technique's own variables are kept in `folder/checkpoint` after every epoch; shuffling,
    augmentation and dropout depend on `seed` and the epoch's number alone. So the weights at the end are the same bits
    however often the process was killed.

    Args:
        model: compiled here; any earlier compilation is lost.
        data: its training split is shuffled, its validation split only watched.
        training: how long and how fast.
        objective: loss, optimizer, metrics.
        seed: of shuffling, augmentation and dropout.
        folder: keeps the state in `checkpoint/`, until `forget` removes it.
        callbacks: what a technique needs beside our own.
        title: what the progress bar and errors call it.
        targets: what the outputs are compared with, if that is not the labels.

    Returns:
        A row an epoch: `epoch`, `loss`, `val_loss`, the metrics of both splits, and the `learning_rate` at its end.

    Raises:
        UserError: the loss became NaN or infinite (the last good epoch stays in the checkpoint), or the disk is full.
    """
    steps = data.steps_per_epoch(training.batch_size)
    compile_model(model, training, objective, steps)
    _build_metrics(model, data.batches("validation", 1, targets))
    backup = _Backup(model, folder)
    first_epoch = len(backup.rows)
    with bar(title, training.epochs * steps) as shown:
        shown.advance(first_epoch * steps)
        model.fit(
            data.stream(training.batch_size, seed, first_epoch, training.epochs, targets),
            steps_per_epoch=steps,
            epochs=training.epochs,
            initial_epoch=first_epoch,
            validation_data=data.batches("validation", max(training.batch_size, 256), targets),
            verbose=0,
            callbacks=[*callbacks, _StopAtNaN(title, folder), _SeededRandomLayers(seed), _Progress(shown), backup],
        )
    return backup.rows


def forget(folder: Path) -> None:
    """Removes what a `fit` kept in `folder`, once its result has been saved elsewhere."""
    remove_folder(folder / "checkpoint")


def compile_model(model: tf_keras.Model, training: Training, objective: Objective, steps_per_epoch: int) -> None:
    """Compiles a model for `training`, with a fresh optimizer."""
    loss = objective.loss or tf_keras.losses.SparseCategoricalCrossentropy(from_logits=not gives_probabilities(model))
    optimizer = _optimizer(training, objective, training.epochs * steps_per_epoch)
    # Built before the checkpoint is read, so that the slots are restored too.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, loss, metrics=tf.nest.map_structure(_fresh, list(objective.metrics)))


def _build_metrics(model: tf_keras.Model, batches: tf.data.Dataset) -> None:
    """Makes the metrics' variables: made within the first step, they would have TensorFlow trace it a second time."""
    inputs, expected, weights = tf_keras.utils.unpack_x_y_sample_weight(next(iter(batches)))
    answers = model(inputs, training=False)
    model.compute_loss(inputs, expected, answers, weights)
    model.compute_metrics(inputs, expected, answers, weights)
    model.reset_metrics()


def _fresh(metric: Any) -> Any:
    return metric if isinstance(metric, str) else type(metric).from_config(metric.get_config())


def gives_probabilities(model: tf_keras.Model) -> bool:
    """Tells whether the model's last layer is a softmax, so that it gives probabilities instead of logits."""
    last = model.layers[-1]
    inner = getattr(last, "layer", last)
    softmax = tf_keras.activations.softmax
    if isinstance(inner, tf_keras.layers.Softmax) or getattr(inner, "activation", None) is softmax:
        return True
    return getattr(inner, "symbol", None) == "nn.softmax"  # tf.nn.softmax called on a symbolic tensor.


def _optimizer(training: Training, objective: Objective, steps: int) -> tf_keras.optimizers.Optimizer:
    if objective.optimizer is not None:
        return type(objective.optimizer).from_config(objective.optimizer.get_config())
    rate: Any = training.learning_rate
    warmup = round(training.warmup * steps)
    if training.schedule == "cosine":
        target = training.learning_rate if warmup else None
        start = 0.0 if warmup else training.learning_rate
        rate = tf_keras.optimizers.schedules.CosineDecay(
            start, steps - warmup, warmup_target=target, warmup_steps=warmup
        )
    if training.weight_decay:
        return tf_keras.optimizers.AdamW(rate, weight_decay=training.weight_decay)
    return tf_keras.optimizers.Adam(rate)


class _Progress(tf_keras.callbacks.Callback):
    """Moves a bar with every step."""

    def __init__(self, shown: Bar) -> None:
        super().__init__()
        self._bar = shown

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.advance(note=f"loss {logs['loss']:.4f}" if logs else "")


class _Backup(tf_keras.callbacks.Callback):
    """Keeps the state of a compiled model after each epoch, and takes it up where an earlier run left it.

    Keras's own BackupAndRestore does the same, but does not say which epoch comes next, which the data must know.
    """

    def __init__(self, model: tf_keras.Model, folder: Path) -> None:
        super().__init__()
        self._folder = folder / "checkpoint"
        self._epochs_done = tf.Variable(0, dtype=tf.int64)
        state = tf.train.Checkpoint(model=model, optimizer=model.optimizer, epochs_done=self._epochs_done)
        with writing_to(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._manager = tf.train.CheckpointManager(state, str(self._folder), max_to_keep=1)
            self._manager.restore_or_initialize()
        # If the process was killed between the two, the history has a row more than the checkpoint.
        done = int(self._epochs_done.numpy())
        self.rows: list[dict[str, float]] = read_json(self._history)[:done] if done else []

    @property
    def _history(self) -> Path:
        return self._folder / "history.json"

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = {**(logs or {}), "learning_rate": self.model.optimizer.learning_rate}
        self.rows.append({"epoch": epoch} | {name: float(value) for name, value in values.items()})
        write_json(self._history, self.rows)
        self._epochs_done.assign(epoch + 1)
        with writing_to(self._folder):
            self._manager.save()


class _StopAtNaN(tf_keras.callbacks.Callback):
    """Stops the training with an error before a NaN reaches the checkpoint."""

    def __init__(self, title: str, folder: Path) -> None:
        super().__init__()
        self._title, self._folder, self._epoch = title, folder, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._check((logs or {}).get("loss", 0.0), f"step {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # The last step's update shows in the validation only.
        self._check((logs or {}).get("val_loss", 0.0), "validation")

    def _check(self, loss: float, where: str) -> None:
        if not math.isfinite(loss):
            raise UserError(
                f"{self._title}: the loss became {loss} in epoch {self._epoch + 1}, {where}; lower learning_rate or "
                f"check the data and the loss (the last good epoch is in {self._folder / 'checkpoint'})"
            )


class _SeededRandomLayers(tf_keras.callbacks.Callback):
    """Sets the state of Dropout and its like from the seed and the epoch, because checkpoints leave it out."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for number, layer in enumerate(self.model._flatten_layers()):
            generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)
            if generator is not None:
                generator.reset_from_seed(self._seed * 1_000_003 + epoch * 10_007 + number)
