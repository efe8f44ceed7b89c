"""The rows of `ablations.py` with training: a small ViT on Fashion-MNIST, whose stages differ in one setting.

A row is named after its stages, `prune-50+cluster-64+quantize-2`. Each stage is a run of its own that starts from the
model of the one before, so that rows share their first stages, and any order can be tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

from benchmarks.ablations_rows import TRAINED
from tfcompress import Cluster, Dataset, Distil, Export, Halve, Prune, Quantize, Remove, Training
from tfcompress.data.images import fashion_mnist
from tfcompress.models import presets
from tfcompress.optimize.technique import Technique
from tfcompress.runs.chain import Chain
from tfcompress.runs.exporting import export_stage
from tfcompress.runs.stages import Stage
from tfcompress.training import Objective, make_repeatable

_TRAINING, _VALIDATION = 12_800, 500
"""Pictures of these splits; 100 steps are an epoch."""
_BATCH = 128
_SMALLER: dict[str, tuple[Technique, ...]] = {"whole": (), "halve": (Halve(),), "remove": (Remove(),)}
_EXPORT = Export(formats=("float32",), clustered=False)


@dataclass(frozen=True)
class Trained:
    """Makes the files of rows with training.

    Attributes:
        data: what models learn and are measured on.
        folder: of the stages.
        seeds: of training and centroids.
        epochs: of the float32 models.
        changes: what differs from the preset `vit_fashion_mnist`.
    """

    data: Dataset
    folder: Path
    seeds: Sequence[int]
    epochs: int
    changes: dict[str, int]

    base = next(iter(TRAINED))
    """The row of the float32 file."""

    @classmethod
    def of(cls, folder: Path, files: Path | None, seeds: Sequence[int]) -> Trained:
        """Reads a part of Fashion-MNIST's training split, and its whole test split; see `fashion_mnist` for `files`."""
        whole = fashion_mnist(files)
        data = replace(whole, train=whole.train.take(_TRAINING), validation=whole.validation.take(_VALIDATION))
        return cls(data, folder, seeds, 8, {"depth": 2})

    @classmethod
    def quick(cls, folder: Path) -> Trained:
        """Makes random pictures, and a smaller model for them."""
        random = np.random.default_rng(0)
        split = random.random((32, 28, 28, 3), np.float32), random.integers(0, 10, 32)
        data = Dataset.from_arrays("random", [str(i) for i in range(10)], split, split, split)
        return cls(data, folder, (0,), 1, {"depth": 1, "width": 16, "heads": 1})

    @cached_property
    def examples(self) -> Sequence[dict[str, npt.NDArray[Any]]]:
        """The pictures that are measured on."""
        return [{"image": image} for image, _ in self.data.examples("test").as_numpy_iterator()]

    @cached_property
    def labels(self) -> npt.NDArray[np.integer]:
        """Their classes `(examples,)`."""
        return np.array([label for _, label in self.data.examples("test").as_numpy_iterator()])

    def content(self, name: str, seed: int) -> bytes:
        """Makes the stock file of a row: int8 after quantization, else float32."""
        stages = () if name == self.base else tuple(name.split("+"))
        [file] = export_stage(self._stage(stages, seed), _EXPORT, self._folder(stages, seed))
        return file.path.read_bytes()

    def _stage(self, names: tuple[str, ...], seed: int) -> Stage:
        """Returns the last of some stages, made now or by an earlier call."""
        done: tuple[Technique, ...] = ()
        training = None
        if names:
            model, done = self._stage(names[:-1], seed).model, techniques(names[-1])
        else:
            make_repeatable(seed)
            model = presets.build("vit_fashion_mnist", len(self.data.classes), 0.1, **self.changes)
            training = Training(
                epochs=self.epochs, batch_size=_BATCH, learning_rate=2e-3, warmup=0.1, weight_decay=0.05
            )
        chain = Chain(self._folder(names, seed), lambda: (model, self.data), training, done, Objective(), _EXPORT, seed)
        *_, last = chain.stages(_begin)
        return last

    def _folder(self, names: tuple[str, ...], seed: int) -> Path:
        return self.folder / str(seed) / ("+".join(names) or self.base)


def _begin(chain: Chain, model: tf_keras.Model, data: Dataset) -> None:
    """Needs no rehearsal."""


def techniques(stage: str) -> tuple[Technique, ...]:
    """Returns what a stage does.

    That is `prune-PERCENT`, `cluster-CLUSTERS`, `cluster-CLUSTERS-START`, `quantize-EPOCHS`, `halve`, `remove`, or one
    of these two or `whole` with `-distil`, which trains with the model before as the teacher.
    """
    kind, *settings = stage.split("-")
    if kind in _SMALLER:
        return (*_SMALLER[kind], Distil(fit=_training(4, 1e-3))) if settings else _SMALLER[kind]
    return (_technique(kind, *settings),)


def _technique(kind: str, number: str, *start: str) -> Technique:
    if kind == "prune":
        return Prune(sparsity=int(number) / 100, fit=_training(4, 5e-4))
    if kind == "cluster":
        started = {"initialization": start[0]} if start else {}
        return Cluster.model_validate({"clusters": int(number), "fit": _training(2), **started})
    return Quantize(fit=_training(int(number)))


def _training(epochs: int, learning_rate: float = 1e-4) -> Training:
    return Training(epochs=epochs, batch_size=_BATCH, learning_rate=learning_rate)
