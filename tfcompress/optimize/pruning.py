"""Magnitude pruning: the smallest weights become zero (Zhu & Gupta, arXiv 1710.01878; tfmot.sparsity)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from pydantic import Field, field_validator, model_validator

from tfcompress.errors import UserError
from tfcompress.optimize.plain_python import strip_pruning
from tfcompress.optimize.pruning_masks import ExactPruning, kept
from tfcompress.optimize.technique import (
    Context,
    KernelSettings,
    LayerTechnique,
    copy_model,
    protect_established,
)
from tfcompress.settings import Settings
from tfcompress.traits import FloatArray, KernelTraits, Traits

_MASK_UPDATES = 20
"""How many times a polynomial schedule raises the sparsity."""


class LayerPruning(KernelSettings):
    """How the kernel of one layer is pruned."""

    sparsity: float = Field(0.5, gt=0, lt=1, description="share of the weights, or of the blocks, that become zero")
    schedule: Literal["polynomial", "constant"] = Field(
        "polynomial",
        description="polynomial: sparsity rises cubically from zero during `ramp`; constant: all at the first step",
    )
    ramp: float = Field(
        0.6, gt=0, le=1, description="share of the training steps in which a polynomial schedule raises the sparsity"
    )
    pattern: str = Field(
        "unstructured",
        description="`unstructured`, `2:4` (two zeros in every four inputs), or blocks such as `4x1`",
    )

    def applied(self, kernel: FloatArray, keep_zeros: bool = False) -> FloatArray:
        """See `KernelSettings.applied`."""
        return np.where(kept(kernel, self.sparsity, self.pattern), kernel, np.float32(0))

    @field_validator("pattern")
    @classmethod
    def _known_pattern(cls, pattern: str) -> str:
        if pattern not in ("unstructured", "2:4") and not re.fullmatch(r"[1-9]\d*x[1-9]\d*", pattern):
            raise ValueError(f"{pattern!r} is neither unstructured nor 2:4 nor a block such as 4x1 (inputs x outputs)")
        return pattern

    @model_validator(mode="after")
    def _half_if_two_of_four(self) -> LayerPruning:
        if self.pattern == "2:4" and self.sparsity != 0.5:
            raise ValueError(f"pattern 2:4 means sparsity 0.5, not {self.sparsity}")
        return self


class Prune(LayerPruning, LayerTechnique[LayerPruning]):
    """Magnitude pruning of Dense kernels, and of Conv2D kernels that `types` or `layers` names.

    Weights that are zero before stay zero, also if they are more than `sparsity` asks for. Only a kernel that is all
    zero is trained like any other.
    """

    name: ClassVar[str] = "prune"
    short_tables: ClassVar[bool] = True
    layer_settings: ClassVar[type[Settings]] = LayerPruning
    layer_types: ClassVar[tuple[type, ...]] = (tf_keras.layers.Dense, tf_keras.layers.Conv2D)

    def check(self, model: tf_keras.Model) -> None:
        for name, settings in self.select(model).items():
            shape = model.get_layer(name).kernel.shape
            if settings.pattern == "2:4" and shape[-2] % 4:
                raise UserError(
                    f"prune: {name} has {shape[-2]} inputs, but 2:4 needs a multiple of 4; set layers.{name}: false"
                )
            if "x" in settings.pattern and len(shape) != 2:
                raise UserError(
                    f"prune: the kernel of {name} has shape {tuple(shape)}; blocks are for Dense layers only"
                )

    def prepare(self, model: tf_keras.Model, context: Context) -> tf_keras.Model:
        selected = self.select(model)

        def wrap(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
            if layer.name not in selected:
                return protect_established(layer, context.traits)
            settings = selected[layer.name]
            return ExactPruning(layer, settings.pattern, pruning_schedule=_schedule(settings, context.total_steps))

        return copy_model(model, wrap)

    def callbacks(self) -> Sequence[tf_keras.callbacks.Callback]:
        return [tfmot.sparsity.keras.UpdatePruningStep()]

    def finalize(self, wrapped: tf_keras.Model) -> tf_keras.Model:
        return strip_pruning(wrapped)

    def promises(self, model: tf_keras.Model, traits: Traits) -> Traits:
        pruned = {}
        for name, settings in self.select(model).items():
            before = traits.get(name, KernelTraits())
            kept = before.sparsity if before.pattern == settings.pattern else 0.0
            pruned[name] = KernelTraits(sparsity=max(settings.sparsity, kept), pattern=settings.pattern)
        return {**traits, **pruned}


def _schedule(settings: LayerPruning, total_steps: int) -> Any:
    """Returns tfmot's schedule for one layer."""
    schedules = tfmot.sparsity.keras
    if settings.schedule == "constant" or settings.pattern == "2:4":
        # It prunes once, at the first step, and then keeps its masks.
        return schedules.ConstantSparsity(settings.sparsity, begin_step=1, end_step=1, frequency=1)
    every = max(1, int(total_steps * settings.ramp) // _MASK_UPDATES)
    updates = max(1, int(total_steps * settings.ramp) // every)
    return schedules.PolynomialDecay(0.0, settings.sparsity, begin_step=0, end_step=updates * every, frequency=every)
