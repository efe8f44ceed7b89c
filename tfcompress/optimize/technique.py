"""The interface that all techniques share, and how a setting reaches a layer."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Generic, Literal, Self, TypeVar

import tensorflow as tf
import tf_keras
from pydantic import Field, ValidationError, model_validator

from tfcompress.data.dataset import Dataset, Targets
from tfcompress.errors import UserError
from tfcompress.models.operations import Masked
from tfcompress.models.reach import unreached
from tfcompress.optimize.plain_python import clone_model
from tfcompress.settings import Settings
from tfcompress.training import Objective, Training
from tfcompress.traits import FloatArray, KernelTraits, Traits

ORDER = ("halve", "remove", "trim_vocabulary", "distil", "prune", "cluster", "quantize")
"""The order in which techniques may follow each other; any of them can be left out.

Techniques that change the structure come first, and distillation recovers the accuracy that they cost. Each of the
others keeps what the ones before it established: clustering keeps pruned weights at zero, and quantization keeps zeros
and clusters. In the reverse order they would undo it.
"""


class KernelSettings(Settings, ABC):
    """Settings of a layer that can also be applied to its kernel at once, without training."""

    @abstractmethod
    def applied(self, kernel: FloatArray, keep_zeros: bool = False) -> FloatArray:
        """Returns a treated copy of a kernel of any shape.

        Args:
            kernel: the weights before.
            keep_zeros: whether the kernel was pruned, so that its zeros stay and no other weight becomes zero.
        """


S = TypeVar("S", bound=Settings)

_LEFT_ALONE = "left alone, because its output does not depend on the input, so the file holds the output"


@dataclass(frozen=True)
class ModelAndData:
    """A model and the data as it takes them. Later models can take them differently, once a vocabulary is trimmed."""

    model: tf_keras.Model
    data: Dataset


@dataclass(frozen=True)
class Context:
    """What a technique may need to know besides the model.

    Attributes:
        data: the data as the model takes them; if the technique trains, the data that it trains on.
        traits: what holds for each kernel of the model that is passed in.
        total_steps: number of training steps that follow `prepare`.
        seed: of everything that is drawn at random.
        objective: what training minimises in this run.
        earlier: the models of the stages before this one, by stage name.
        folder: where the outputs of teachers are kept, `workdir/teacher`. All stages share it, and it is removed at the
            end of the run.
    """

    data: Dataset
    traits: Traits
    total_steps: int = 0
    seed: int = 0
    objective: Objective = field(default_factory=Objective)
    earlier: Mapping[str, ModelAndData] = field(default_factory=dict)
    folder: Path = Path()


@dataclass(frozen=True)
class Lesson:
    """What a stage learns instead of the labels alone.

    Attributes:
        objective: the run's objective, with losses that fit the targets.
        targets: what the model's outputs are compared with.
    """

    objective: Objective
    targets: Targets


class Technique(Settings, ABC):
    """A way to make a plain tf_keras model smaller: `prepare`, train with `callbacks()`, `finalize`.

    The pipeline never asks which technique it has; the class variables and methods below say what it needs to know.
    """

    name: ClassVar[str]
    may_repeat: ClassVar[bool] = False
    """Whether the technique may follow itself."""
    ends_training: ClassVar[bool] = False
    """Whether the finalized model can only be exported, so that no technique may follow."""
    clusters_weights: ClassVar[bool] = False
    """Whether it leaves few distinct values in each kernel: files can be packed, and need one scale per tensor."""
    short_tables: ClassVar[bool] = False
    """Whether embedding tables can be cut to the rows that occur in the data while it trains; see `short_tables`."""

    fit: Training | None = Field(None, description="the training that follows; none by default")

    @property
    def learns_labels(self) -> bool:
        """Whether it needs a loss of the labels, so that not every task can do without the user's loss."""
        return self.fit is not None

    @property
    def teaches_later(self) -> bool:
        """Whether `lesson_for_later` says what later stages learn."""
        return False

    @abstractmethod
    def prepare(self, model: tf_keras.Model, context: Context) -> tf_keras.Model:
        """Returns a wrapped copy of a plain model, ready for training. The model that is passed in never changes."""

    def lesson(self, wrapped: tf_keras.Model, context: Context) -> Lesson | None:
        """Returns what the wrapped model learns, or None for the run's own objective."""
        return None

    def lesson_for_later(self, wrapped: tf_keras.Model, context: Context) -> Lesson | None:
        """Returns what the wrapped model of a later stage without its own lesson learns, or None if that is its own."""
        return None

    def learns_from(self, data: Dataset) -> Dataset:
        """Returns the data that the wrapped model is trained on."""
        return data

    def adapt(self, data: Dataset) -> Dataset:
        """Returns the data as the finalized model takes them."""
        return data

    def callbacks(self) -> Sequence[tf_keras.callbacks.Callback]:
        """Returns the callbacks that the training needs."""
        return []

    def finalize(self, wrapped: tf_keras.Model) -> tf_keras.Model:
        """Returns the trained model without its wrapping."""
        return wrapped

    @abstractmethod
    def promises(self, model: tf_keras.Model, traits: Traits) -> Traits:
        """Returns the traits that the finalized model will have, given the model before and its traits."""

    def measured(self, wrapped: tf_keras.Model, promised: Traits) -> Traits:
        """Returns the promised traits with what only the trained model shows; called before `finalize`."""
        return promised

    @property
    def scales_outputs(self) -> bool:
        """Whether kernels may get a scale per output, which no later technique keeps, and only float32 files."""
        return False

    @abstractmethod
    def check(self, model: tf_keras.Model) -> None:
        """Raises a `UserError` for settings that do not fit a model. It is called before any training."""

    def check_earlier(self, stages: Collection[str]) -> None:
        """Raises a `UserError` if a stage that it needs is not among the earlier ones; called before any training."""

    def rehearsed(self, model: tf_keras.Model) -> Self:
        """Returns the technique as a rehearsal needs it: with a training of one step, and without what takes long.

        Args:
            model: of the rehearsal, which may lack blocks that the run's model repeats.
        """
        return self if self.fit is None else self.model_copy(update={"fit": self.fit.rehearsed()})

    def treated_layers(self, model: tf_keras.Model) -> Collection[str]:
        """Returns the names of the layers that it treats one by one; a change of structure treats none of them so."""
        return ()

    def explain(self, model: tf_keras.Model) -> Mapping[str, str]:
        """Returns what the report has to say about how layers of the model were treated, by the layers' names."""
        return {}


class OptionalTraining(Settings):
    """Settings of a technique that trains by default, and can do without."""

    training: bool = Field(True, strict=True, description="false: nothing is trained in this stage")
    fit: Training | None = Field(Training(), description="the training that follows; none if `training` is false")

    @model_validator(mode="before")
    @classmethod
    def _without_training(cls, given: object) -> object:
        if not isinstance(given, dict) or given.get("training") is not False:
            return given
        if given.get("fit") is not None:
            raise ValueError("training is false, but fit says how to train; leave one of them out")
        return {**given, "fit": None}

    @model_validator(mode="after")
    def _one_spelling(self) -> Self:
        if self.training and self.fit is None:
            raise ValueError("fit is null; write training: false to train nothing")
        return self


class LayerTechnique(Technique, Generic[S]):
    """A technique that treats layers one by one, each with its own settings.

    A subclass also inherits its per-layer settings `S`, so its own fields are the settings for all layers. `types`
    changes them for the layers of one class, and `layers` for those whose whole name matches a regular expression.
    Later entries win. `false` leaves a layer out.
    """

    layer_settings: ClassVar[type[Settings]]
    layer_types: ClassVar[tuple[type, ...]]
    """The layer classes that it can treat. Only those of the first class are treated by default."""

    fit: Training = Field(Training(), description="the training that follows")
    types: dict[str, S | Literal[False]] = Field({}, description="settings by layer class")
    layers: dict[str, S | Literal[False]] = Field({}, description="settings by regular expression for layer names")

    def check(self, model: tf_keras.Model) -> None:
        self.select(model)

    def rehearsed(self, model: tf_keras.Model) -> Self:
        names = [layer.name for layer in model.layers]
        kept = {key: value for key, value in self.layers.items() if any(re.fullmatch(key, name) for name in names)}
        return super().rehearsed(model).model_copy(update={"layers": kept})

    def treated_layers(self, model: tf_keras.Model) -> Collection[str]:
        return self.select(model)

    def can_treat(self, layer: tf_keras.layers.Layer) -> bool:
        """Returns whether a layer can be treated."""
        return type(layer) in self.layer_types

    def treatable(self, model: tf_keras.Model) -> list[tf_keras.layers.Layer]:
        """Returns the layers of a model that can be treated, without those whose kernels no file has."""
        constant = unreached(model)
        return [layer for layer in model.layers if self.can_treat(layer) and layer.name not in constant]

    def explain(self, model: tf_keras.Model) -> Mapping[str, str]:
        constant = unreached(model)
        return {layer.name: _LEFT_ALONE for layer in model.layers if self.can_treat(layer) and layer.name in constant}

    def select(self, model: tf_keras.Model) -> dict[str, S]:
        """Returns the settings of each layer that is treated, by the layer's name.

        Raises:
            UserError: a type or pattern matches no layer that this technique can treat; no layer is left to treat; or
                the merged settings of a layer contradict each other.
        """
        for pattern in self.layers:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UserError(f"{self.name}.layers: {pattern!r} is not a regular expression: {error}") from None
        known = {kind.__name__ for kind in self.layer_types}
        for kind in self.types:
            if kind not in known:
                accepted = ", ".join(sorted(known))
                raise UserError(
                    f"{self.name}.types: {kind!r} is not a layer type that it can treat; those are {accepted}"
                )
        treatable = self.treatable(model)
        matched = {f"types: {key!r}": [x for x in model.layers if kind_of(x) == key] for key in self.types}
        matched |= {f"layers: {key!r}": [x for x in model.layers if re.fullmatch(key, x.name)] for key in self.layers}
        for entry, found in matched.items():
            if not any(layer in treatable for layer in found):
                names = ", ".join(layer.name for layer in treatable) or "none"
                why = self._why_not(found)
                raise UserError(f"{self.name}.{entry} matches no layer that it can treat{why}; those are {names}")
        selected: dict[str, S] = {}
        for layer in treatable:
            overrides = [self.types[kind_of(layer)]] if kind_of(layer) in self.types else []
            overrides += [value for pattern, value in self.layers.items() if re.fullmatch(pattern, layer.name)]
            asked_for = type(layer) is self.layer_types[0] or bool(overrides)
            if asked_for and not (overrides and overrides[-1] is False):
                selected[layer.name] = self._merged([o for o in overrides if o is not False])
        if not selected:
            kinds = ", ".join(kind.__name__ for kind in self.layer_types)
            alone = self._why_not([x for x in model.layers if self.can_treat(x) and x not in treatable])
            raise UserError(f"{self.name}: no layer is left to treat{alone}; it can treat {kinds}")
        return selected

    def _why_not(self, layers: Sequence[tf_keras.layers.Layer]) -> str:
        """Returns what to add about layers none of which is treated, for one of them; nothing if there are none."""
        if not layers:
            return ""
        layer = max(layers, key=self.can_treat)
        reason = _LEFT_ALONE if self.can_treat(layer) else f"of the type {kind_of(layer)}"
        return f": {layer.name} is {reason}"

    def _merged(self, overrides: Sequence[S]) -> S:
        merged: dict[str, object] = {key: getattr(self, key) for key in self.layer_settings.model_fields}
        for override in overrides:
            merged |= override.model_dump(exclude_unset=True)
        try:
            return self.layer_settings(**merged)  # type: ignore[return-value]
        except ValidationError as error:
            reason = "; ".join(detail["msg"].removeprefix("Value error, ") for detail in error.errors())
            raise UserError(
                f"{self.name}: settings under types or layers contradict those for all layers: {reason}"
            ) from None


def kind_of(layer: tf_keras.layers.Layer) -> str:
    """Returns the name of a layer's class as `types` takes it; a layer within `Masked` keeps its own."""
    return type(layer.layer if isinstance(layer, Masked) else layer).__name__


def copy_model(
    model: tf_keras.Model, wrap: Callable[[tf_keras.layers.Layer], tf_keras.layers.Layer] | None = None
) -> tf_keras.Model:
    """Returns a copy of a functional model with its own weights, each layer passed through `wrap` if it is given.

    The weights are copied before the layers are wrapped, because tfmot reads them when it wraps. A layer that `wrap`
    returns must not branch on a tensor in Python, see `plain_python`.
    """
    if wrap is not None:
        with suppress(_NotBuiltError):
            return clone_model(model, clone_function=lambda layer: wrap(_copied(layer)))
    copy = clone_model(model)
    copy.set_weights(model.get_weights())
    return copy if wrap is None else clone_model(copy, clone_function=wrap)


class _NotBuiltError(Exception):
    """A layer makes its weights when it is called, and not when it is told the shape of its input."""


def _copied(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    """Returns a copy of a layer with its own weights, which is not called, because that takes most of the time."""
    copy = type(layer).from_config(layer.get_config())
    if layer.weights:
        try:
            with tf.name_scope(layer.name):
                copy.build_from_config(layer.get_build_config() or {"input_shape": None})
            copy.set_weights(layer.get_weights())
        except Exception as error:  # Keras raises many kinds, and the user's own code any.
            raise _NotBuiltError from error
    return copy


def protect_established(layer: tf_keras.layers.Layer, traits: Traits) -> tf_keras.layers.Layer:
    """Returns a copied layer that is not treated, frozen if training would break what an earlier technique established.

    The pipeline makes it trainable again after the stage, see `restore_trainable`.
    """
    established = traits.get(layer.name, KernelTraits())
    if established.sparsity or established.clusters:
        layer.trainable = False
    return layer


def warn_of_lost_traits(technique: str, before: Traits, promised: Traits) -> None:
    """Warns of kernels whose zeros or clusters a technique does not keep, before it trains."""
    lost = []
    for name, had in before.items():
        has = promised.get(name, KernelTraits())
        if (had.sparsity and not has.sparsity) or (had.clusters and not has.clusters):
            lost.append(name)
    if lost:
        warnings.warn(
            f"{technique} does not keep the zeros or the few distinct values of {', '.join(lost)}; prune or cluster "
            "them after it",
            UserWarning,
            stacklevel=2,
        )


def restore_trainable(finalized: tf_keras.Model, source: tf_keras.Model) -> None:
    """Makes each layer of a finalized model trainable if it is so in the model that the stage began with."""
    trainable = {layer.name: layer.trainable for layer in source.layers}
    for layer in finalized.layers:
        layer.trainable = trainable.get(getattr(layer, "layer", layer).name, layer.trainable)


def check_order(techniques: Sequence[Technique]) -> None:
    """Checks techniques against `ORDER`.

    Raises:
        UserError: a technique is unknown, repeated or misplaced; the message gives the reason.
    """
    for technique in techniques:
        if technique.name not in ORDER:
            raise UserError(f"unknown technique {technique.name!r}; the techniques are {', '.join(ORDER)}")
    for first, second in pairwise(techniques):
        if first.ends_training:
            raise UserError(
                f"{second.name} cannot follow {first.name}: after {first.name}, the model can only be exported"
            )
        if first.scales_outputs:
            raise UserError(
                f"{second.name} cannot follow {first.name} with scales: true, because it keeps no scale per output; "
                "leave scales out"
            )
        repeated = first.name == second.name
        if ORDER.index(first.name) > ORDER.index(second.name) or (repeated and not first.may_repeat):
            reason = "it would be done twice" if repeated else f"it would undo what {first.name} established"
            raise UserError(f"{second.name} cannot follow {first.name}: {reason}; the order is {' → '.join(ORDER)}")
