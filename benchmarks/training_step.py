"""Measures the processor time of a training step with each technique, relative to a plain step of the same model.

All variants take turns in one process with one thread, in a rotating order, so that noise affects them equally.

python benchmarks/training_step.py --preset=vit_fashion_mnist --batch_size=128
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from absl import app, flags
from rich.console import Console
from rich.table import Table

from tfcompress import Cluster, Dataset, Prune, Quantize, Training
from tfcompress.models import presets
from tfcompress.optimize.technique import Context, LayerTechnique
from tfcompress.training import Objective, compile_model, fit, make_repeatable
from tfcompress.traits import Traits, check_model, measure_model

_PRESET = flags.DEFINE_enum("preset", "vit_fashion_mnist", list(presets.VIT_PRESETS), "Preset of the model.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Examples per step.")
_ROUNDS = flags.DEFINE_integer("rounds", 30, "Number of steps per variant.")

_ONE_EPOCH = Training(epochs=1, batch_size=32)
_CHAINS: dict[str, tuple[LayerTechnique[Any], ...]] = {
    "prune": (Prune(fit=_ONE_EPOCH),),
    "cluster": (Cluster(fit=_ONE_EPOCH),),
    "cluster, zeros kept": (Prune(schedule="constant", fit=_ONE_EPOCH), Cluster(fit=_ONE_EPOCH)),
    "QAT": (Quantize(fit=_ONE_EPOCH),),
    "PQAT": (Prune(schedule="constant", fit=_ONE_EPOCH), Quantize(fit=_ONE_EPOCH)),
    "CQAT": (Cluster(fit=_ONE_EPOCH), Quantize(fit=_ONE_EPOCH)),
    "PCQAT": (Prune(schedule="constant", fit=_ONE_EPOCH), Cluster(fit=_ONE_EPOCH), Quantize(fit=_ONE_EPOCH)),
}


def main(_: Sequence[str]) -> None:
    """Prints one row per technique: the median, over the rounds, of its step time divided by that of a plain step."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    make_repeatable(0)
    size = presets.VIT_PRESETS[_PRESET.value].image_size
    data = _random_images(size)
    plain = presets.build(_PRESET.value, 10)
    variants = {"plain": plain} | {name: _prepared(plain, chain, data) for name, chain in _CHAINS.items()}
    rng = np.random.default_rng(0)
    images = rng.random((_BATCH_SIZE.value, size, size, 3), np.float32)
    labels = rng.integers(0, 10, _BATCH_SIZE.value)
    compile_model(plain, _ONE_EPOCH, Objective(), 1000)
    times: dict[str, list[float]] = {name: [] for name in variants}
    names = list(variants)
    for number in range(-3, _ROUNDS.value):  # the first three rounds are a warm-up
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            start = time.process_time()
            variants[name].train_on_batch(images, labels)
            if number >= 0:
                times[name].append(time.process_time() - start)
    table = Table("technique", "step / plain step", "10 % to 90 % of rounds")
    for name, taken in times.items():
        ratios = np.array(taken) / times["plain"]
        low, high = np.quantile(ratios, [0.1, 0.9])
        table.add_row(name, f"{np.median(ratios):.2f}", f"{low:.2f}-{high:.2f}")
    Console(width=100).print(table)


def _prepared(model: tf_keras.Model, chain: Sequence[LayerTechnique[Any]], data: Dataset) -> tf_keras.Model:
    """Returns the model wrapped by the last technique of a chain, after a short training with each earlier one."""
    traits: Traits = measure_model(model)
    for technique in chain:
        wrapped = technique.prepare(model, Context(data, traits, 1000))
        if technique is chain[-1]:
            compile_model(wrapped, technique.fit, Objective(), 1000)
            for callback in technique.callbacks():
                callback.set_model(wrapped)
                callback.on_train_begin()
            return wrapped
        with TemporaryDirectory() as folder:
            fit(wrapped, data, technique.fit, Objective(), 0, Path(folder), technique.callbacks(), technique.name)
        finished = technique.finalize(wrapped)
        traits = technique.promises(model, traits)
        check_model(finished, traits, model)
        model = finished
    return model


def _random_images(size: int) -> Dataset:
    rng = np.random.default_rng(0)
    split = rng.random((64, size, size, 3), np.float32), rng.integers(0, 10, 64)
    return Dataset.from_arrays("random", [str(i) for i in range(10)], split, split, split)


if __name__ == "__main__":
    app.run(main)
