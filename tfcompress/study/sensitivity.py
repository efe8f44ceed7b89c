"""What clustering or pruning one layer alone, without training, does to the loss: which layers a recipe must spare."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras
from pydantic import TypeAdapter

from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError
from tfcompress.files import read_json, write_json
from tfcompress.measure.accuracy import Accuracy, Flips, accuracy, flips
from tfcompress.optimize.technique import KernelSettings
from tfcompress.progress import bar
from tfcompress.runs.base import check_fit, fingerprint, take_model
from tfcompress.runs.workdir import claim
from tfcompress.study.outcomes import Outcome, Outcomes
from tfcompress.study.treatments import TREATMENTS, treatments
from tfcompress.traits import KERNELS, FloatArray, kernels, measure_model


@dataclass(frozen=True)
class Effect:
    """What one treatment of one layer does.

    Attributes:
        technique: `prune` or `cluster`.
        settings: what a recipe says for it, such as `{"clusters": 64}`.
        loss: mean cross-entropy of the examples, in nats.
        change: by how much that is more than without the treatment.
        standard_error: of the change, from the differences of the examples.
        flips: of the answers.
    """

    technique: str
    settings: dict[str, int | float]
    loss: float
    change: float
    standard_error: float
    flips: Flips


@dataclass(frozen=True)
class Layer:
    """A layer with a kernel: name, class, weights in the kernel, and what each treatment does, the gentlest first."""

    name: str
    kind: str
    weights: int
    effects: tuple[Effect, ...]


@dataclass(frozen=True)
class Sensitivity:
    """The loss on some validation examples, and what each layer alone does to it.

    Attributes:
        model, data: their names.
        examples: how many, from the beginning of the validation split.
        loss: of the model as it is: mean cross-entropy, in nats.
        accuracy: of the model as it is.
        layers: in the model's order.
        tolerance: by how much a layer may raise the loss.
        techniques: for a recipe, see `tolerable`.
    """

    model: str
    data: str
    examples: int
    loss: float
    accuracy: Accuracy
    layers: tuple[Layer, ...]
    tolerance: float
    techniques: list[dict[str, Any]]

    def save(self, path: Path) -> None:
        """Writes the study as JSON."""
        write_json(path, TypeAdapter(Sensitivity).dump_python(self, mode="json"))

    @classmethod
    def load(cls, path: Path) -> Sensitivity:
        """Reads a study that `save` wrote."""
        return TypeAdapter(cls).validate_python(read_json(path))


def sensitivity(
    model: object, data: Dataset, workdir: Path, examples: int = 256, tolerance: float = 0.01
) -> Sensitivity:
    """Treats one layer after the other, each alone, and compares the loss; nothing is trained.

    Args:
        model: see `tfcompress.runs.base.take_model`; left as it is.
        data: as the model takes them.
        workdir: keeps what each treatment did, so that the same call goes on where one was cut off.
        examples: how many, from the beginning of the validation split; all of it if there are fewer.
        tolerance: by how much a layer may raise the loss, see `tolerable`.

    Raises:
        UserError: the model does not fit the data or has no layer to treat, or the folder holds another study.
    """
    if examples < 2 or tolerance < 0:
        raise UserError(f"examples is {examples} and tolerance {tolerance}; at least 2 and 0 are needed")
    functional, data = take_model(model, data)
    check_fit(functional, data)
    found, traits = kernels(functional), measure_model(functional)
    if not found:
        names = ", ".join(kind.__name__ for kind in KERNELS)
        raise UserError(f"model {functional.name} has no layer to treat; those that can be treated are {names}")
    outcomes = Outcomes(functional, data, examples, workdir / "outcomes")
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
                change = _treated(layer, kernel, treatment, keep_zeros=traits[name].sparsity > 0)
                effects.append(_effect(technique, settings, base, outcomes.of(key, change)))
                shown.advance(note=name)
            layers.append(Layer(name, type(layer).__name__, kernel.size, tuple(effects)))
    return Sensitivity(
        functional.name,
        data.name,
        outcomes.examples,
        base.loss,
        accuracy(np.array(base.correct)),
        tuple(layers),
        tolerance,
        tolerable(layers, tolerance),
    )


def tolerable(layers: Sequence[Layer], tolerance: float) -> list[dict[str, Any]]:
    """Returns what a recipe can take over as its `techniques`.

    Each layer gets its hardest tolerable treatment, or `false` if it has none. A technique that no layer tolerates is
    left out.
    """
    steps = []
    for technique in TREATMENTS:
        treatable = [layer for layer in layers if any(effect.technique == technique.name for effect in layer.effects)]
        chosen = {re.escape(layer.name): hardest_tolerable(layer, technique.name, tolerance) for layer in treatable}
        if any(chosen.values()):
            settings = {name: effect.settings if effect else False for name, effect in chosen.items()}
            steps.append({technique.name: {"layers": settings}})
    return steps


def hardest_tolerable(layer: Layer, technique: str, tolerance: float) -> Effect | None:
    """Returns the last effect of a technique before the first that raises the loss by more than `tolerance`."""
    effects = [effect for effect in layer.effects if effect.technique == technique]
    tolerated = list(takewhile(lambda effect: effect.change <= tolerance, effects))
    return tolerated[-1] if tolerated else None


@contextmanager
def _treated(
    layer: tf_keras.layers.Layer, kernel: FloatArray, treatment: KernelSettings, keep_zeros: bool
) -> Iterator[None]:
    """Treats the kernel of a layer as long as the block runs."""
    variable = getattr(layer, KERNELS[type(layer)])
    variable.assign(treatment.applied(kernel, keep_zeros))
    try:
        yield
    finally:
        variable.assign(kernel)


def _effect(technique: str, settings: dict[str, Any], base: Outcome, outcome: Outcome) -> Effect:
    differences = np.subtract(outcome.losses, base.losses)
    return Effect(
        technique,
        settings,
        outcome.loss,
        change=float(differences.mean()),
        standard_error=float(differences.std(ddof=1) / len(differences) ** 0.5),
        flips=flips(np.array(base.correct), np.array(outcome.correct)),
    )
