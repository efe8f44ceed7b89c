"""The one interface of all techniques, and how a setting reaches a layer."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import tf_keras
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tfcompress.data.dataset import Dataset, Targets
from tfcompress.errors import UserError
from tfcompress.training import Objective, Training
from tfcompress.traits import KernelTraits, Traits

ORDER = ("halve", "remove", "trim_vocabulary", "distil", "prune", "cluster", "quantize")
"""The legal order of techniques; any subset of it is legal too. Structure changes first, distillation mends what that
cost, and each of the others keeps what those before it established: clustering keeps pruned zeros at zero, quantization
keeps zeros and clusters. The other way round they would undo it."""


class Settings(BaseModel):
    """Base of what a recipe and its techniques set: unchangeable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Finished:
    """A model of the run with the data it takes: a tokenizer's vocabulary may have been trimmed since."""

    model: tf_keras.Model
    data: Dataset


@dataclass(frozen=True)
class Context:
    """What a technique may need to know beside the model.

    Attributes:
        data: what the model takes, and learns from if it is trained.
        traits: what holds for each kernel of the model that is handed in.
        total_steps: training steps that will follow `prepare`.
        seed: of whatever is drawn.
        objective: what the run's training minimises.
        earlier: the models of the stages before, by the stage's name.
        folder: for what a teacher answers, `workdir/teacher`: of all stages, and removed when the run ends.
    """

    data: Dataset
    traits: Traits
    total_steps: int = 0
    seed: int = 0
    objective: Objective = field(default_factory=Objective)
    earlier: Mapping[str, Finished] = field(default_factory=dict)
    folder: Path = Path()


@dataclass(frozen=True)
class Lesson:
    """What a stage learns instead of the labels alone.

    Attributes:
        objective: with losses for the targets.
        targets: what a batch is compared with.
    """

    objective: Objective
    targets: Targets


class Technique(Settings, ABC):
    """A way to make a plain tf_keras model smaller: `prepare`, train with `callbacks()`, `finalize`."""

    name: ClassVar[str]

    fit: Training | None = Field(None, description="the training that follows; none by default")

    @abstractmethod
    def prepare(self, model: tf_keras.Model, context: Context) -> tf_keras.Model:
        """Returns a wrapped copy of a plain model, ready to be trained; the model itself is never changed."""

    def lesson(self, wrapped: tf_keras.Model, context: Context) -> Lesson | None:
        """Returns what the wrapped model learns, or None for the run's own objective."""
        return None

    def learns_from(self, data: Dataset) -> Dataset:
        """Returns what the wrapped model learns from."""
        return data

    def adapt(self, data: Dataset) -> Dataset:
        """Returns the data as the finalized model takes it."""
        return data

    def callbacks(self) -> Sequence[tf_keras.callbacks.Callback]:
        """Returns the callbacks that the training needs."""
        return []

    def finalize(self, wrapped: tf_keras.Model) -> tf_keras.Model:
        """Takes the wrapping off a trained model."""
        return wrapped

    @abstractmethod
    def promises(self, model: tf_keras.Model, traits: Traits) -> Traits:
        """Returns the traits that the finalized model will have, given those of the model before."""

    @abstractmethod
    def check(self, model: tf_keras.Model) -> None:
        """Raises a `UserError` for settings that do not fit a model; called before any training."""


class LayerTechnique(Technique, Generic[S]):
    """A technique that treats layers one by one, each with its own settings.

    A subclass inherits its per-layer settings `S` as well, so that the global setting is its own fields; `types` then
    changes them for the layers of a class, and `layers` for those whose whole name matches a regular expression.
    Later entries win. `false` leaves a layer alone.
    """

    layer_settings: ClassVar[type[Settings]]
    layer_types: ClassVar[tuple[type, ...]]
    """The layers it can treat; only those of the first class are treated unasked."""

    fit: Training = Field(Training(), description="the training that follows")
    types: dict[str, S | Literal[False]] = Field({}, description="settings by layer class")
    layers: dict[str, S | Literal[False]] = Field({}, description="settings by pattern of layer names")

    def check(self, model: tf_keras.Model) -> None:
        self.select(model)

    def select(self, model: tf_keras.Model) -> dict[str, S]:
        """Returns the settings of each layer to be treated, by the layer's name.

        Raises:
            UserError: a type or pattern that matches no layer this technique can treat, or no layer at all; or settings
                that are wrong together.
        """
        for pattern in self.layers:
            try:
                re.compile(pattern)
            except re.error as error:
                raise UserError(f"{self.name}.layers: {pattern!r} is not a regular expression: {error}") from None
        known = {kind.__name__ for kind in self.layer_types}
        for kind in self.types:
            if kind not in known:
                raise UserError(
                    f"{self.name}.types: {kind!r} is not a layer type it can treat: {', '.join(sorted(known))}"
                )
        treatable = [layer for layer in model.layers if type(layer) in self.layer_types]
        for what, keys, found in (
            ("types", self.types, {type(layer).__name__ for layer in treatable}),
            ("layers", self.layers, {key for key in self.layers if any(re.fullmatch(key, x.name) for x in treatable)}),
        ):
            for key in keys:
                if key not in found:
                    names = ", ".join(layer.name for layer in treatable)
                    raise UserError(f"{self.name}.{what}: {key!r} matches no layer; those it can treat are {names}")
        selected: dict[str, S] = {}
        for layer in treatable:
            overrides = [self.types[type(layer).__name__]] if type(layer).__name__ in self.types else []
            overrides += [value for pattern, value in self.layers.items() if re.fullmatch(pattern, layer.name)]
            asked_for = type(layer) is self.layer_types[0] or bool(overrides)
            if asked_for and not (overrides and overrides[-1] is False):
                selected[layer.name] = self._merged([o for o in overrides if o is not False])
        if not selected:
            kinds = ", ".join(kind.__name__ for kind in self.layer_types)
            raise UserError(f"{self.name}: no layer is left to treat; it can treat {kinds}")
        return selected

    def _merged(self, overrides: Sequence[S]) -> S:
        merged: dict[str, Any] = {key: getattr(self, key) for key in self.layer_settings.model_fields}
        for override in overrides:
            merged |= override.model_dump(exclude_unset=True)
        try:
            return self.layer_settings(**merged)  # type: ignore[return-value]
        except ValidationError as error:
            reason = "; ".join(detail["msg"].removeprefix("Value error, ") for detail in error.errors())
            raise UserError(
                f"{self.name}: its settings and those of types or layers do not fit together: {reason}"
            ) from None


def copy_model(
    model: tf_keras.Model, wrap: Callable[[tf_keras.layers.Layer], tf_keras.layers.Layer] | None = None
) -> tf_keras.Model:
    """Returns a copy of a functional model with its own weights, each layer passed through `wrap` if there is one.

    Weights go in before the wrapping, because tfmot reads them when it wraps.
    """
    copy = tf_keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy if wrap is None else tf_keras.models.clone_model(copy, clone_function=wrap)


def left_alone(layer: tf_keras.layers.Layer, traits: Traits) -> tf_keras.layers.Layer:
    """Returns a copied layer that is not treated, frozen if training would break what an earlier technique established.

    The pipeline thaws it after the stage.
    """
    established = traits.get(layer.name, KernelTraits())
    if established.sparsity or established.clusters:
        layer.trainable = False
    return layer


def thaw(finished: tf_keras.Model, source: tf_keras.Model) -> None:
    """Makes the layers of a finalized model trainable again where those of the model it came from are."""
    trainable = {layer.name: layer.trainable for layer in source.layers}
    for layer in finished.layers:
        layer.trainable = trainable.get(getattr(layer, "layer", layer).name, layer.trainable)


def check_order(names: Sequence[str]) -> None:
    """Checks techniques against `ORDER`.

    Raises:
        UserError: an unknown, repeated or misplaced technique, with the reason.
    """
    for name in names:
        if name not in ORDER:
            raise UserError(f"unknown technique {name!r}; the techniques are {', '.join(ORDER)}")
    for first, second in pairwise(names):
        if first == "quantize":
            raise UserError(f"{second} cannot follow quantize: a quantized model goes to export only")
        if ORDER.index(first) >= ORDER.index(second) and not first == second == "distil":
            reason = "it would be done twice" if first == second else f"it would undo what {first} established"
            raise UserError(f"{second} cannot follow {first}: {reason}; the order is {' → '.join(ORDER)}")
