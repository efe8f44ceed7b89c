"""Measures how long the rehearsals of the shipped recipes take, and that of a ViT-B with random weights.

Seconds are those of the clock, from what the run itself does for its rehearsal to the end of that; start it on a quiet
machine. Processor seconds are those of both processes.

python -m benchmarks.rehearsal
python -m benchmarks.rehearsal vit_digits --save=benchmarks/results/rehearsal.json
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tf_keras
from absl import app, flags

from tfcompress import Cluster, Dataset, Export, Prune, Quantize
from tfcompress.errors import UserError
from tfcompress.files import write_json
from tfcompress.measure import environment
from tfcompress.models import presets
from tfcompress.optimize.technique import Technique
from tfcompress.process import call_apart
from tfcompress.runs.base import build_model, load_data
from tfcompress.runs.chain import Chain
from tfcompress.runs.recipe import Recipe, shipped
from tfcompress.runs.rehearsal import perform, script_of
from tfcompress.runs.stages import save_model
from tfcompress.training import Objective

_SAVE = flags.DEFINE_string("save", None, "Also write the figures to this JSON file.")

_VIT_BASE = "vit_base"
Figures = dict[str, float]


def main(arguments: Sequence[str]) -> None:
    """Prints the seconds of each rehearsal as a Markdown table."""
    print("| model or recipe | seconds | processor seconds |\n| -- | -- | -- |")
    found: dict[str, Figures] = {}
    for name in arguments[1:] or [*shipped(), _VIT_BASE]:
        try:
            found[name] = _measured(*(_vit_base() if name == _VIT_BASE else _of_recipe(name)))
        except UserError as error:
            print(f"| {name} | {error} | |", flush=True)
        else:
            seconds, processor = found[name].values()
            print(f"| {name} | {seconds:.1f} | {processor:.1f} |", flush=True)
    if _SAVE.value:
        circumstances = {
            "command": f"python -m benchmarks.rehearsal {' '.join(sys.argv[1:])}",
            "date": environment.now(),
            "machine": environment.machine(),
            "versions": environment.versions(),
        }
        write_json(Path(_SAVE.value), {**circumstances, "rehearsals": found})


def _measured(chain: Chain, model: tf_keras.Model, data: Dataset) -> Figures:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started, before = time.monotonic(), _processor_seconds()
        script, short = script_of(chain, model, data)
        save_model(short, folder / "model.h5")
        call_apart(f"model {model.name}", "see above", perform, script, folder)
        return {"seconds": time.monotonic() - started, "processor seconds": _processor_seconds() - before}


def _processor_seconds() -> float:
    """Returns the processor time of this process and of its children that have ended."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(x.ru_utime + x.ru_stime for x in used)


def _of_recipe(name: str) -> tuple[Chain, tf_keras.Model, Dataset]:
    recipe = Recipe.load(name)
    model, data = build_model(recipe, load_data(recipe))
    techniques = [step.technique for step in recipe.techniques]
    chain = Chain(
        Path(), lambda: (model, data), recipe.training or None, techniques, Objective(), recipe.export, recipe.seed
    )
    return chain, model, data


def _vit_base() -> tuple[Chain, tf_keras.Model, Dataset]:
    images = np.random.default_rng(0).random((4, 224, 224, 3), np.float32), np.arange(4)
    data = Dataset.from_arrays("noise", ("a", "b", "c", "d"), images, images, images)
    model = presets.build("vit_base", 4)
    techniques: list[Technique] = [Prune(), Cluster(), Quantize()]
    return Chain(Path(), lambda: (model, data), None, techniques, Objective(), Export(), 0), model, data


if __name__ == "__main__":
    app.run(main)
