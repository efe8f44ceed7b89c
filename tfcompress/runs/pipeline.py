"""Runs from beginning to end: train or take a model, apply techniques, export, measure, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import tf_keras

from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError
from tfcompress.files import remove_folder
from tfcompress.models import saved
from tfcompress.models.functional import with_listed_outputs
from tfcompress.models.outputs import Told
from tfcompress.optimize.technique import Technique, check_order
from tfcompress.report.document import Report, UntreatedLayer, make_report
from tfcompress.report.page import write_page
from tfcompress.report.run_description import CompressCall, DataSource, GivenModel, RecipeRun
from tfcompress.runs import android
from tfcompress.runs.base import (
    build_model,
    check_fit,
    classes_of_labels,
    fingerprint,
    load_data,
    load_data_for,
    take_model,
)
from tfcompress.runs.chain import Chain
from tfcompress.runs.exporting import export_stage
from tfcompress.runs.figures import measure_files, write_model
from tfcompress.runs.pixels import with_pixels_for
from tfcompress.runs.recipe import Export, Recipe
from tfcompress.runs.rehearsal import rehearse
from tfcompress.runs.workdir import claim, release
from tfcompress.strategy import StrategyName
from tfcompress.strategy import begin as begin_strategy
from tfcompress.training import Objective, strategy_of


def run(
    recipe: Recipe,
    workdir: Path,
    model: Path | None = None,
    allow_code: bool = False,
    rehearsal: bool = True,
) -> Report:
    """Runs a recipe in a working folder. An interrupted run resumes where it stopped; a finished one is only read.

    With the strategy `multi_worker`, all workers call this with the same arguments, and all return when the files are
    there.

    It leaves `stages/NN-name/model.h5`, `logs/NN-name` for TensorBoard, `tflite/*.tflite`, `model.tflite` (the last
    file that is not packed; of several lengths the longest), `report.json`, `report.html`, and `android/` for the
    demo app.

    Args:
        recipe: what to do.
        workdir: the folder for all files.
        model: a trained model to compress instead of training the recipe's: a `.h5` or `.keras` file, a SavedModel, or
            a stage of a run.
        allow_code: whether to open a model file that can run code.
        rehearsal: whether the whole chain is tried on two examples first, so that what cannot work is refused then.

    Raises:
        UserError: the folder holds a run of another recipe, or a stage cannot use what it was given.
    """
    if model is None:
        return _recipe_run(recipe, workdir, rehearsal).finish()
    techniques = [_spread(step.technique, recipe.strategy) for step in recipe.techniques]
    if recipe.strategy is not None and all(technique.fit is None for technique in techniques):
        raise UserError(
            f"the recipe names the strategy {recipe.strategy}, but none of its techniques trains the given model; "
            "leave strategy out"
        )
    _begin_strategy(recipe.strategy, workdir)
    file = saved.file_of(model)
    trained = saved.load(file, allow_code)
    data = load_data_for(trained, recipe.data, file.parent)
    return compress(
        trained,
        data,
        techniques,
        workdir,
        export=recipe.export,
        seed=recipe.seed,
        outputs=recipe.model.outputs,
        pixel_range=recipe.data.pixel_range,
        rehearsal=rehearsal,
    )


def train(recipe: Recipe, workdir: Path, rehearsal: bool = True) -> Path:
    """Only trains a recipe's base model and returns its file; `run` with the same folder continues from there."""
    return make_stages(recipe, workdir, 1, rehearsal)


def make_stages(recipe: Recipe, workdir: Path, number: int, rehearsal: bool = True) -> Path:
    """Only makes the first stages of a run and returns the last one's model; `run` with the same folder goes on.

    Args:
        recipe: of the run.
        workdir: the folder for all files.
        number: of stages, from 1, the base model included.
        rehearsal: whether the whole chain is tried on two examples first.

    Raises:
        UserError: see `run`.
    """
    work = _recipe_run(recipe, workdir, rehearsal)
    for last in islice(work.chain.stages(work.begin), number):
        made = last.folder
    return workdir / "stages" / made / "model.h5"


def compress(
    model: object,
    data: Dataset,
    techniques: Sequence[Technique],
    workdir: Path | str,
    *,
    loss: tf_keras.losses.Loss | None = None,
    optimizer: tf_keras.optimizers.Optimizer | None = None,
    metrics: Sequence[str | tf_keras.metrics.Metric] | None = None,
    export: Export = Export(),  # noqa: B008 - immutable
    seed: int = 0,
    outputs: Told | None = None,
    pixel_range: tuple[float, float] | None = None,
    rehearsal: bool = True,
) -> Report:
    """Compresses a trained model with the user's own data and techniques.

    Args:
        model: a model of tf_keras or Keras 3 whose output answers the task of the data: for classification
            `(batch, classes)`, logits or probabilities. An `OwnTask` takes several outputs. It is not changed.
        data: three splits. The test split is read for the final figures only.
        techniques: any of them, in the order of `tfcompress.optimize.technique.ORDER`.
        workdir: the folder for all files. The same call again resumes where an interrupted one stopped.
        loss: of every stage, see `Objective`. For classification, it can take integer labels or one-hot vectors. Of a
            model with several outputs, it gets them in a dictionary by name.
        optimizer: of every stage, see `Objective`.
        metrics: watched in every stage, see `Objective`. They get what the loss gets.
        export: which files are written.
        seed: of shuffling, augmentation, dropout and centroids.
        outputs: what the model outputs, `logits` or `probabilities`, if that cannot be found out.
        pixel_range: the values of black and white that the model takes, such as (0, 255), if that cannot be found out;
            the data say theirs, see `Dataset`.
        rehearsal: whether the whole chain is tried on two examples first, so that what cannot work is refused then.

    Returns:
        The figures of the run. Its variants name the files; `workdir/model.tflite` is the last that is not packed.

    Raises:
        UserError: an argument cannot be used; the message says what to change.
    """
    check_order(techniques)
    _begin_strategy(strategy_of(technique.fit for technique in techniques), Path(workdir))
    given = Objective(loss, optimizer, metrics)
    if not 0 <= seed < 2**31:
        raise UserError(f"seed is {seed}; it must be from 0 to {2**31 - 1}")
    functional, data = take_model(model, data)
    check_fit(functional, data)
    functional, names = with_listed_outputs(functional)
    objective = given.of_labels(classes_of_labels(functional, data))
    if metrics is None and not data.task.has_loss:
        objective = replace(objective, metrics=())  # By default, they take labels that say what the outputs should be.
    data = with_pixels_for(functional, data, pixel_range, outputs, names)
    description = CompressCall(
        data=DataSource(name=data.name),
        model=GivenModel(name=functional.name, sha256=fingerprint(functional)),
        techniques=[{technique.name: technique.model_dump(mode="json")} for technique in techniques],
        objective=given.describe(),
        export=export.model_dump(mode="json"),
        seed=seed,
        outputs=outputs,
        pixel_range=pixel_range,
    )
    base = lambda: (functional, data)  # noqa: E731
    chain = Chain(Path(workdir), base, None, techniques, objective, export, seed, outputs, names)
    return _Run(description, data, chain, rehearsal).finish()


def _recipe_run(recipe: Recipe, workdir: Path, rehearsal: bool) -> _Run:
    _begin_strategy(recipe.strategy, workdir)
    data = load_data(recipe)
    description = RecipeRun.model_validate(recipe.model_dump(mode="json"))
    return _Run(description, data, chain_of(recipe, data, workdir), rehearsal)


def _begin_strategy(name: StrategyName | None, workdir: Path) -> None:
    """Begins the strategy of a run before anything else uses TensorFlow; a finished run is read without it."""
    if not (workdir / "report.json").is_file():
        begin_strategy(name)


def _spread(technique: Technique, strategy: StrategyName | None) -> Technique:
    """Returns a technique whose training, if it has one, names the strategy."""
    if technique.fit is None or strategy is None:
        return technique
    return technique.model_copy(update={"fit": technique.fit.model_copy(update={"strategy": strategy})})


def chain_of(recipe: Recipe, data: Dataset, workdir: Path) -> Chain:
    """Returns the stages of a recipe's run.

    Args:
        recipe: what to do.
        data: what `tfcompress.runs.base.load_data` returns for it.
        workdir: the folder of the stages.
    """
    techniques = [step.technique for step in recipe.techniques]
    base = lambda: build_model(recipe, data)  # noqa: E731
    return Chain(
        workdir,
        base,
        recipe.training or None,
        techniques,
        Objective(),
        recipe.export,
        recipe.seed,
        recipe.model.outputs,
    )


@dataclass(frozen=True)
class _Run:
    """One run in its working folder.

    Attributes:
        description: everything that decides the result. It is kept in `run.json`, so that a folder holds one run only.
        data: as the run got them, before the base model's tokenizer cuts texts.
        chain: the stages.
        rehearsal: whether the chain is rehearsed before its first stage.
    """

    description: RecipeRun | CompressCall
    data: Dataset
    chain: Chain
    rehearsal: bool

    def claim_folder(self) -> None:
        """Marks the working folder as this run's, or raises a `UserError` if it holds another run."""
        claim(self.chain.workdir, "run", {**self.description.settings(), "data set": self.data.describe()})

    def begin(self, chain: Chain, model: tf_keras.Model, data: Dataset) -> None:
        """Claims the working folder and rehearses the run; if that fails, the folder is left as it was."""
        workdir, strategy = chain.workdir, chain.strategy
        strategy.check_shared(workdir)
        if strategy.chief:
            resumed = (workdir / "run.json").is_file()
            self.claim_folder()
            try:
                if self.rehearsal:
                    rehearse(chain, model, data)
            except BaseException:
                if not resumed:
                    release(workdir, "run")
                raise
        strategy.wait()
        if not strategy.chief:
            self.claim_folder()

    def finish(self) -> Report:
        """Runs what is left of the run and returns its report."""
        workdir = self.chain.workdir
        path = workdir / "report.json"
        if path.is_file():
            self.claim_folder()
            report = Report.load(path)
            _restore(workdir, report, self.data)
            return report
        stages, files = [], []
        strategy = self.chain.strategy
        for stage in self.chain.stages(self.begin):
            stages.append(stage)
            files += export_stage(stage, self.chain.export, workdir) if strategy.chief else []
        if not strategy.chief:
            strategy.wait()
            return Report.load(path)
        remove_folder(workdir / "teacher")
        history = {stage.folder: stage.history for stage in stages}
        untreated = _untreated(stages[0].model, self.chain.techniques)
        explained: dict[str, str] = {}
        for technique, before in zip(self.chain.techniques, stages, strict=False):
            explained |= technique.explain(before.model)
        figures = measure_files(files, self.chain.export, workdir)
        report = make_report(self.description, history, untreated, figures, explained)
        report.save(path)
        write_page(workdir)
        android.write_folder(workdir, report, self.data)
        strategy.wait()
        return report


def _restore(workdir: Path, report: Report, data: Dataset) -> None:
    """Writes what a finished run lacks of the files that are made from its report and its `.tflite` files.

    Raises:
        UserError: a `.tflite` file that is needed for it is gone.
    """
    if not (workdir / "report.html").is_file():
        write_page(workdir)
    try:
        if not (workdir / "model.tflite").is_file():
            write_model(workdir, report.variants)
        android.write_folder(workdir, report, data)
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename} of the finished run is gone; delete report.json in {workdir}, and the same command "
            "makes it again"
        ) from error


def _untreated(model: tf_keras.Model, techniques: Sequence[Technique]) -> list[UntreatedLayer]:
    """Returns the layers with weights that no technique treats by itself."""
    treated = {name for technique in techniques for name in technique.treated_layers(model)}
    return [
        UntreatedLayer(layer.name, type(layer).__name__, layer.count_params())
        for layer in model.layers
        if layer.weights and layer.name not in treated
    ]
