"""Knowledge distillation: a student learns a teacher's soft labels and, if asked, its hidden states.

Soft labels are Hinton et al.'s (arXiv 1503.02531); hidden states through one learned map are FitNets' (arXiv 1412.6550)
and TinyBERT's (arXiv 1909.10351).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras
from pydantic import Field, model_validator

from tfcompress.answers import IGNORED
from tfcompress.data import registry, text
from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError
from tfcompress.models.anatomy import Anatomy
from tfcompress.models.outputs import Outputs
from tfcompress.one_hot import fresh
from tfcompress.optimize.teacher import teacher_targets
from tfcompress.optimize.technique import Context, Lesson, ModelAndData, OptionalTraining, Technique, copy_model
from tfcompress.training import Objective
from tfcompress.traits import Traits

_SAMPLE = 256
"""Number of training examples that the states' scales and the first map are computed on."""


class Distil(OptionalTraining, Technique):
    """Knowledge distillation: training by a teacher, an earlier and larger model of the same run.

    Two of them may follow each other: a general one that learns `states` on unlabelled texts, then one for the task.
    Without training, with `keep`, the model stays as it is, and only the later stages have a teacher.
    """

    name: ClassVar[str] = "distil"
    may_repeat: ClassVar[bool] = True
    short_tables: ClassVar[bool] = True

    teacher: str = Field("base", description="name of an earlier stage")
    labels: float = Field(0.1, ge=0, description="weight of the loss on the labels")
    soft_labels: float = Field(
        0.9,
        ge=0,
        description="weight of the divergence from the teacher's probabilities, or of the squared distance "
        "from its numbers or embeddings",
    )
    states: float = Field(0.0, ge=0, description="weight of the relative error of all hidden states")
    temperature: float = Field(
        2.0, gt=0, description="divides the logits of both models, which softens their probabilities"
    )
    unlabelled: tuple[registry.TextSet, ...] = Field(
        (), description="text data sets, NAME or NAME:PATH, whose training texts are used as well"
    )
    keep: bool = Field(False, description="whether later stages learn the labels and soft labels, too")

    @model_validator(mode="after")
    def _something_to_learn(self) -> Distil:
        if not (self.labels or self.soft_labels or self.states):
            raise ValueError("labels, soft_labels and states are all 0, so there is nothing to learn; set one of them")
        if self.unlabelled and self.labels:
            raise ValueError(f"labels is {self.labels}, but unlabelled texts have none; set labels: 0")
        if not self.training and not self.keep:
            raise ValueError("training is false and keep too, so nothing is learned; set keep: true")
        for name in ("states", "unlabelled"):
            if not self.training and getattr(self, name):
                raise ValueError(f"{name} is given, but later stages do not learn it; leave it or training: false out")
        return self

    def check(self, model: tf_keras.Model) -> None:
        if not self.states:
            return
        if len(model.outputs) > 1:
            raise UserError(
                f"distil.states: model {model.name} has {len(model.outputs)} outputs, and states are learned beside "
                "one; leave states out"
            )
        _ = Anatomy(model).stream

    def prepare(self, model: tf_keras.Model, context: Context) -> tf_keras.Model:
        student = copy_model(model)
        if not self.states:
            return student
        teacher = self._teacher(context)
        states, wanted = (Anatomy(m).stream for m in (student, teacher.model))
        if len(states) != len(wanted):
            raise UserError(
                f"distil: the student has {len(states)} hidden states and the teacher {self.teacher} {len(wanted)}; "
                "states can only be learned from a teacher of the same depth, so set states: 0"
            )
        width = teacher.model.get_layer(wanted[0]).output_shape[-1]
        mapped = StateMap(width, name="state_map")([student.get_layer(name).output for name in states])
        scaled = ScaledStates(_scales(teacher, wanted, context), name="states")(_masked(student, mapped))
        wrapped = tf_keras.Model(student.inputs, [student.output, scaled], name=student.name)
        _fit_map(wrapped, teacher, wanted, context)
        return wrapped

    def lesson(self, wrapped: tf_keras.Model, context: Context) -> Lesson:
        """See `Technique.lesson`. The model of a later stage has no output for states: it learns (soft) labels only."""
        teacher = self._teacher(context)
        data = context.data
        outputs = [context.objective.joined(teacher.model).output]
        spec = data.task.spec(len(data.classes))
        own_type = data.train.element_spec[1].dtype if spec is None else spec.dtype
        losses: list[tf_keras.losses.Loss] = [SoftLabels(self, context.objective, wrapped, spec, own_type)]
        if _has_states(wrapped):
            scales = wrapped.get_layer("states").scales
            states = [teacher.model.get_layer(name).output for name in Anatomy(teacher.model).stream]
            outputs.append(ScaledStates(scales)(_masked(teacher.model, tf.stack(states, axis=1))))
            losses.append(StateError(self.states))
        taught = tf_keras.Model(teacher.model.inputs, outputs)
        same_texts = data.prepared(decode=teacher.data.decode)
        folder = context.folder / f"{self.teacher}-{len(outputs)}-{data.size('train')}"
        targets = teacher_targets(taught, context.objective.outputs_of(teacher.model), same_texts, folder)
        watched = [OfLabels(context.objective.outputs_of(wrapped).metric())] if data.task.has_loss else []
        metrics = [watched, []][: len(losses)]
        single = len(losses) == 1
        objective = replace(
            context.objective, loss=losses[0] if single else losses, metrics=metrics[0] if single else metrics
        )
        return Lesson(objective, targets)

    def lesson_for_later(self, wrapped: tf_keras.Model, context: Context) -> Lesson | None:
        return self.lesson(wrapped, context) if self.keep else None

    def learns_from(self, data: Dataset) -> Dataset:
        if not self.unlabelled:
            return data
        texts = text.unlabelled(data, *(registry.load_texts(name) for name in self.unlabelled), apart_from=data)
        spec = data.task.spec(len(data.classes))
        if spec is None or not spec.shape.is_fully_defined():
            raise UserError(
                f"distil.unlabelled: of texts without labels it is not known which outputs count for {data.task.name}; "
                "leave unlabelled out"
            )
        labels = np.zeros((len(texts), *spec.shape), spec.dtype.as_numpy_dtype)  # They weigh nothing.
        return replace(data, train=tf.data.Dataset.from_tensor_slices((texts, labels)))

    @property
    def learns_labels(self) -> bool:
        return bool(self.labels)

    @property
    def teaches_later(self) -> bool:
        return self.keep

    def rehearsed(self, model: tf_keras.Model) -> Self:
        return super().rehearsed(model).model_copy(update={"unlabelled": ()})

    def finalize(self, wrapped: tf_keras.Model) -> tf_keras.Model:
        if not _has_states(wrapped):
            return wrapped
        return tf_keras.Model(wrapped.inputs, wrapped.outputs[0], name=wrapped.name)

    def promises(self, model: tf_keras.Model, traits: Traits) -> Traits:
        return {}

    def check_earlier(self, stages: Collection[str]) -> None:
        if self.teacher not in stages:
            raise UserError(
                f"distil.teacher: no earlier stage is called {self.teacher!r}; the earlier stages are "
                f"{', '.join(stages)}"
            )

    def _teacher(self, context: Context) -> ModelAndData:
        self.check_earlier(context.earlier)
        return context.earlier[self.teacher]


class SoftLabels(tf_keras.losses.Loss):
    """The loss on the labels, and the divergence from the teacher's softened probabilities.

    Targets are float32 `(batch, …, labels + classes)`: the label, then the teacher's logits. For classes that do not
    exclude each other, the divergence is the sum of those of the single classes; of numbers it is the squared distance,
    which has no temperature. Tokens whose label is `IGNORED` weigh nothing.
    """

    def __init__(
        self,
        settings: Distil,
        objective: Objective,
        student: tf_keras.Model,
        of_labels: tf.TensorSpec | None,
        own_type: tf.DType = tf.float32,
    ) -> None:
        super().__init__(name="soft_labels")
        self._settings = settings
        self._outputs = objective.outputs_of(student)
        self._hard = objective.loss_of(student)
        self._type = own_type if of_labels is None else of_labels.dtype
        self._some_ignored = of_labels is not None and of_labels.dtype.is_integer and of_labels.shape.rank > 0

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        labels, wanted = _split(y_true, y_pred)
        temperature = 1.0 if self._outputs is Outputs.NUMBERS else self._settings.temperature
        own, wanted = self._outputs.to_logits(y_pred) / temperature, wanted / temperature
        if self._outputs is Outputs.NUMBERS:
            divergence = tf.math.squared_difference
        else:
            divergence = _categorical if self._outputs.exclude_each_other else _binary
        loss = self._settings.soft_labels * temperature**2 * tf.reduce_sum(divergence(own, wanted), axis=-1)
        if self._settings.labels:
            given = tf.cast(labels, self._type)
            hard = self._hard.call(given, y_pred)  # One for each soft label, so that classes can be weighted.
            loss += self._settings.labels * (hard if len(hard.shape) == len(loss.shape) else self._hard(given, y_pred))
        if self._some_ignored:
            judged = tf.cast(labels[..., 0] != IGNORED, tf.float32)
            loss *= judged / tf.maximum(tf.reduce_mean(judged), 1e-6)
        return loss


def _split(targets: tf.Tensor, outputs: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the labels and the teacher's logits in targets for a student's outputs."""
    classes = outputs.shape[-1]
    return targets[..., :-classes], targets[..., -classes:]


def _categorical(own: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Returns the classes' shares in the divergence of softmax(own) from softmax(wanted)."""
    logarithms = tf.nn.log_softmax(wanted)
    return tf.exp(logarithms) * (logarithms - tf.nn.log_softmax(own))


def _binary(own: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Returns the divergence of sigmoid(own) from sigmoid(wanted) for each class."""
    probabilities = tf.sigmoid(wanted)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=probabilities, logits=wanted)
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=probabilities, logits=own) - entropy


class OfLabels(tf_keras.metrics.Metric):
    """A metric of the labels, the first of the targets; see `SoftLabels`."""

    def __init__(self, metric: tf_keras.metrics.Metric) -> None:
        super().__init__(metric.name)
        self.metric = metric

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> Any:
        return self.metric.update_state(_split(y_true, y_pred)[0], y_pred, sample_weight)

    def result(self) -> tf.Tensor:
        return self.metric.result()

    def reset_state(self) -> None:
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        return {"metric": self.metric}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> OfLabels:
        return cls(fresh(config["metric"]))


class StateMap(tf_keras.layers.Layer):
    """Maps a list of hidden states `(batch, tokens, width)` with one matrix for all and one bias per state.

    Output: `(batch, states, tokens, units)`.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape: list[tuple[int | None, ...]]) -> None:
        self.kernel = self.add_weight("kernel", (input_shape[0][-1], self.units))
        self.bias = self.add_weight("bias", (len(input_shape), 1, self.units), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        return tf.einsum("lbtd,du->bltu", tf.stack(inputs), self.kernel) + self.bias


class ScaledStates(tf_keras.layers.Layer):
    """Scales each state so that its mean squared error is relative to the teacher's variance."""

    def __init__(self, scales: npt.NDArray[np.float32], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scales = scales

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs * self.scales[:, None, None]


class StateError(tf_keras.losses.Loss):
    """Mean squared error of the hidden states, multiplied by a weight."""

    def __init__(self, weight: float) -> None:
        super().__init__(name="states")
        self._weight = weight

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return self._weight * tf.reduce_mean(tf.math.squared_difference(y_true, y_pred), axis=(1, 2, 3))


def _has_states(wrapped: tf_keras.Model) -> bool:
    """Returns whether the last output of a model in training are its states."""
    return any(isinstance(layer, ScaledStates) for layer in wrapped.layers)


def _mask(model: tf_keras.Model) -> tf_keras.KerasTensor | None:
    """Returns the model's padding mask `(batch, tokens)`, or None for images."""
    name = Anatomy(model).mask
    return None if name is None else model.get_layer(name).output


def _masked(model: tf_keras.Model, states: tf_keras.KerasTensor) -> tf_keras.KerasTensor:
    mask = _mask(model)
    return states if mask is None else states * tf.cast(mask, tf.float32)[:, None, :, None]


def _sampled(paired: ModelAndData, outputs: Any, context: Context) -> Any:
    """Returns outputs of a model for `_SAMPLE` training examples, as arrays."""
    examples = paired.data.sample(_SAMPLE, context.seed)
    return tf_keras.Model(paired.model.inputs, outputs).predict(examples, batch_size=32, verbose=0)


def _scales(teacher: ModelAndData, states: list[str], context: Context) -> npt.NDArray[np.float32]:
    stacked = tf.stack([teacher.model.get_layer(name).output for name in states], axis=1)
    values = np.moveaxis(_sampled(teacher, _masked(teacher.model, stacked), context), 1, 0)
    flat = values.reshape(len(states), -1, values.shape[-1])
    real = (flat != 0).any(-1)
    variances = [rows[kept].var(0).mean() * kept.mean() for rows, kept in zip(flat, real, strict=True)]
    return np.asarray(variances, np.float32) ** -0.5


def _fit_map(wrapped: tf_keras.Model, teacher: ModelAndData, wanted: list[str], context: Context) -> None:
    """Sets the map to the least-squares fit of the teacher's states by the student's."""
    layer = wrapped.get_layer("state_map")
    data = teacher.data.prepared(decode=context.data.decode)
    own = _sampled(ModelAndData(wrapped, data), layer.input, context)
    theirs = _sampled(teacher, [teacher.model.get_layer(name).output for name in wanted], context)
    mask = _mask(wrapped)
    real = slice(None) if mask is None else _sampled(ModelAndData(wrapped, data), mask, context).reshape(-1) > 0
    x, y = ([a.reshape(-1, a.shape[-1])[real] for a in arrays] for arrays in (own, theirs))
    centred = np.concatenate([a - a.mean(0) for a in x])
    kernel = np.linalg.lstsq(centred, np.concatenate([a - a.mean(0) for a in y]), rcond=1e-4)[0]
    bias = np.stack([b.mean(0) - a.mean(0) @ kernel for a, b in zip(x, y, strict=True)])
    layer.set_weights([kernel, bias[:, None]])
