"""Shares bits out among the layers of a model: so many on average, where they spare its outputs most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.errors import UserError
from tfcompress.measure.interpreter import Example
from tfcompress.optimize.clustering import Cluster
from tfcompress.post_training.damage import Damage
from tfcompress.post_training.method import Settings
from tfcompress.runs.exporting import ExportedFile
from tfcompress.study.bits import layer_damages, opened
from tfcompress.study.kept import Kept

WIDTHS = (2, 3, 4, 5, 6, 7, 8)
"""The bits that a layer can get."""


@dataclass(frozen=True)
class LayerTable:
    """What clustering each layer alone does to a model's outputs.

    Attributes:
        weights: their number by layer.
        divergences: of the outputs, in nats, by layer and bits.
    """

    weights: Mapping[str, int]
    divergences: Mapping[str, Mapping[int, float]]

    def settings(self, mean: float) -> dict[str, dict[str, int]]:
        """Returns settings of `cluster` by layer, with at most `mean` bits per weight on average."""
        return {name: {"clusters": 1 << bits} for name, bits in self.bits(mean).items()}

    def bits(self, mean: float) -> dict[str, int]:
        """Returns the bits by layer: each step up is the one that spares most divergence for its bits."""
        chosen = dict.fromkeys(self.weights, WIDTHS[0])
        left = (mean - WIDTHS[0]) * sum(self.weights.values())
        while True:
            steps = [
                ((self.divergences[name][bits] - self.divergences[name][width]) / cost, name, width)
                for name, bits in chosen.items()
                for width in WIDTHS
                if width > bits and (cost := (width - bits) * self.weights[name]) <= left + 1e-6
            ]
            spared, name, width = max(steps, default=(0.0, "", 0))
            if spared <= 0:
                return chosen
            left -= (width - chosen[name]) * self.weights[name]
            chosen[name] = width


def measure_layers(file: ExportedFile, technique: Cluster, examples: int, seed: int, folder: Path) -> LayerTable:
    """Clusters one layer of a base model at a time, without training.

    Args:
        file: the float32 file of the base model.
        technique: decides which layers count.
        examples: how many of the training examples are looked at, or of those without labels.
        seed: of the draw of the examples.
        folder: keeps what was measured.

    Raises:
        UserError: the data have no such examples, or the model gives no scores; see `tfcompress.study.bits`.
    """
    stage = file.stage
    fed = _examples(stage.data.sample(examples, seed))
    content, sizes = opened(file.path.read_bytes())
    selected = technique.model_copy(update={"layers": {}}).select(stage.model)
    layers = {one.tensor: one.layer for one in file.tensors if one.layer in selected and one.tensor in sizes}
    if not layers:
        raise UserError(f"no layer of model {stage.model.name} has enough weights to share bits out; search `clusters`")
    found = layer_damages(content, fed, list(layers), Settings(scales=False), Kept(folder, Damage), WIDTHS)
    return LayerTable(
        {layer: sizes[tensor] for tensor, layer in layers.items()},
        {layers[tensor]: {bits: one.divergence for bits, one in of.items()} for tensor, of in found.items()},
    )


def _examples(features: Any) -> list[Example]:
    if isinstance(features, Mapping):
        return [dict(zip(features, row, strict=True)) for row in zip(*features.values(), strict=True)]
    return list(np.asarray(features))
