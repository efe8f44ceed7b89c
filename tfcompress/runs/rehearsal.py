"""A rehearsal: a run's whole chain on two examples, before the first epoch, so that what cannot work is refused then.

Each stage is trained for one step and exported in all its formats, unless the next stage's model is built alike, and
every file is verified and run once. That happens in a process of its own: a library that crashes ends in one line, and
this process stays as it was.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import pickle
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.answers import IGNORED
from tfcompress.assets import cache_folder
from tfcompress.data.dataset import SPLITS, Dataset, Example, FeatureArrays
from tfcompress.data.text import AnyTokenizer
from tfcompress.errors import UserError, first_line, is_out_of_memory
from tfcompress.files import read_json, write_json
from tfcompress.measure.interpreter import Runner
from tfcompress.models.outputs import Outputs, Told
from tfcompress.models.shallow import without_repetition
from tfcompress.one_hot import as_given
from tfcompress.optimize.quantization import load_scope
from tfcompress.optimize.technique import LayerTechnique
from tfcompress.process import CrashError, call_apart
from tfcompress.progress import bar, console
from tfcompress.runs.base import classes_of_labels
from tfcompress.runs.chain import Chain
from tfcompress.runs.exporting import export_stage
from tfcompress.runs.stages import BASE, Stage, save_model
from tfcompress.training import Objective

SWITCH = "TFCOMPRESS_NO_REHEARSAL"
"""The environment variable that leaves rehearsals out."""

_VERSIONS = ("tfcompress", "tensorflow", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert")
_SKIP = "or skip the rehearsal with rehearsal=False, on the command line --no-rehearsal"


@dataclass(frozen=True)
class _Part:
    """A loss, optimizer or metric, as something that another process can make again."""

    kind: type
    config: dict[str, Any]

    def made(self) -> Any:
        return self.kind.from_config(self.config)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Script:
    """What is rehearsed.

    Attributes:
        chain: the run, with techniques and training as their `rehearsed` returns them, but without its base and its
            objective, which no other process could make.
        loss, optimizer, metrics: of the objective. Parts that no other process can make are left out.
        classes: see `Objective.of_labels`.
        data: the arguments of `Dataset.from_arrays`, with two examples per split. They are decoded and augmented, so
            that only a tokenizer is left of decoding, and of augmentation that there is one.
    """

    chain: Chain
    loss: _Part | None
    optimizer: _Part | None
    metrics: Sequence[str | _Part] | None
    classes: int | None
    data: Mapping[str, Any]

    @property
    def objective(self) -> Objective:
        """The objective, which takes the labels of the data."""
        given = self.metrics
        metrics = given and [metric if isinstance(metric, str) else metric.made() for metric in given]
        loss, optimizer = (part and part.made() for part in (self.loss, self.optimizer))
        return Objective(loss, optimizer, metrics).of_labels(self.classes)

    @property
    def dataset(self) -> Dataset:
        """The two examples of each split."""
        return Dataset.from_arrays(**self.data)

    def digest(self, model: tf_keras.Model) -> str:
        """Returns the sha256 of all that decides whether the rehearsal passes, besides the values of the weights."""
        chain, data = self.chain, self.data
        features = tf.nest.map_structure(lambda x: (x.dtype.str, x.shape[1:]), [data[split][0] for split in SPLITS])
        parts = [self.loss, self.optimizer, *(self.metrics or ())]
        content = {
            "model": model.to_json(),
            "techniques": [
                {technique.name: technique.model_dump(mode="json", exclude={"fit"})} for technique in chain.techniques
            ],
            "training": chain.training is not None,
            "objective": [part if part is None or isinstance(part, str) else repr(part) for part in parts],
            "export": chain.export.model_dump(mode="json"),
            "features": repr(features),
            "data": [
                data["task"].name,
                len(data["classes"]),
                data["decode"] is not None,
                data["augment"] is not None,
                data["pixel_range"],
            ],
            "outputs": chain.told,
            "versions": [version(package) for package in _VERSIONS],
        }
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def rehearse(chain: Chain, model: tf_keras.Model, data: Dataset) -> None:
    """Rehearses a run, unless an equal rehearsal has passed before or the environment variable `SWITCH` is set.

    Args:
        chain: of the run; it is known what its model gives.
        model: the base model, before its training.
        data: as the base model takes them.

    Raises:
        UserError: a stage or a file of the run cannot be made.
    """
    if os.environ.get(SWITCH):
        return
    script, short = script_of(chain, model, data)
    if script.loss is None and chain.objective.loss is not None and not data.task.has_loss:
        console.print("the run is not rehearsed, because its loss is defined in the script itself", soft_wrap=True)
        return
    digest = script.digest(short)
    passed = [chain.workdir / "rehearsal.json", cache_folder() / "rehearsals" / f"{digest}.json"]
    if any(_holds(path, {"passed": digest}) for path in passed):
        return
    if not _can_be_sent(script):
        console.print("the run is not rehearsed, because a technique is defined in the script itself", soft_wrap=True)
        return
    console.print("rehearsing the run on two examples", soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="tfcompress-") as name:
        folder = Path(name)
        save_model(short, folder / "model.h5")
        advice = f"leave out techniques or formats to find the one that fails, {_SKIP}"
        try:
            call_apart(f"model {model.name}", advice, perform, script, folder)
        except CrashError as error:
            step = folder / "step"
            raise CrashError(f"{step.read_text() if step.is_file() else 'rehearsal'}: {error}") from None
    for path in passed:
        with suppress(UserError):  # The cache folder may be read-only.
            write_json(path, {"passed": digest})


def _holds(path: Path, content: object) -> bool:
    with suppress(OSError, ValueError):
        return bool(read_json(path) == content)
    return False


def perform(script: Script, folder: Path) -> None:
    """Carries out a rehearsal in this process; `folder` holds the model and takes all files."""
    tf.config.set_visible_devices([], "GPU")  # The run itself will need it.
    gc.set_threshold(50_000, 50, 50)  # Building models makes many objects, and looking for cycles takes a fifth of it.
    with load_scope():
        model = tf_keras.models.load_model(folder / "model.h5", compile=False)
    data = script.dataset
    base = lambda: (model, data)  # noqa: E731
    chain = replace(script.chain, workdir=folder / "work", base=base, objective=script.objective)
    names = [BASE, *(technique.name for technique in chain.techniques)]
    stages = chain.stages(lambda *_: None)
    untried: Stage | None = None
    with bar("rehearsal", 2 * len(names)) as shown:
        for name in names:
            (folder / "step").write_text(name)
            with _explained(name, model):
                stage = next(stages)
                shown.advance(note=f"{name} trained")
                # The files of a stage show as much of one before it whose model is built alike.
                if untried is not None and untried.model.to_json() != stage.model.to_json():
                    _try_files(untried, chain)
                untried = stage
                if name == names[-1]:
                    _try_files(stage, chain)
            shown.advance(note=f"{name} exported")


def _try_files(stage: Stage, chain: Chain) -> None:
    for file in export_stage(stage, chain.export, chain.workdir):
        Runner(file.path).run(next(stage.data.examples("test").as_numpy_iterator())[0])


@contextmanager
def _explained(stage: str, model: tf_keras.Model) -> Iterator[None]:
    """Turns errors of a stage into a `UserError` that names the stage and a layer if they do; lack of memory stays."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        quoted = re.findall(r"""["']([^"']+)["']""", str(error))
        layer = next((f"layer {layer.name}" for layer in model.layers if layer.name in quoted), f"model {model.name}")
        reason = first_line(error).rstrip(".:")[:300]
        raise UserError(
            f"{stage}: {layer} cannot be treated or exported ({type(error).__name__}: {reason}); replace it, leave it "
            f"out of {stage}, {_SKIP}"
        ) from error


def script_of(chain: Chain, model: tf_keras.Model, data: Dataset) -> tuple[Script, tf_keras.Model]:
    """Returns what is rehearsed of a run, and the model for it, which has no block more than twice."""
    settings = [one.select(model) for one in chain.techniques if isinstance(one, LayerTechnique)]
    model = without_repetition(model, lambda name: [repr(of_layers.get(name)) for of_layers in settings])
    two = replace(data, **{one: getattr(data, one if data.size(one) else "test").take(2) for one in SPLITS})
    if isinstance(data.decode, AnyTokenizer):
        splits = [_arrays(getattr(two, split).batch(2)) for split in SPLITS]
    else:
        batches = [two.batches(split, 2) for split in SPLITS[1:]]
        splits = [_arrays(x) for x in (two.stream(2, chain.seed, first_epoch=0, epochs=1), *batches)]
    objective = chain.objective
    metrics = objective.metrics
    parts = metrics and [metric if isinstance(metric, str) else _part(metric) for metric in metrics]
    attributes = {one.name: getattr(data, one.name) for one in fields(data) if one.name not in SPLITS}
    attributes["decode"] = data.decode if isinstance(data.decode, AnyTokenizer) else None
    attributes["align"] = data.align if isinstance(data.decode, AnyTokenizer) else None
    attributes["augment"] = data.augment and _unchanged
    attributes |= {"task": data.task.elsewhere(), "unlabelled": None, "class_weights": False}
    rehearsed = replace(
        chain,
        base=_base_elsewhere,
        training=chain.training and chain.training.rehearsed(),
        techniques=[technique.rehearsed(model) for technique in chain.techniques],
        objective=Objective(),
        told=_told(objective.outputs_of(model)),
    )
    script = Script(
        chain=rehearsed,
        loss=_part(objective.loss),
        optimizer=_part(objective.optimizer),
        metrics=parts and [part for part in parts if part is not None],
        classes=classes_of_labels(model, data),
        data=attributes | dict(zip(SPLITS, splits, strict=True)),
    )
    return script, model


def _told(outputs: Outputs) -> Told | None:
    """Returns what a user would have to say, so that the same is found out again of a model with other weights."""
    if outputs is Outputs.NUMBERS:
        return None
    return "logits" if outputs.are_logits else "probabilities"


def _arrays(batches: tf.data.Dataset) -> tuple[FeatureArrays, np.ndarray[Any, Any]]:
    """Returns features and labels of the first batch; those of words are padded with empty ones, which do not count."""
    features, labels = next(iter(batches))
    if isinstance(features, tf.RaggedTensor):
        # Strings (2,) would be a pair.
        wide = (None, max(3, int(features.bounding_shape(axis=1))))
        features, labels = features.to_tensor("", shape=wide), labels.to_tensor(IGNORED, shape=wide)
    arrays: tuple[FeatureArrays, np.ndarray[Any, Any]] = tf.nest.map_structure(np.asarray, (features, labels))
    return arrays


def _part(given: Any) -> _Part | None:
    """Returns a part of the objective for another process, or None if only this one can make it."""
    if given is None:
        return None
    given = as_given(given)
    part = _Part(type(given), given.get_config())
    return part if _can_be_sent(part) else None


def _can_be_sent(value: object) -> bool:
    """Returns whether another process can make a value: its classes are in modules that can be imported."""
    try:
        return b"__main__" not in pickle.dumps(value)
    except Exception:  # pickle raises many kinds, and an object's own code any.
        return False


def _base_elsewhere() -> tuple[tf_keras.Model, Dataset]:
    raise AssertionError("`perform` takes the model from its folder")


def _unchanged(features: Any, label: tf.Tensor, seed: tf.Tensor) -> Example:
    return features, label
