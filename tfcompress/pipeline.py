"""The stages in order, resumed where they stopped: train or take a model, apply techniques, export, measure, report."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras
from pydantic import TypeAdapter

from tfcompress import traits as kernel_traits
from tfcompress.data import registry
from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError
from tfcompress.evaluation import Stage, evaluate, export_stage
from tfcompress.files import read_json, write_json, written_whole
from tfcompress.models import presets
from tfcompress.models.functional import as_functional
from tfcompress.models.layers import CUSTOM_LAYERS
from tfcompress.optimize.quantization import load_scope
from tfcompress.optimize.technique import Context, Technique, check_order, thaw
from tfcompress.progress import bar
from tfcompress.recipe import Export, Recipe
from tfcompress.report.document import LeftAlone, Report, make_report
from tfcompress.training import Objective, Training, fit, forget, gives_probabilities, make_repeatable
from tfcompress.traits import KernelTraits, Traits

_TRAITS = TypeAdapter(dict[str, KernelTraits])


def run(recipe: Recipe, workdir: Path) -> Report:
    """Runs a recipe in a working folder; a run that was cut off goes on, a finished one is only read.

    Leaves `stages/NN-name/model.h5`, `tflite/*.tflite`, `model.tflite` (the last of them) and `report.json`.

    Raises:
        UserError: the folder holds a run of another recipe, or whatever the stages find wrong.
    """
    return _recipe_run(recipe, workdir).finish()


def train(recipe: Recipe, workdir: Path) -> Path:
    """Only trains a recipe's base model; `run` with the same folder goes on from there. Returns the model's file."""
    work = _recipe_run(recipe, workdir)
    next(work.stages())
    return work.model_file("00-base")


def compress(
    model: object,
    data: Dataset,
    techniques: Sequence[Technique[Any]],
    workdir: Path | str,
    *,
    loss: tf_keras.losses.Loss | None = None,
    optimizer: tf_keras.optimizers.Optimizer | None = None,
    metrics: Sequence[Any] = ("accuracy",),
    export: Export = Export(),  # noqa: B008 - unchangeable
    seed: int = 0,
) -> Report:
    """Compresses a trained tf_keras model with a user's own data and techniques.

    Args:
        model: functional or sequential, with one output `(batch, classes)`, logits or probabilities; left as it is.
        data: three splits; the test split is read for the final figures only.
        techniques: `Prune`, `Cluster`, `Quantize`, any of them in this order.
        workdir: for all files; calling again with the same arguments goes on where a call was cut off.
        loss: of every stage, see `Objective`.
        optimizer: of every stage, see `Objective`.
        metrics: watched in every stage, see `Objective`.
        export: which files are written.
        seed: of shuffling, augmentation, dropout and centroids.

    Returns:
        The figures; files are named in its variants, the most compressed one is `workdir/model.tflite`.

    Raises:
        UserError: what was given cannot be used; the message says what to change.
    """
    check_order([technique.name for technique in techniques])
    objective = Objective(loss, optimizer, metrics)
    objective.check()
    if seed < 0:
        raise UserError(f"seed is {seed}; it must not be negative")
    functional = as_functional(model)
    description = {
        "model": {"name": functional.name, "sha256": _fingerprint(functional)},
        "techniques": [{technique.name: technique.model_dump(mode="json")} for technique in techniques],
        "objective": objective.describe(),
        "export": export.model_dump(mode="json"),
        "seed": seed,
    }
    return _Run(
        Path(workdir), description, lambda: functional, None, data, techniques, objective, export, seed
    ).finish()


def load_data(recipe: Recipe) -> Dataset:
    """Loads a recipe's data set, with images of the size that its model takes."""
    return registry.load(recipe.data.name, recipe.data.folder, presets.preset(recipe.model.preset).image_size)


def _recipe_run(recipe: Recipe, workdir: Path) -> _Run:
    data = load_data(recipe)
    return _Run(
        workdir,
        recipe.model_dump(mode="json"),
        lambda: presets.build(recipe.model.preset, len(data.classes), recipe.model.dropout),
        recipe.training,
        data,
        [step.technique for step in recipe.techniques],
        Objective(),
        recipe.export,
        recipe.seed,
    )


@dataclass
class _Run:
    """One run in its working folder.

    Attributes:
        description: all that decides the result; kept in `run.json`, so that a folder is never used for two runs.
        base: makes the base model.
        training: of the base model, or None if it is trained.
    """

    workdir: Path
    description: dict[str, Any]
    base: Callable[[], tf_keras.Model]
    training: Training | None
    data: Dataset
    techniques: Sequence[Technique[Any]]
    objective: Objective
    export: Export
    seed: int

    def _check(self, model: tf_keras.Model) -> None:
        """Finds what would only fail after hours of training."""
        _check_fit(model, self.data)
        for technique in self.techniques:
            technique.check(model)
        if self.export.logits and gives_probabilities(model):
            raise UserError(f"model {model.name} ends in a softmax, so it cannot be exported with logits: true")
        if self.export.per_channel and any(technique.name == "cluster" for technique in self.techniques):
            raise UserError("export.per_channel would turn the clusters into more values in `dynamic`; leave it false")

    def _claim_folder(self) -> None:
        """Marks the working folder as this run's, or refuses if it is another's."""
        path = self.workdir / "run.json"
        description = {**self.description, "data set": self.data.describe()}
        if not path.is_file():
            write_json(path, description)
        elif changes := list(_differences(read_json(path), description)):
            raise UserError(
                f"{self.workdir} holds another run ({'; '.join(changes)}); choose another folder or undo the change"
            )

    def model_file(self, folder: str) -> Path:
        return self.workdir / "stages" / folder / "model.h5"

    def finish(self) -> Report:
        """Runs what is left of the run and returns its report."""
        path = self.workdir / "report.json"
        if path.is_file():
            self._claim_folder()
            return Report.load(path)
        stages, files = [], []
        for stage in self.stages():
            stages.append(stage)
            files += export_stage(stage, self.export, self.workdir)
        left_alone = _left_alone(stages[0].model, self.techniques)
        variants = evaluate(files, self.data, self.export, self.workdir)
        history = {stage.name: stage.history for stage in stages}
        report = make_report(self.description, history, left_alone, variants)
        report.save(path)
        return report

    def stages(self) -> Iterator[Stage]:
        """Yields the base model's stage, then one for each technique."""
        make_repeatable(self.seed)
        model = self.base()
        self._check(model)
        self._claim_folder()
        own_layers = {type(layer).__name__: type(layer) for layer in model.layers if not _is_keras(layer)}
        with tf_keras.utils.custom_object_scope({**CUSTOM_LAYERS, **own_layers}):
            stage = self._stage("base", 0, lambda folder: self._base(model, folder))
            yield stage
            for number, technique in enumerate(self.techniques, start=1):
                before = stage
                stage = self._stage(technique.name, number, lambda folder: self._apply(technique, before, folder))  # noqa: B023
                yield stage

    def _stage(self, name: str, number: int, make: Callable[[Path], tuple[tf_keras.Model, Traits, list[Any]]]) -> Stage:
        """Makes a stage, or loads it if an earlier call finished it."""
        folder = f"{number:02}-{name}"
        path = self.model_file(folder)
        record = path.with_name("stage.json")
        if record.is_file():
            forget(path.parent)
            saved = read_json(record)
            with load_scope():
                model = tf_keras.models.load_model(path, compile=False)
            return Stage(name, folder, model, _TRAITS.validate_python(saved["traits"]), saved["history"])
        # Every stage starts from its own seed, whether the one before it ran in this process or not.
        make_repeatable(self.seed * 100 + number)
        model, traits, history = make(path.parent)
        with written_whole(path) as beside, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Keras advises against .h5; .keras cannot hold a QAT model.
            try:
                model.save(beside, include_optimizer=False)
            except RuntimeError as error:  # h5py's, when the disk is full.
                raise OSError(str(error)) from error
        write_json(record, {"traits": _TRAITS.dump_python(dict(traits), mode="json"), "history": history})
        forget(path.parent)
        return Stage(name, folder, model, traits, history)

    def _base(self, model: tf_keras.Model, folder: Path) -> tuple[tf_keras.Model, Traits, list[Any]]:
        history: list[dict[str, float]] = []
        if self.training is not None:
            history = fit(model, self.data, self.training, self.objective, self.seed, folder, title="base")
        return model, kernel_traits.measure_model(model), history

    def _apply(
        self, technique: Technique[Any], before: Stage, folder: Path
    ) -> tuple[tf_keras.Model, Traits, list[Any]]:
        steps = technique.fit.epochs * self.data.steps_per_epoch(technique.fit.batch_size)
        with bar(f"preparing {technique.name}", 1) as shown:
            wrapped = technique.prepare(before.model, Context(self.data, before.traits, steps))
            shown.advance()
        callbacks = technique.callbacks()
        name = technique.name
        history = fit(wrapped, self.data, technique.fit, self.objective, self.seed, folder, callbacks, name)
        model = technique.finalize(wrapped)
        thaw(model, before.model)
        traits = technique.promises(before.model, before.traits)
        kernel_traits.check_model(model, traits, before.model)
        return model, traits, history


def _check_fit(model: tf_keras.Model, data: Dataset) -> None:
    """Checks that the model takes what the data set yields and gives a score for each class."""
    expected = {x.node.layer.name: tuple(x.shape[1:]) for x in model.inputs}
    features = data.examples("train").element_spec[0]
    found = features if isinstance(features, dict) else {next(iter(expected)): features}
    if not all(isinstance(spec, tf.TensorSpec) for spec in found.values()):
        raise UserError(f"data set {data.name} yields features {features}; they must be a tensor or a dict of tensors")
    shapes = {name: tuple(spec.shape) for name, spec in found.items()}
    if shapes != expected:
        raise UserError(f"data set {data.name} yields features of shape {shapes}, but the model takes {expected}")
    classes = model.output_shape[-1]
    if len(model.output_shape) != 2 or classes != len(data.classes):
        raise UserError(
            f"the model's output is {model.output_shape}, but data set {data.name} has {len(data.classes)} classes; "
            "the output must be (batch, classes)"
        )


def _left_alone(model: tf_keras.Model, techniques: Sequence[Technique[Any]]) -> list[LeftAlone]:
    treated = {name for technique in techniques for name in technique.select(model)}
    return [
        LeftAlone(layer.name, type(layer).__name__, layer.count_params())
        for layer in model.layers
        if layer.weights and layer.name not in treated
    ]


def _is_keras(layer: tf_keras.layers.Layer) -> bool:
    return type(layer).__module__.partition(".")[0] == "tf_keras"


def _fingerprint(model: tf_keras.Model) -> str:
    """Returns the sha256 of a model's architecture and weights."""
    digest = hashlib.sha256(model.to_json().encode())
    for array in model.get_weights():
        digest.update(array.tobytes())
    return digest.hexdigest()


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Yields `path: old before, new now` for each place where two JSON values differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            yield from _differences(before.get(key), now.get(key), f"{path}.{key}" if path else key)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from _differences(old, new, f"{path}[{index}]")
    elif before != now:
        yield f"{path}: {before} before, {now} now"
