"""The stages in order, resumed where they stopped: train or take a model, apply techniques, export, measure, report."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tf_keras
from pydantic import TypeAdapter

from tfcompress import runtime
from tfcompress import traits as kernel_traits
from tfcompress.data.dataset import Dataset
from tfcompress.data.tokenizer import Tokenizer
from tfcompress.errors import UserError
from tfcompress.files import read_json, remove_folder, write_json, written_whole
from tfcompress.models import saved
from tfcompress.models.layers import CUSTOM_LAYERS
from tfcompress.optimize.quantization import load_scope
from tfcompress.optimize.short_tables import Restore, shorten
from tfcompress.optimize.technique import Context, Lesson, ModelAndData, Technique, check_order, restore_trainable
from tfcompress.progress import bar
from tfcompress.report.document import LeftAlone, Report, make_report
from tfcompress.report.page import write_page
from tfcompress.runs import android
from tfcompress.runs.base import build_model, check_fit, fingerprint, load_data, load_data_for, take_model
from tfcompress.runs.evaluation import Stage, evaluate, export_stage
from tfcompress.runs.logs import write_logs
from tfcompress.runs.recipe import Export, Recipe
from tfcompress.runs.workdir import claim
from tfcompress.training import Objective, Training, fit, forget, gives_probabilities, make_repeatable
from tfcompress.traits import KernelTraits, Traits

_TRAITS = TypeAdapter(dict[str, KernelTraits])


def run(recipe: Recipe, workdir: Path, model: Path | None = None, allow_code: bool = False) -> Report:
    """Runs a recipe in a working folder; a run that was cut off goes on, a finished one is only read.

    Leaves `stages/NN-name/model.h5`, `logs/NN-name` for TensorBoard, `tflite/*.tflite`, `model.tflite` (the last stock
    one of them), `report.json`, `report.html`, and `android/` for the demo app.

    Args:
        recipe: what to do.
        workdir: for all files.
        model: a trained one to compress, a `.h5`, `.keras`, SavedModel or stage of a run, instead of training the
            recipe's.
        allow_code: also open a model file that can run code.

    Raises:
        UserError: the folder holds a run of another recipe, or whatever the stages find wrong.
    """
    if model is None:
        return _recipe_run(recipe, workdir).finish()
    file = saved.file_of(model)
    trained = saved.load(file, allow_code)
    data = load_data_for(trained, recipe.data.name, recipe.data.path, file.parent)
    techniques = [step.technique for step in recipe.techniques]
    return compress(trained, data, techniques, workdir, export=recipe.export, seed=recipe.seed)


def train(recipe: Recipe, workdir: Path) -> Path:
    """Only trains a recipe's base model; `run` with the same folder goes on from there. Returns the model's file."""
    work = _recipe_run(recipe, workdir)
    next(work.stages())
    return work.model_file("00-base")


def compress(
    model: object,
    data: Dataset,
    techniques: Sequence[Technique],
    workdir: Path | str,
    *,
    loss: tf_keras.losses.Loss | None = None,
    optimizer: tf_keras.optimizers.Optimizer | None = None,
    metrics: Sequence[Any] = ("accuracy",),
    export: Export = Export(),  # noqa: B008 - unchangeable
    seed: int = 0,
) -> Report:
    """Compresses a trained model with a user's own data and techniques.

    Args:
        model: tf_keras, functional or sequential, with one output `(batch, classes)`, logits or probabilities; or a
            classifier of keras-nlp (Keras 3) on a BERT, DistilBERT, ViT or DeiT backbone. Left as it is.
        data: three splits; the test split is read for the final figures only.
        techniques: any of them in the order of `tfcompress.optimize.technique.ORDER`.
        workdir: for all files; calling again with the same arguments goes on where a call was cut off.
        loss: of every stage, see `Objective`.
        optimizer: of every stage, see `Objective`.
        metrics: watched in every stage, see `Objective`.
        export: which files are written.
        seed: of shuffling, augmentation, dropout and centroids.

    Returns:
        The figures; files are named in its variants, the last stock one is `workdir/model.tflite`.

    Raises:
        UserError: what was given cannot be used; the message says what to change.
    """
    check_order(techniques)
    objective = Objective(loss, optimizer, metrics)
    objective.check()
    if not 0 <= seed < 2**31:
        raise UserError(f"seed is {seed}; it must be from 0 to {2**31 - 1}")
    functional, data = take_model(model, data)
    description = {
        "data": {"name": data.name},
        "model": {"name": functional.name, "sha256": fingerprint(functional)},
        "techniques": [{technique.name: technique.model_dump(mode="json")} for technique in techniques],
        "objective": objective.describe(),
        "export": export.model_dump(mode="json"),
        "seed": seed,
    }
    return _Run(
        Path(workdir), description, lambda: (functional, data), None, data, techniques, objective, export, seed
    ).finish()


def _recipe_run(recipe: Recipe, workdir: Path) -> _Run:
    data = load_data(recipe)
    return _Run(
        workdir,
        recipe.model_dump(mode="json"),
        lambda: build_model(recipe, data),
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
        base: makes the base model, and the data as it takes them.
        training: of the base model, or None if it is trained.
    """

    workdir: Path
    description: dict[str, Any]
    base: Callable[[], tuple[tf_keras.Model, Dataset]]
    training: Training | None
    data: Dataset
    techniques: Sequence[Technique]
    objective: Objective
    export: Export
    seed: int

    def _check(self, model: tf_keras.Model, data: Dataset) -> None:
        """Finds what would only fail after hours of training."""
        check_fit(model, data)
        earlier = ["base"]
        for technique in self.techniques:
            technique.check(model)
            technique.check_earlier(earlier)
            earlier.append(technique.name)
        if self.export.logits and gives_probabilities(model):
            raise UserError(f"model {model.name} ends in a softmax, so it cannot be exported with logits: true")
        if self.export.per_channel and any(technique.clusters_weights for technique in self.techniques):
            raise UserError(
                "export.per_channel: with one scale per channel, clustered weights would have more distinct values in "
                "`dynamic`; leave it false"
            )

        if self.export.clustered:
            runtime.library()  # to run what is packed
            if "float32" not in self.export.formats:
                raise UserError("export.clustered packs float32 files; add float32 to export.formats")
            if not any(technique.clusters_weights for technique in self.techniques):
                raise UserError("export.clustered packs clustered models; add the technique cluster, or leave it out")

    def _claim_folder(self) -> None:
        """Marks the working folder as this run's, or refuses if it is another's."""
        claim(self.workdir, "run", {**self.description, "data set": self.data.describe()})

    def model_file(self, folder: str) -> Path:
        return self.workdir / "stages" / folder / "model.h5"

    def finish(self) -> Report:
        """Runs what is left of the run and returns its report."""
        path = self.workdir / "report.json"
        if path.is_file():
            self._claim_folder()
            if not (self.workdir / "report.html").is_file():
                write_page(self.workdir)
            report = Report.load(path)
            android.write_folder(self.workdir, report, self.data)
            return report
        stages, files = [], []
        for stage in self.stages():
            stages.append(stage)
            files += export_stage(stage, self.export, self.workdir)
        remove_folder(self.workdir / "teacher")
        left_alone = _left_alone(stages[0].model, self.techniques)
        variants = evaluate(files, self.export, self.workdir)
        history = {stage.folder: stage.history for stage in stages}
        report = make_report(self.description, history, left_alone, variants)
        report.save(path)
        write_page(self.workdir)
        android.write_folder(self.workdir, report, self.data)
        return report

    def stages(self) -> Iterator[Stage]:
        """Yields the base model's stage, then one for each technique."""
        make_repeatable(self.seed)
        model, data = self.base()
        self._check(model, data)
        self._claim_folder()
        own_layers = {type(layer).__name__: type(layer) for layer in model.layers if not _is_keras(layer)}
        with tf_keras.utils.custom_object_scope({**CUSTOM_LAYERS, **own_layers}):
            stage = self._stage("base", 0, data, lambda folder: self._base(model, data, folder))
            done = {"base": stage}
            yield stage
            for number, technique in enumerate(self.techniques, start=1):
                before = stage
                stage = self._stage(
                    technique.name,
                    number,
                    technique.adapt(before.data),
                    lambda folder: self._apply(technique, before, done, folder),  # noqa: B023
                )
                done[technique.name] = stage
                yield stage

    def _stage(
        self,
        name: str,
        number: int,
        data: Dataset,
        make: Callable[[Path], tuple[tf_keras.Model, Traits, list[Any]]],
    ) -> Stage:
        """Makes a stage, or loads it if an earlier call finished it."""
        folder = f"{number:02}-{name}"
        path = self.model_file(folder)
        record = path.with_name("stage.json")
        if record.is_file():
            forget(path.parent)
            kept = read_json(record)
            with load_scope():
                model = tf_keras.models.load_model(path, compile=False)
            return Stage(name, folder, model, data, _TRAITS.validate_python(kept["traits"]), kept["history"])
        # Every stage starts from its own seed, whether the one before it ran in this process or not.
        make_repeatable(self.seed * 100 + number)
        model, traits, history = make(path.parent)
        if isinstance(data.decode, Tokenizer):
            data.decode.save(path.parent)
        with written_whole(path) as beside, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Keras advises against .h5; .keras cannot hold a QAT model.
            try:
                model.save(beside, include_optimizer=False)
            except RuntimeError as error:  # h5py's, when the disk is full.
                raise OSError(str(error)) from error
        write_logs(self.workdir / "logs" / folder, history, model)
        write_json(record, {"traits": _TRAITS.dump_python(dict(traits), mode="json"), "history": history})
        forget(path.parent)
        return Stage(name, folder, model, data, traits, history)

    def _base(self, model: tf_keras.Model, data: Dataset, folder: Path) -> tuple[tf_keras.Model, Traits, list[Any]]:
        history: list[dict[str, float]] = []
        if self.training is not None:
            model, data, restore = shorten(model, data)
            history = fit(model, data, self.training, self.objective, self.seed, folder, title="base")
            model = restore(model)
        return model, kernel_traits.measure_model(model), history

    def _apply(
        self, technique: Technique, before: Stage, done: Mapping[str, Stage], folder: Path
    ) -> tuple[tf_keras.Model, Traits, list[Any]]:
        name, training = technique.name, technique.fit
        source, data = before.model, technique.learns_from(before.data)
        restore: Restore = _unchanged
        if training is not None and technique.short_tables:
            source, data, restore = shorten(source, data)
        steps = training.epochs * data.steps_per_epoch(training.batch_size) if training is not None else 0
        earlier = {stage: ModelAndData(s.model, s.data) for stage, s in done.items()}
        context = Context(data, before.traits, steps, self.seed, self.objective, earlier, self.workdir / "teacher")
        with bar(f"preparing {name}", 1) as shown:
            model = technique.prepare(source, context)
            shown.advance()
        history: list[dict[str, float]] = []
        if training is not None:
            lesson = technique.lesson(model, context) or self._lesson_of_earlier(technique, model, context)
            objective = lesson.objective if lesson else self.objective
            targets = lesson.targets if lesson else None
            history = fit(model, data, training, objective, self.seed, folder, technique.callbacks(), name, targets)
        model = technique.finalize(model)
        restore_trainable(model, source)
        model = restore(model)
        traits = technique.promises(before.model, before.traits)
        kernel_traits.check_model(model, traits, before.model)
        return model, traits, history

    def _lesson_of_earlier(self, technique: Technique, model: tf_keras.Model, context: Context) -> Lesson | None:
        """Returns the lesson that the nearest technique before this one gives to later stages."""
        place = next(place for place, one in enumerate(self.techniques) if one is technique)
        lessons = (earlier.lesson_for_later(model, context) for earlier in reversed(self.techniques[:place]))
        return next((lesson for lesson in lessons if lesson is not None), None)


def _unchanged(model: tf_keras.Model) -> tf_keras.Model:
    return model


def _left_alone(model: tf_keras.Model, techniques: Sequence[Technique]) -> list[LeftAlone]:
    treated = {name for technique in techniques for name in technique.treated_layers(model)}
    return [
        LeftAlone(layer.name, type(layer).__name__, layer.count_params())
        for layer in model.layers
        if layer.weights and layer.name not in treated
    ]


def _is_keras(layer: tf_keras.layers.Layer) -> bool:
    return type(layer).__module__.partition(".")[0] == "tf_keras"
