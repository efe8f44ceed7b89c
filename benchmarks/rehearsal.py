"""Measures how long the rehearsals of the shipped recipes take, and that of a ViT-B with random weights.

python benchmarks/rehearsal.py [NAME …]
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tf_keras

from tfcompress import Cluster, Dataset, Export, Prune, Quantize
from tfcompress.errors import UserError
from tfcompress.models import presets
from tfcompress.optimize.technique import Technique
from tfcompress.process import call_apart
from tfcompress.runs.base import build_model, load_data
from tfcompress.runs.chain import Chain
from tfcompress.runs.recipe import Recipe, shipped
from tfcompress.runs.rehearsal import perform, script_of
from tfcompress.runs.stages import save_model
from tfcompress.training import Objective

_VIT_BASE = "vit_base: prune, cluster, quantize"


def main(names: list[str]) -> None:
    """Prints the seconds and processor seconds of each rehearsal, from the start of its process."""
    print("| recipe | seconds | processor seconds |\n| -- | -- | -- |")
    for name in names or [*shipped(), _VIT_BASE]:
        try:
            seconds, processor = _measured(*(_vit_base() if name == _VIT_BASE else _of_recipe(name)))
        except UserError as error:
            print(f"| {name} | {error} | |", flush=True)
        else:
            print(f"| {name} | {seconds:.0f} | {processor:.0f} |", flush=True)


def _measured(chain: Chain, model: tf_keras.Model, data: Dataset) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started, before = time.monotonic(), _processor_seconds()
        script, short = script_of(chain, model, data)
        save_model(short, folder / "model.h5")
        call_apart(f"model {model.name}", "see above", perform, script, folder)
        return time.monotonic() - started, _processor_seconds() - before


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _of_recipe(name: str) -> tuple[Chain, tf_keras.Model, Dataset]:
    recipe = Recipe.load(name)
    model, data = build_model(recipe, load_data(recipe))
    techniques = [step.technique for step in recipe.techniques]
    chain = Chain(Path(), lambda: (model, data), recipe.training, techniques, Objective(), recipe.export, recipe.seed)
    return chain, model, data


def _vit_base() -> tuple[Chain, tf_keras.Model, Dataset]:
    images = np.random.default_rng(0).random((4, 224, 224, 3), np.float32), np.arange(4)
    data = Dataset.from_arrays("noise", ("a", "b", "c", "d"), images, images, images)
    model = presets.build("vit_base", 4)
    techniques: list[Technique] = [Prune(), Cluster(), Quantize()]
    return Chain(Path(), lambda: (model, data), None, techniques, Objective(), Export(), 0), model, data


if __name__ == "__main__":
    main(sys.argv[1:])
