"""What `limits.py` tries with a kind of user model, and what counts as right."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.user_models.catalog import KINDS
from tests.user_models.kinds import CLASSES, Features, Kind, as_tensors
from tfcompress import Cluster, Dataset, Export, Prune, Quantize, Training, compress
from tfcompress.commands.convert import convert_file
from tfcompress.commands.pack import pack_file
from tfcompress.errors import UserError
from tfcompress.measure.interpreter import Runner
from tfcompress.models.signature import library
from tfcompress.models.user_code import import_modules
from tfcompress.optimize.technique import Technique

Array = npt.NDArray[Any]

_TOLERANCE = 1e-4
_EXAMPLES = 6
_FIT = Training(epochs=1, batch_size=16, learning_rate=1e-6)
_FAR = 0.1
"""Mean difference of probabilities between a quantized file and the user's model that no rounding explains."""


class WrongOutputsError(Exception):
    """A file computes something else than the model that it was made from, or lacks what was asked for."""


@dataclass(frozen=True)
class Trial:
    """A kind, its model, and what the model gives in float32 for some examples."""

    kind: Kind
    model: Any
    features: Features
    outputs: Array

    @classmethod
    def of(cls, name: str) -> Trial:
        kind = KINDS[name]
        model, features = kind.build(), kind.features(_EXAMPLES, seed=5)
        return cls(kind, model, features, _in_float32(model)(as_tensors(features), training=False).numpy())

    @property
    def probabilities(self) -> Array:
        if self.kind.probabilities:
            return self.outputs
        powers = np.exp(self.outputs - self.outputs.max(axis=1, keepdims=True))
        found: Array = powers / powers.sum(axis=1, keepdims=True)
        return found

    def examples(self, of_file: bool = False) -> Iterator[Any]:
        """Yields the features of one example after the other, as a file takes them if `of_file`."""
        features = self.features
        if of_file and self.kind.tokens is not None:
            assert not isinstance(features, Mapping)
            features = self.kind.tokens(self.model, features)
        if isinstance(features, Mapping):
            yield from (dict(zip(features, row, strict=True)) for row in zip(*features.values(), strict=True))
        else:
            yield from features

    def data(self) -> Dataset:
        """Returns random examples, enough for two steps."""

        def split(size: int, seed: int) -> tuple[Any, Any]:
            return self.kind.features(size, seed), np.arange(size) % CLASSES

        classes = [f"class {number}" for number in range(CLASSES)]
        return Dataset.from_arrays(self.kind.name, classes, split(32, 2), split(16, 3), split(16, 4))


def convert(trial: Trial, work: Path) -> None:
    """Converts the model's file, and compares the outputs with Keras's."""
    convert_file(_saved(trial, work), work / "model.tflite", "float32", allow_code=True)
    _compare(trial, work / "model.tflite", trial.outputs, packed=False)


def pack(trial: Trial, work: Path) -> str | None:
    """Packs the converted file of a copy with 16 distinct values per kernel, and compares the outputs with Keras's."""
    copy = trial.kind.build()
    for weight in copy.weights:
        value = np.asarray(weight)
        if value.ndim > 1 and value.size >= 256 and np.issubdtype(value.dtype, np.floating):
            centroids = np.quantile(value.astype(np.float32), np.linspace(0.03, 0.97, 16))
            nearest = np.abs(value[..., None].astype(np.float32) - centroids).argmin(axis=-1)
            weight.assign(centroids[nearest].astype(value.dtype))
    outputs = _in_float32(copy)(as_tensors(trial.features), training=False).numpy()
    clustered = Trial(trial.kind, copy, trial.features, outputs)
    convert_file(_saved(clustered, work), work / "model.tflite", "float32", allow_code=True)
    try:
        pack_file(work / "model.tflite", work / "packed.tflite")
    except UserError as error:
        if "nothing" in str(error):
            return "right: nothing to pack"
        raise
    _compare(clustered, work / "packed.tflite", clustered.outputs, packed=True)
    return None


def prune(trial: Trial, work: Path) -> None:
    """Compresses with half of the weights pruned; a kernel in the file must have these zeros."""
    tensors = _compressed(trial, work, Prune(sparsity=0.5, schedule="constant", fit=_FIT))
    if not any(tensor.sparsity >= 0.45 for tensor in tensors):
        raise WrongOutputsError("no kernel in the file has the zeros that were asked for")


def cluster(trial: Trial, work: Path) -> None:
    """Compresses with 16 clusters; a kernel in the file must have no more distinct values."""
    tensors = _compressed(trial, work, Cluster(clusters=16, initialization="linear", fit=_FIT))
    if not any(tensor.distinct <= 16 < np.prod(tensor.shape) for tensor in tensors):
        raise WrongOutputsError("no kernel in the file has the clusters that were asked for")


def quantize(trial: Trial, work: Path) -> None:
    """Compresses with quantization-aware training; a kernel in the file must be int8, and outputs near the model's."""
    tensors = _compressed(trial, work, Quantize(fit=_FIT), near=True)
    if not any(tensor.format == "int8" for tensor in tensors):
        raise WrongOutputsError("no kernel in the file is int8")


TRIALS: dict[str, Callable[[Trial, Path], str | None]] = {
    "convert": convert,
    "pack": pack,
    "prune": prune,
    "cluster": cluster,
    "quantize": quantize,
}


def _in_float32(model: Any) -> Any:
    """Returns a copy in float32 of a model in mixed precision, as a file computes in float32; or the model itself."""
    if all(layer.compute_dtype != "float16" for layer in model._flatten_layers()):
        return model
    copy = type(model).from_config(json.loads(json.dumps(model.get_config()).replace("mixed_float16", "float32")))
    copy.set_weights(model.get_weights())
    return copy


def _saved(trial: Trial, work: Path) -> Path:
    """Saves a model as its author would: in a `.keras` file, or in a SavedModel if Keras does not load the same."""
    path = work / "model.keras"
    own = {type(layer).__module__ for layer in trial.model._flatten_layers()}
    import_modules(sorted(name for name in own if name.startswith("tests.")), allow_code=True)
    trial.model.save(path)
    if not _loads_as_it_was(trial, path):
        path = work / "saved"
        trial.model.export(str(path), **({"verbose": False} if trial.kind.keras == "Keras 3" else {}))
    return path


def _loads_as_it_was(trial: Trial, path: Path) -> bool:
    """Returns whether Keras itself loads a model with the same outputs from its file."""
    try:
        loaded = library(trial.model).models.load_model(path, compile=False, safe_mode=False)
    except (TypeError, ValueError):  # A class that no module defines; tf_keras and a lambda as an activation.
        return False
    found, expected = (model(as_tensors(trial.features), training=False) for model in (loaded, trial.model))
    return np.allclose(found, expected, atol=1e-6)  # Keras 3 loads `ops.gelu` as the exact GELU.


def _compressed(trial: Trial, work: Path, technique: Technique, near: bool = False) -> Any:
    """Returns the kernels in the file of a model that `technique` was applied to, after a check of all outputs."""
    report = compress(trial.model, trial.data(), [technique], work / "run", export=Export())
    base, *_, last = report.variants
    _compare(trial, work / "run" / base.file, trial.probabilities)
    if near:
        found = _outputs(trial, work / "run" / last.file)
        difference = float(np.abs(found - trial.probabilities).mean())
        if difference > _FAR:
            raise WrongOutputsError(f"the quantized file differs by {difference:.2g} on average")
    elif last.agreement.largest_difference > 1e-3:
        raise WrongOutputsError(f"the file differs from its stage by {last.agreement.largest_difference:.2g}")
    return last.tensors


def _outputs(trial: Trial, file: Path, of_file: bool = True) -> Array:
    runner = Runner(file)
    return np.stack([runner.run(example) for example in trial.examples(of_file)])


def _compare(trial: Trial, file: Path, expected: Array, packed: bool = False) -> None:
    found = _outputs(trial, file)
    difference = float(np.abs(found - expected).max())
    largest = float(np.abs(expected).max())
    if found.shape != expected.shape or not difference <= _TOLERANCE * largest:
        name = "packed file" if packed else "file"
        raise WrongOutputsError(f"the {name}'s outputs differ by {difference:.2g}, the largest being {largest:.2g}")
