"""Sensitivity: how clustering or pruning one layer alone, without training, changes the loss."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Literal

import numpy as np
import tf_keras
from pydantic import TypeAdapter

from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError
from tfcompress.files import read_json, write_json
from tfcompress.measure.quality import Change, Metric, Quality, change, quality
from tfcompress.models.functional import with_listed_outputs
from tfcompress.optimize.technique import KernelSettings
from tfcompress.progress import bar
from tfcompress.runs.base import check_fit, fingerprint, given_outputs, take_model
from tfcompress.runs.pixels import with_pixels_for
from tfcompress.runs.workdir import claim
from tfcompress.study.outcomes import Outcome, Outcomes
from tfcompress.study.treatments import TREATMENTS, treatments
from tfcompress.traits import KERNELS, FloatArray, kernels, measure_model

LayerSettings = dict[str, int | float]
"""A recipe's settings for one layer, such as `{"clusters": 64}`."""

RecipeStep = dict[str, dict[str, dict[str, LayerSettings | Literal[False]]]]
"""A technique with its settings by layer, as a recipe's `techniques` holds it."""


@dataclass(frozen=True)
class Effect:
    """The effect of one treatment of one layer.

    Attributes:
        technique: `prune` or `cluster`.
        settings: the recipe's settings for it, such as `{"clusters": 64}`.
        loss: the mean over the examples.
        change: the loss minus the loss without the treatment.
        standard_error: of the change, paired by example.
        quality: how the task's first figure of quality changed.
    """

    technique: str
    settings: LayerSettings
    loss: float
    change: float
    standard_error: float
    quality: Change


@dataclass(frozen=True)
class Layer:
    """A layer with a kernel: its name, class, number of weights, and the effects of treatments, the mildest first."""

    name: str
    kind: str
    weights: int
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class Sensitivity:
    """The loss on some validation examples, and how treatments of single layers change it.

    Attributes:
        model, data: names of the model and the data set.
        examples: number of examples, the first of the validation split.
        loss: the mean of the untreated model; of classes, it is in nats.
        quality: of the untreated model, the task's first figure.
        layers: in the model's order.
        tolerance: how much one layer may raise the loss.
        techniques: settings for a recipe, see `tolerable`.
    """

    model: str
    data: str
    examples: int
    loss: float
    quality: Quality
    layers: tuple[Layer, ...]
    tolerance: float
    techniques: list[RecipeStep]

    def save(self, path: Path) -> None:
        """Writes the study as JSON."""
        write_json(path, TypeAdapter(Sensitivity).dump_python(self, mode="json"))

    @classmethod
    def load(cls, path: Path) -> Sensitivity:
        """Reads a study that `save` wrote."""
        return TypeAdapter(cls).validate_python(read_json(path))


def sensitivity(
    model: object,
    data: Dataset,
    workdir: Path,
    examples: int = 256,
    tolerance: float = 0.01,
    outputs: str | None = None,
) -> Sensitivity:
    """Treats one layer at a time, without training, and compares the loss.

    Args:
        model: see `tfcompress.runs.base.take_model`. It is not changed.
        data: the data as the model takes them.
        workdir: keeps the outcome of each treatment, so that the same call resumes an interrupted one.
        examples: number of examples, the first of the validation split; all of them if there are fewer.
        tolerance: how much one layer may raise the loss, see `tolerable`.
        outputs: `logits` or `probabilities`, what the model gives, if that cannot be found out.

    Raises:
        UserError: the model does not fit the data or has no layer to treat, or the folder holds another study.
    """
    if examples < 2 or tolerance < 0:
        raise UserError(f"examples is {examples} and tolerance {tolerance}; they must be at least 2 and 0")
    if not data.task.has_loss:
        raise UserError(
            f"data set {data.name} is for {data.task.name}, which has no loss to compare; give data whose labels say "
            "what the model should give"
        )
    data.check_not_empty("validation")
    functional, data = take_model(model, data)
    check_fit(functional, data)
    functional, _ = with_listed_outputs(functional)
    found, traits = kernels(functional), measure_model(functional)
    if not found:
        names = ", ".join(kind.__name__ for kind in KERNELS)
        raise UserError(
            f"model {functional.name} has no layer to treat; the layer types that can be treated are {names}"
        )
    data = with_pixels_for(functional, data, outputs=outputs)
    gives = given_outputs(functional, data, outputs)
    outcomes = Outcomes(functional, gives, data, examples, workdir / "outcomes")
    description = {
        "model": {"name": functional.name, "sha256": fingerprint(functional)},
        "data": {"name": data.name, "examples": outcomes.examples, "sha256": outcomes.digest()},
    }
    claim(workdir, "study", description)
    planned = {name: list(treatments(functional.get_layer(name))) for name in found}
    layers = []
    with bar("sensitivity", 1 + sum(map(len, planned.values()))) as shown:
        base = outcomes.of("base")
        if not np.isfinite(base.losses).all():
            raise UserError(f"model {functional.name} gives NaN or infinity for data set {data.name}; train it again")
        shown.advance()
        for number, (name, kernel) in enumerate(found.items()):
            layer, effects = functional.get_layer(name), []
            for technique, treatment in planned[name]:
                settings = treatment.model_dump(exclude_unset=True)
                key = "-".join([f"{number:03}", technique, *map(str, settings.values())])
                treated = _treated(layer, kernel, treatment, keep_zeros=traits[name].sparsity > 0)
                outcome = outcomes.of(key, treated)
                effects.append(_effect(technique, settings, outcomes.metric, base, outcome))
                shown.advance(note=name)
            layers.append(Layer(name, type(layer).__name__, kernel.size, tuple(effects)))
    return Sensitivity(
        functional.name,
        data.name,
        outcomes.examples,
        base.loss,
        quality(outcomes.metric, np.array(base.scores)),
        tuple(layers),
        tolerance,
        tolerable(layers, tolerance),
    )


def tolerable(layers: Sequence[Layer], tolerance: float) -> list[RecipeStep]:
    """Returns settings that a recipe can use as its `techniques`.

    Each layer gets its strongest tolerable treatment, or `false` if it tolerates none. A technique that no layer
    tolerates is left out.
    """
    steps = []
    for technique in TREATMENTS:
        treatable = [layer for layer in layers if any(effect.technique == technique.name for effect in layer.effects)]
        chosen = {re.escape(layer.name): strongest_tolerable(layer, technique.name, tolerance) for layer in treatable}
        if any(chosen.values()):
            settings: dict[str, LayerSettings | Literal[False]] = {
                name: effect.settings if effect else False for name, effect in chosen.items()
            }
            steps.append({technique.name: {"layers": settings}})
    return steps


def strongest_tolerable(layer: Layer, technique: str, tolerance: float) -> Effect | None:
    """Returns the last effect of a technique before the first that raises the loss by more than `tolerance`."""
    effects = [effect for effect in layer.effects if effect.technique == technique]
    tolerated = list(takewhile(lambda effect: effect.change <= tolerance, effects))
    return tolerated[-1] if tolerated else None


@contextmanager
def _treated(
    layer: tf_keras.layers.Layer, kernel: FloatArray, treatment: KernelSettings, keep_zeros: bool
) -> Iterator[None]:
    """Treats the kernel of a layer while the `with` block runs."""
    variable = getattr(layer, KERNELS[type(layer)])
    variable.assign(treatment.applied(kernel, keep_zeros))
    try:
        yield
    finally:
        variable.assign(kernel)


def _effect(technique: str, settings: LayerSettings, metric: Metric, base: Outcome, outcome: Outcome) -> Effect:
    differences = np.subtract(outcome.losses, base.losses)
    return Effect(
        technique,
        settings,
        outcome.loss,
        change=float(differences.mean()),
        standard_error=float(differences.std(ddof=1) / len(differences) ** 0.5),
        quality=change(metric, np.array(base.scores), np.array(outcome.scores)),
    )
