"""Deterministic training that resumes where it stopped, with the same result as an uninterrupted run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tensorflow as tf
import tf_keras
from pydantic import Field

from tfcompress.data.dataset import Dataset, Targets
from tfcompress.errors import UserError, first_line
from tfcompress.files import read_json, reading_from, remove_folder, write_json, writing_to
from tfcompress.joint import JoinedLoss, JoinedMetric, Joint
from tfcompress.models.outputs import Outputs, outputs_of
from tfcompress.one_hot import Metric, as_given, fresh, loss_of_labels, metric_of_labels
from tfcompress.progress import Bar, bar
from tfcompress.settings import Settings
from tfcompress.strategy import Strategy, StrategyName, current

Watch = Callable[[Sequence[dict[str, float]]], None]
"""Sees the rows of the epochs that a training has done; what it raises ends the training."""

_HISTORY = "history.json"

_FEW_STEPS = 8
"""To compute so many steps operation by operation takes less time than to trace one."""


class Training(Settings):
    """Number of epochs, batch size and learning rate of a stage."""

    epochs: int = Field(2, ge=1, description="passes over the training split")
    batch_size: int = Field(64, ge=1, description="examples per step")
    learning_rate: float = Field(1e-4, gt=0, description="the peak learning rate")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="cosine decays to zero over all steps")
    warmup: float = Field(
        0.0, ge=0, lt=1, description="fraction of the steps in which the learning rate rises from zero (cosine only)"
    )
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay, as in AdamW")
    strategy: StrategyName | None = Field(
        None,
        exclude_if=lambda strategy: strategy is None,  # What holds settings of earlier versions does not change.
        description="over what each step of every training of the run is spread: `mirrored`, the GPUs of this machine, "
        "or `multi_worker`, the machines of `TF_CONFIG`",
    )

    def rehearsed(self) -> Training:
        """Returns a training of one small step on two examples here, from which no loss can become infinite."""
        rate = min(self.learning_rate, 1e-4)
        return self.model_copy(update={"epochs": 1, "batch_size": 2, "learning_rate": rate, "strategy": None})


def strategy_of(trainings: Iterable[Training | None]) -> StrategyName | None:
    """Returns the strategy that trainings of a run name, or None if none does.

    Raises:
        UserError: they name several.
    """
    named = {one.strategy for one in trainings if one is not None and one.strategy is not None}
    if len(named) > 1:
        raise UserError(f"trainings of one run name the strategies {' and '.join(sorted(named))}; a run has one")
    return named.pop() if named else None


@dataclass(frozen=True)
class Objective:
    """The loss, optimizer and metrics of training, which the user can choose.

    Attributes:
        loss: a tf_keras loss of the task's labels; by default what `Outputs.loss` says of the model's outputs.
        optimizer: a tf_keras optimizer, of which every stage uses a fresh copy with its own learning rate. By default
            Adam, or AdamW if there is weight decay, with the learning rates of the stage's `Training`.
        metrics: tf_keras metrics besides the loss, or their names, such as `accuracy`; by default what `Outputs.metric`
            says. They take the task's labels, too. A loss or metrics of one-hot vectors are made to take integer
            labels by `of_labels`.
        outputs: what the outputs of the run's models are; by default each model's are found out when needed.
        joint: how several outputs lie in one, of which the loss and the metrics then are; None if models have one.
    """

    loss: tf_keras.losses.Loss | None = None
    optimizer: tf_keras.optimizers.Optimizer | None = None
    metrics: Sequence[Metric] | None = None
    outputs: Outputs | None = None
    joint: Joint | None = None

    def of_labels(self, classes: int | None) -> Objective:
        """Returns the objective with a loss and metrics that all take integer labels, also if these take one-hot ones.

        Args:
            classes: their number; None if labels are something else, which the loss and metrics then take as it is.

        Raises:
            UserError: the loss, the optimizer or a metric is not an object of tf_keras, or cannot be used.
        """
        for what, given, kind, module in (
            ("loss", self.loss, tf_keras.losses.Loss, "losses"),
            ("optimizer", self.optimizer, tf_keras.optimizers.Optimizer, "optimizers"),
            *(("metrics", metric, (str, tf_keras.metrics.Metric), "metrics") for metric in self.metrics or ()),
        ):
            if given is not None and not isinstance(given, kind):
                raise UserError(f"{what}: {given!r} is a {type(given).__name__}; pass an object of tf_keras.{module}")
        if self.optimizer is not None:
            _copied(self.optimizer)
        if classes is None:
            return self
        loss = self.loss and loss_of_labels(self.loss, classes)
        metrics = self.metrics and [metric_of_labels(metric, classes) for metric in self.metrics]
        return replace(self, loss=loss, metrics=metrics)

    def of_outputs(self, joint: Joint | None) -> Objective:
        """Returns the objective with a loss and metrics of outputs that `joint` joins, of those of outputs by name."""
        if joint is None:
            return self
        loss = self.loss and JoinedLoss(self.loss, joint)
        metrics = self.metrics and [JoinedMetric(metric, joint) for metric in self.metrics]
        return replace(self, loss=loss, metrics=metrics, joint=joint)

    def joined(self, model: tf_keras.Model) -> tf_keras.Model:
        """Returns a model with the one output that the loss takes."""
        return model if self.joint is None else self.joint.joined(model)

    def check_outputs(self) -> None:
        """Raises a `UserError` if the user's loss takes logits for probabilities, or the other way round."""
        loss = as_given(self.loss)
        if self.outputs is Outputs.NUMBERS:
            return  # Only the user knows what they are.
        takes_logits = None if loss is None else loss.get_config().get("from_logits")
        if takes_logits is not None and self.outputs is not None and takes_logits != self.outputs.are_logits:
            raise UserError(
                f"loss: {type(loss).__name__} has from_logits={takes_logits}, but the model gives {self.outputs}; "
                f"pass from_logits={not takes_logits}"
            )

    def outputs_of(self, model: tf_keras.Model) -> Outputs:
        """Returns what the outputs of a model are."""
        return self.outputs or outputs_of(model)

    def loss_of(self, model: tf_keras.Model) -> tf_keras.losses.Loss:
        """Returns the loss of a model's outputs for the task's labels."""
        return self.loss or self.outputs_of(model).loss()

    def metrics_of(self, model: tf_keras.Model) -> Sequence[Metric]:
        """Returns the metrics of a model's outputs for the task's labels."""
        return [self.outputs_of(model).metric()] if self.metrics is None else self.metrics

    def describe(self) -> list[str]:
        """Returns one line each for the loss, the optimizer and every metric; `accuracy` if none is given."""
        parts = (self.loss, self.optimizer, *(("accuracy",) if self.metrics is None else self.metrics))
        return [str(p) if p is None or isinstance(p, str) else f"{type(p).__name__} {p.get_config()}" for p in parts]


def make_repeatable(seed: int) -> None:
    """Makes computations in this process bit-for-bit repeatable.

    It seeds all random generators, enables deterministic operations, and gives random layers a generator whose state
    can be set. TensorFlow cannot undo this, so it applies until the process ends.
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
    watch: Watch | None = None,
) -> list[dict[str, float]]:
    """Trains a model in place; resumes if an earlier call with the same arguments and `folder` was interrupted.

    The weights, the optimizer and the variables of a technique are saved to `folder/checkpoint` after every epoch.
    Shuffling, augmentation and dropout depend only on `seed` and the number of the epoch. Therefore the final weights
    are identical, bit for bit, however often the process was killed.

    In the scope of a strategy, every worker calls this with a model that was built in that scope. All resume from the
    chief's checkpoint.

    Args:
        model: trained in place; it is compiled here, whether or not it was before. Several outputs are joined before.
        data: its training split is used for training, its validation split only for the metrics.
        training: number of epochs, batch size and learning rate.
        objective: loss, optimizer and metrics.
        seed: of shuffling, augmentation and dropout.
        folder: the state is kept in its sub-folder `checkpoint` until `delete_checkpoint` removes it.
        callbacks: further callbacks, such as those of a technique.
        title: name of the training in the progress bar and in errors.
        targets: makes the training targets; by default they are the labels.
        watch: called after each epoch with the rows up to it, and before the first if there are any.

    Returns:
        One row per epoch with `epoch`, `loss`, `val_loss`, the metrics of both splits, and the `learning_rate` at the
        end of the epoch.

    Raises:
        UserError: if the loss becomes NaN or infinite (the last good epoch stays in the checkpoint), or the checkpoint
            cannot be written.
    """
    data.check_not_empty("train", "validation")
    steps = data.steps_per_epoch(training.batch_size)
    model = objective.joined(model)
    compile_model(model, training, objective, steps)
    _build_metrics(model, data.batches("validation", 1, targets))
    workers = current()
    backup = _Backup(model, folder, workers)
    first_epoch = len(backup.rows)
    watching = _Watching(backup, watch)
    with bar(title, training.epochs * steps) as shown:
        shown.advance(first_epoch * steps)
        model.fit(
            workers.shards(
                data.stream(training.batch_size, seed, first_epoch, training.epochs, targets, weighted=True)
            ),
            steps_per_epoch=steps,
            epochs=training.epochs,
            initial_epoch=first_epoch,
            validation_data=workers.shards(data.batches("validation", max(training.batch_size, 256), targets)),
            verbose=0,
            callbacks=[
                *callbacks,
                _RefuseNaN(title, folder),
                _ReseedRandomLayers(seed),
                _Progress(shown, workers.counted),
                backup,
                watching,
            ],
        )
    return backup.rows


def delete_checkpoint(folder: Path) -> None:
    """Deletes the checkpoint that `fit` keeps in `folder`, once the trained model has been saved."""
    remove_folder(folder / "checkpoint")


def compile_model(model: tf_keras.Model, training: Training, objective: Objective, steps_per_epoch: int) -> None:
    """Compiles a model for a training, with a fresh optimizer that is already built."""
    steps = training.epochs * steps_per_epoch
    if objective.loss is None or objective.metrics is None:
        objective = replace(objective, outputs=objective.outputs_of(model))  # once for both
    optimizer = _optimizer(training, objective, steps)
    # Built before the checkpoint is restored, so that the slot variables are restored too.
    optimizer.build(model.trainable_variables)
    metrics = tf.nest.map_structure(fresh, list(objective.metrics_of(model)))
    eagerly = steps <= _FEW_STEPS and not current().distributed
    model.compile(optimizer, objective.loss_of(model), metrics, run_eagerly=eagerly or None)


def _build_metrics(model: tf_keras.Model, batches: tf.data.Dataset) -> None:
    """Creates the variables of the metrics; created in the first step, they would make TensorFlow trace it twice."""
    inputs, targets, weights = tf_keras.utils.unpack_x_y_sample_weight(next(iter(batches)))

    def measure() -> None:
        outputs = model(inputs, training=False)
        model.compute_loss(inputs, targets, outputs, weights)
        model.compute_metrics(inputs, targets, outputs, weights)

    current().run(measure)
    model.reset_metrics()


def _optimizer(training: Training, objective: Objective, steps: int) -> tf_keras.optimizers.Optimizer:
    if objective.optimizer is not None:
        return _copied(objective.optimizer)
    rate: float | tf_keras.optimizers.schedules.LearningRateSchedule = training.learning_rate
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


def _copied(optimizer: tf_keras.optimizers.Optimizer) -> tf_keras.optimizers.Optimizer:
    try:
        return type(optimizer).from_config(optimizer.get_config())
    except Exception as error:  # Keras raises many kinds, and the user's own code any.
        raise UserError(
            f"optimizer: {type(optimizer).__name__} cannot be copied, which each stage needs: {first_line(error)}; "
            "register your own classes with tf_keras.utils.register_keras_serializable and give them a get_config"
        ) from error


class _Progress(tf_keras.callbacks.Callback):
    """Advances a progress bar with every step."""

    def __init__(self, shown: Bar, counted: int) -> None:
        super().__init__()
        self._bar, self._counted = shown, counted

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._bar.advance(note=f"loss {logs['loss'] / self._counted:.4f}" if logs else "")


class _Backup(tf_keras.callbacks.Callback):
    """Saves the state of a compiled model after each epoch, and restores the state that an earlier run saved.

    Keras's BackupAndRestore does the same but does not tell which epoch is next, on which the data depends.
    """

    def __init__(self, model: tf_keras.Model, folder: Path, workers: Strategy) -> None:
        super().__init__()
        kept = folder / "checkpoint"
        self._folder = workers.own(kept)
        self._epochs_done = tf.Variable(0, dtype=tf.int64)
        state = tf.train.Checkpoint(model=model, optimizer=model.optimizer, epochs_done=self._epochs_done)
        with writing_to(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._manager = tf.train.CheckpointManager(state, str(self._folder), max_to_keep=1)
            state.restore(tf.train.latest_checkpoint(str(kept)))
        # The history has one row more than the checkpoint if the process was killed after writing the history.
        done = int(self._epochs_done.numpy())
        with reading_from(kept / _HISTORY, f"delete {kept}, and the same command begins this training again"):
            self.rows: list[dict[str, float]] = read_json(kept / _HISTORY)[:done] if done else []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {**(logs or {}), "learning_rate": tf_keras.backend.get_value(self.model.optimizer.learning_rate)}
        self.rows.append({"epoch": epoch} | {name: float(value) for name, value in values.items()})
        write_json(self._folder / _HISTORY, self.rows)
        self._epochs_done.assign(epoch + 1)
        with writing_to(self._folder):
            self._manager.save()


class _Watching(tf_keras.callbacks.Callback):
    """Shows the rows of a training to whoever watches it."""

    def __init__(self, backup: _Backup, watch: Watch | None) -> None:
        super().__init__()
        self._backup, self._watch = backup, watch

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._show()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._show()

    def _show(self) -> None:
        if self._watch is not None and self._backup.rows:
            self._watch(self._backup.rows)


class _RefuseNaN(tf_keras.callbacks.Callback):
    """Raises a `UserError` before a NaN or infinite loss reaches the checkpoint."""

    def __init__(self, title: str, folder: Path) -> None:
        super().__init__()
        self._title, self._folder, self._epoch = title, folder, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._check((logs or {}).get("loss", 0.0), f"step {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        # Only the validation reveals NaN weights that the last step produced.
        self._check((logs or {}).get("val_loss", 0.0), "validation")

    def _check(self, loss: float, where: str) -> None:
        if not math.isfinite(loss):
            raise UserError(
                f"{self._title}: the loss became {loss} in epoch {self._epoch + 1}, {where}; lower learning_rate or "
                f"check the data and the loss (the last good epoch is in {self._folder / 'checkpoint'})"
            )


class _ReseedRandomLayers(tf_keras.callbacks.Callback):
    """Sets the state of random layers, such as Dropout, from the seed and epoch, because checkpoints lack it."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        for number, layer in enumerate(self.model._flatten_layers()):
            generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)
            if generator is not None:
                generator.reset_from_seed(self._seed * 1_000_003 + epoch * 10_007 + number)
