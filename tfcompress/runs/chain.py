"""The stages of a run in their order: the base model, then one stage per technique."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import tf_keras

from tfcompress import runtime
from tfcompress import traits as kernel_traits
from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError
from tfcompress.export.lengths import all_lengths
from tfcompress.joint import Joint
from tfcompress.models.layers import CUSTOM_OBJECTS
from tfcompress.models.outputs import Told
from tfcompress.optimize.short_tables import Restore, shorten
from tfcompress.optimize.technique import (
    Context,
    Lesson,
    ModelAndData,
    Technique,
    copy_model,
    restore_trainable,
    warn_of_lost_traits,
)
from tfcompress.progress import bar
from tfcompress.runs.base import check_fit, given_outputs
from tfcompress.runs.guessing import warn_if_guessing
from tfcompress.runs.recipe import Export
from tfcompress.runs.stages import BASE, History, Stage, StageStore
from tfcompress.strategy import Strategy
from tfcompress.strategy import begin as begin_strategy
from tfcompress.training import Objective, Training, delete_checkpoint, fit, make_repeatable, strategy_of

_WITHOUT_LABELS = (
    "set training: false, leave the technique out, put distil: {labels: 0, training: false, keep: true} before it, "
    "which teaches what the base gives, or pass a loss to compress"
)


@dataclass(frozen=True)
class Chain:
    """What a run does to its model, stage after stage.

    Attributes:
        workdir: of the run.
        base: makes the base model, and the data as it takes them.
        training: of the base model, or None if it is trained already.
        techniques: in their order.
        objective: what every training minimises.
        export: which files are to be written; only checked here.
        seed: of everything that is drawn at random.
        told: what the user says that the base model gives.
        names: what files call the outputs, if the task does not say it.
        watch: gets a technique's name and the rows of the epochs of its training, see `tfcompress.training.fit`.
    """

    workdir: Path
    base: Callable[[], tuple[tf_keras.Model, Dataset]]
    training: Training | None
    techniques: Sequence[Technique]
    objective: Objective
    export: Export
    seed: int
    told: Told | None = None
    names: tuple[str, ...] = ()
    watch: Callable[[str, Sequence[dict[str, float]]], None] | None = None

    @property
    def strategy(self) -> Strategy:
        """What the trainings are spread over."""
        return begin_strategy(strategy_of(training for _, training in self._trainings))

    @property
    def _trainings(self) -> list[tuple[str, Training]]:
        """The trainings of all stages, with their names."""
        stages = [(BASE, self.training), *((technique.name, technique.fit) for technique in self.techniques)]
        return [(name, training) for name, training in stages if training is not None]

    @property
    def store(self) -> StageStore:
        """Where finished stages are kept."""
        assert self.objective.outputs is not None
        return StageStore(self.workdir, self.objective.outputs, self.names)

    def stages(self, begin: Begin) -> Iterator[Stage]:
        """Yields the stages, each loaded if an earlier call finished it and made otherwise.

        Args:
            begin: called after all checks and before anything is written, with this chain, which then knows what the
                base model gives, that model, and its data.

        Raises:
            UserError: model, data, techniques and export do not fit together, or a stage fails.
        """
        make_repeatable(self.seed)
        model, data = self.base()
        check_fit(model, data)
        names = (data.task.answers,) if data.task.answers else self.names
        objective = replace(self.objective, outputs=given_outputs(model, data, self.told))
        objective = objective.of_outputs(Joint.of(model, names))
        yield from replace(self, objective=objective, names=names)._checked_stages(model, data, begin)

    def _checked_stages(self, model: tf_keras.Model, data: Dataset, begin: Begin) -> Iterator[Stage]:
        """Yields the stages of a base model; it is known what that gives."""
        self.check(model, data)
        begin(self, model, data)
        own_layers = {type(layer).__name__: type(layer) for layer in model.layers if not _is_keras(layer)}
        with tf_keras.utils.custom_object_scope({**CUSTOM_OBJECTS, **own_layers}):
            stage = self._finished(BASE, 0, data) or self._make_base(model, data)
            done = {BASE: stage}
            yield stage
            for number, technique in enumerate(self.techniques, start=1):
                adapted = technique.adapt(stage.data)
                kept = self._finished(technique.name, number, adapted)
                if kept is None and number == 1 and self.strategy.chief and stage.data.size("validation"):
                    warn_if_guessing(stage)
                stage = kept or self._make(number, stage, adapted, done)
                done[technique.name] = stage
                yield stage

    def check(self, model: tf_keras.Model, data: Dataset) -> None:
        """Finds mistakes that would otherwise only show after hours of training; it is known what the model gives.

        Raises:
            UserError: model, data, techniques and export do not fit together.
        """
        self.objective.check_outputs()
        earlier = [BASE]
        for technique in self.techniques:
            technique.check(model)
            technique.check_earlier(earlier)
            earlier.append(technique.name)
        all_lengths(model, self.export.lengths)
        clustering = any(technique.clusters_weights for technique in self.techniques)
        if self.export.logits and not (self.objective.outputs and self.objective.outputs.are_logits):
            raise UserError(
                f"model {model.name} gives {self.objective.outputs}, so it cannot be exported with logits: true; leave "
                "export.logits out"
            )
        if self.export.per_channel and clustering:
            raise UserError(
                "export.per_channel: with one scale per channel, clustered weights would have more distinct values in "
                "`dynamic`; leave it false"
            )
        for technique in self.techniques:
            if technique.scales_outputs and self.export.formats != ("float32",):
                raise UserError(
                    f"export.formats: a scale per output of {technique.name} is kept in float32 alone; set formats: "
                    "[float32], or leave scales out"
                )
        if self.export.clustered:
            runtime.library()  # Packed files are run to measure them.
            if "float32" not in self.export.formats:
                raise UserError("export.clustered packs float32 files; add float32 to export.formats")
            if not clustering:
                raise UserError("export.clustered packs clustered models; add the technique cluster, or leave it false")
        self._check_training(data)

    def _check_training(self, data: Dataset) -> None:
        """Refuses a training without examples, or on labels that say nothing of what the outputs should be."""
        if self.training is not None or any(one.learns_labels or one.fit is not None for one in self.techniques):
            data.check_not_empty("train", "validation")
        for name, training in self._trainings:
            self.strategy.check_batches(name, training.batch_size, data.size("train"))
        if data.task.has_loss or self.objective.loss is not None:
            return
        learning = [] if self.training is None else [BASE]
        taught = False
        for technique in self.techniques:
            learning += [technique.name] if technique.learns_labels and not taught else []
            taught = taught or technique.teaches_later
        if learning:
            raise UserError(
                f"{learning[0]} learns from labels, but those of the task {data.task.name} do not say what a model "
                f"should give; {_WITHOUT_LABELS}"
            )

    def _make_base(self, model: tf_keras.Model, data: Dataset) -> Stage:
        self._seed_stage(0)
        history: History = []
        if self.training is not None:
            folder = self.store.folder(BASE, 0)
            short, short_data, restore = shorten(model, data)
            with self.strategy.scope():
                if self.strategy.distributed:
                    short = copy_model(short)
                history = fit(short, short_data, self.training, self.objective, self.seed, folder, title=BASE)
            model = restore(short)
        return self._keep(BASE, 0, model, data, kernel_traits.measure_model(model), history)

    def _make(self, number: int, before: Stage, adapted: Dataset, done: Mapping[str, Stage]) -> Stage:
        """Applies technique `number`, from 1; `adapted` are the data as the model that comes out takes them."""
        self._seed_stage(number)
        technique = self.techniques[number - 1]
        training = technique.fit
        if training is None and not self.strategy.chief:
            return self._kept(technique.name, number, adapted)
        source, data = before.model, technique.learns_from(before.data)
        restore: Restore = _unchanged
        if training is not None and technique.short_tables:
            source, data, restore = shorten(source, data)
        steps = training.epochs * data.steps_per_epoch(training.batch_size) if training is not None else 0
        earlier = {name: ModelAndData(stage.model, stage.data) for name, stage in done.items()}
        context = Context(
            data, before.traits, steps, self.seed, self.objective, earlier, self.strategy.own(self.workdir / "teacher")
        )
        traits = technique.promises(before.model, before.traits)
        warn_of_lost_traits(technique.name, before.traits, traits)
        with nullcontext() if training is None else self.strategy.scope():
            with bar(f"preparing {technique.name}", 1) as shown:
                model = technique.prepare(source, context)
                shown.advance()
            history: History = []
            if training is not None:
                lesson = technique.lesson(model, context) or self._lesson_of_earlier(number, model, context)
                history = fit(
                    model,
                    data,
                    training,
                    lesson.objective if lesson else self.objective,
                    self.seed,
                    self.store.folder(technique.name, number),
                    technique.callbacks(),
                    technique.name,
                    lesson.targets if lesson else None,
                    None if self.watch is None else partial(self.watch, technique.name),
                )
            traits = technique.measured(model, traits)
            model = technique.finalize(model)
        restore_trainable(model, source)
        model = restore(model)
        kernel_traits.check_model(model, traits, before.model)
        return self._keep(technique.name, number, model, adapted, traits, history)

    def _finished(self, name: str, number: int, data: Dataset) -> Stage | None:
        """Returns a stage that the chief finished, in this call or an earlier one; see `StageStore.load`."""
        if not self.strategy.of_chief(self.store.has(name, number)):
            return None
        if self.strategy.chief:
            delete_checkpoint(self.store.folder(name, number))  # The call can have been killed before it did.
        return self.store.load(name, number, data)

    def _keep(
        self,
        name: str,
        number: int,
        model: tf_keras.Model,
        data: Dataset,
        traits: kernel_traits.Traits,
        history: History,
    ) -> Stage:
        """Keeps a finished stage and returns it; of a strategy, as every worker reads it from the chief's file."""
        if self.strategy.chief:
            stage = self.store.save(name, number, model, data, traits, history)
            if not self.strategy.distributed:
                return stage
        return self._kept(name, number, data)

    def _kept(self, name: str, number: int, data: Dataset) -> Stage:
        """Returns the stage that the chief has kept, once it has."""
        stage = self._finished(name, number, data)
        assert stage is not None
        return stage

    def _seed_stage(self, number: int) -> None:
        """Starts a stage from its own seed, so that it does not matter whether this process ran the stage before."""
        make_repeatable(self.seed * 100 + number)

    def _lesson_of_earlier(self, number: int, model: tf_keras.Model, context: Context) -> Lesson | None:
        """Returns the lesson that the nearest technique before technique `number` gives to later stages."""
        lessons = (one.lesson_for_later(model, context) for one in reversed(self.techniques[: number - 1]))
        return next((lesson for lesson in lessons if lesson is not None), None)


Begin: TypeAlias = Callable[[Chain, tf_keras.Model, Dataset], None]


def _unchanged(model: tf_keras.Model) -> tf_keras.Model:
    return model


def _is_keras(layer: tf_keras.layers.Layer) -> bool:
    return type(layer).__module__.partition(".")[0] == "tf_keras"
