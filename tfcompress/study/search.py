"""Searches a recipe's settings for the file that costs least and loses little, or for the front of several goals."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path

import tf_keras

from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError
from tfcompress.files import atomic_write
from tfcompress.measure import environment
from tfcompress.measure.quality import Change, Quality, mean
from tfcompress.optimize.clustering import Cluster
from tfcompress.optimize.technique import Technique
from tfcompress.report.search import SearchedTrial, SearchReport, Winner, goal_text, goal_value
from tfcompress.report.search_page import write_search_page
from tfcompress.runs.base import load_data
from tfcompress.runs.chain import Chain
from tfcompress.runs.pipeline import chain_of, run
from tfcompress.runs.recipe import Export, Recipe, read_recipe
from tfcompress.runs.rehearsal import rehearse
from tfcompress.runs.workdir import claim, release
from tfcompress.settings import to_yaml
from tfcompress.study import engines
from tfcompress.study.budget import parse_points
from tfcompress.study.judging import Budget, points_lost
from tfcompress.study.ledger import Entry, Ledger
from tfcompress.study.mean_bits import measure_layers
from tfcompress.study.sharing import check_not_spread, finished_stages, stages_of
from tfcompress.study.space import ByLayer, Range, Space
from tfcompress.study.trial import COSTS, Outcome, Trial, last_file, make_trial, measured

TRIALS = 30
"""How many trials there are by default."""

_NEAREST = 3
_TOLERANCE = 1e-9
_SAMPLER = "Optuna's TPESampler"


@dataclass(frozen=True)
class _Base:
    """What all trials begin with.

    Attributes:
        quality: of the float32 file on the validation split.
        file: that file.
        by_layer: see `Space.content`.
    """

    quality: Quality
    file: Path
    by_layer: ByLayer | None


def search(
    recipe: str,
    workdir: Path,
    goals: Sequence[str],
    budget: str | None = None,
    trials: int | None = None,
    seconds: float | None = None,
    changes: Sequence[str] = (),
    rehearsal: bool = True,
    engine: str = engines.HERE,
) -> SearchReport:
    """Tries settings of a recipe, chosen by Optuna. The same call resumes an interrupted search.

    The folder gets `study.db`, Optuna's study; `trials/NNN`, the stages and the file of each trial, and with a budget
    the whole run of the winner; `winner.yaml`, its recipe; and `figures.json`, `report.html` and `front.svg`.

    Args:
        recipe: the path of a YAML file with `search` in the place of some values, see docs/search.md.
        workdir: the folder for everything.
        goals: what to minimise: one of `COSTS` with a budget; without, two or more of `COSTS` and `quality`.
        budget: how much worse the winner may be than the base model, by the task's first figure on the validation
            split: points such as `0.3pt`, or the figure's own unit if it is no percentage.
        trials: how many there are, those of earlier calls among them; by default `TRIALS`, or as many as the time
            allows.
        seconds: after which no trial of this call begins.
        changes: settings of all trials, `path=value`.
        rehearsal: whether the chain with all techniques is tried on two examples first.
        engine: where the trials are made, see `tfcompress.study.engines.engine`; its machines have to see `workdir`.

    Raises:
        UserError: an argument or the recipe is wrong; the folder holds another search; or no trial keeps the budget,
            and then the page shows the nearest.
    """
    points = _checked(goals, budget, trials, seconds)
    content = read_recipe(recipe, changes)
    space = Space(content, recipe)
    first = space.recipe(space.first())
    check_not_spread((one for _, one in space.recipes()), recipe)
    if "bytes" in goals and _clusters(first) and not first.export.clustered:
        raise UserError(f"{recipe}: clusters make no file smaller that is not packed; set export.clustered: true")
    data = load_data(first)
    if not data.size("validation"):
        raise UserError(
            f"data set {data.name} has no validation split, which decides between trials; take data that have one, or "
            "hold one out with data.split"
        )
    claimed = {"recipe": content, "goals": list(goals), "budget": points, "data set": data.describe()}
    if points is not None:
        _check_budget(points, data, str(budget))
    with engines.engine(engine) as made_by:
        _check_shared(made_by, engine, workdir)
        base = _make_base(space, first, data, workdir, claimed, rehearsal)
        ledger = Ledger(workdir / "study.db", space, len(goals), first.seed)
        work = _Work(space, base, workdir, goals, points, ledger)
        limit = trials or (TRIALS if seconds is None else math.inf)
        entries = work.make(made_by, limit, seconds or math.inf)
    found = SearchReport(
        recipe=recipe,
        data=data.name,
        goals=tuple(goals),
        budget=points,
        base=base.quality,
        trials=tuple(work.described(entry) for entry in entries),
        winner=None,
        sampler=_SAMPLER,
        seed=first.seed,
        date=environment.now(),
        versions=environment.versions(),
        machine=environment.machine(),
    )
    best = _best(found)
    if best is not None:
        found = replace(found, winner=work.finish(entries[best]))
    found.save(workdir / "figures.json")
    write_search_page(found, workdir / "report.html")
    if points is not None and best is None:
        raise UserError(_no_winner(found, workdir))
    return found


class _Work:
    """The trials of a search, and what they have in common."""

    def __init__(
        self,
        space: Space,
        base: _Base,
        workdir: Path,
        goals: Sequence[str],
        points: float | None,
        ledger: Ledger,
    ) -> None:
        self._space, self._base, self._workdir = space, base, workdir
        self._goals, self._points, self._ledger = goals, points, ledger
        self._costs = tuple(cost for cost in COSTS if cost in goals)
        self._entries = {entry.number: entry for entry in ledger.entries()}
        first = space.recipe(space.first())
        self._made = finished_stages(first, workdir / "base")
        for number, entry in self._entries.items():
            self._made |= finished_stages(self.recipe(entry), self.folder(number))

    def make(self, engine: engines.Engine, limit: float, seconds: float) -> list[Entry]:
        """Makes trials until there are `limit` or time is up, first those that were under way; returns all."""
        waiting = [entry for entry in self._entries.values() if entry.outcome is None]
        running: dict[Future[Outcome], Entry] = {}
        ends = time.monotonic() + seconds
        while True:
            while len(running) < engine.workers:
                if not waiting and len(self._entries) < limit and time.monotonic() < ends:
                    waiting = [self._ledger.propose()]
                if not waiting:
                    break
                entry = waiting.pop(0)
                self._entries[entry.number] = entry
                print(f"trial {entry.number}: {self._space.described(entry.values)}", file=sys.stderr)
                running[engine.submit(make_trial, self._trial(entry))] = entry
            if not running:
                return [entry for _, entry in sorted(self._entries.items())]
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(finished, key=lambda one: running[one].number):
                self._record(replace(running.pop(future), outcome=self._comparable(future.result())))

    def described(self, entry: Entry) -> SearchedTrial:
        """Returns a finished trial as the report has it."""
        outcome = entry.outcome
        assert outcome is not None
        lost = None if outcome.quality is None else points_lost(self._base.quality, outcome.quality)
        return SearchedTrial(
            entry.number,
            {name: self._space.short(name, value) for name, value in entry.values.items()},
            outcome.state,
            outcome.quality,
            lost,
            dict(outcome.costs),
            outcome.reason,
            outcome.seconds,
        )

    def finish(self, entry: Entry) -> Winner:
        """Runs the recipe of a trial to the end, which looks at the test split, and writes the recipe."""
        assert entry.outcome is not None
        text = to_yaml(self._space.content(entry.values, self._base.by_layer))
        with atomic_write(self._workdir / "winner.yaml") as beside:
            beside.write_text(text, encoding="utf-8")
        folder = self.folder(entry.number)
        report = run(self.recipe(entry), folder, rehearsal=False)
        (variant,) = (one for one in report.variants if one.file == entry.outcome.file)
        before, after = report.variants[0].quality[0], variant.quality[0]
        change = variant.change[0] if variant.change else Change(0.0, 0.0, 0.0, percent=after.percent)
        file = (folder / variant.file).relative_to(self._workdir)
        return Winner(entry.number, before, after, change, str(file), text)

    def recipe(self, entry: Entry) -> Recipe:
        """Returns the recipe of a trial."""
        return self._space.recipe(entry.values, self._base.by_layer)

    def folder(self, number: int) -> Path:
        """Returns the folder of a trial."""
        return self._workdir / "trials" / f"{number:03}"

    def _trial(self, entry: Entry) -> Trial:
        recipe = self.recipe(entry)
        made = {key: self._made[key] for _, key in stages_of(recipe) if key in self._made}
        misses = [
            one.outcome.losses
            for one in self._entries.values()
            if one.outcome is not None and one.outcome.state == "complete" and self._excess(one.outcome) > 0
        ]
        return Trial(recipe, self.folder(entry.number), made, self._costs, self._base.file, misses)

    def _record(self, entry: Entry) -> None:
        outcome = entry.outcome
        assert outcome is not None
        if outcome.state == "failed" and not any(
            one.outcome is not None and one.outcome.state == "complete" for one in self._entries.values()
        ):
            raise UserError(f"trial {entry.number} ({self._space.described(entry.values)}): {outcome.reason}")
        complete = outcome.state == "complete"
        values = [goal_value(goal, outcome.costs, outcome.quality) for goal in self._goals] if complete else []
        excess = None if self._points is None or outcome.state == "failed" else self._excess(outcome)
        self._ledger.record(entry.number, outcome, values, excess)
        self._entries[entry.number] = entry
        self._made |= finished_stages(self.recipe(entry), self.folder(entry.number))
        result = f"{outcome.state} {outcome.reason}"
        if outcome.quality is not None:
            costs = ", ".join(f"{goal} {goal_text(goal, value)}" for goal, value in outcome.costs.items())
            result = f"{outcome.quality.metric} {outcome.quality}, {costs}"
        print(f"trial {entry.number}: {result}", file=sys.stderr)

    def _comparable(self, outcome: Outcome) -> Outcome:
        """Returns an outcome, failed if its latency is that of another kind of machine than those before."""
        done = [one.outcome for one in self._entries.values() if one.outcome is not None]
        others = {one.processor for one in done if one.state == "complete"}
        if outcome.state != "complete" or "latency" not in self._costs or not others - {outcome.processor}:
            return outcome
        reason = f"timed on {outcome.processor}; others were timed on {', '.join(sorted(others))}"
        return replace(outcome, state="failed", reason=reason)

    def _excess(self, outcome: Outcome) -> float:
        """Returns by how much a trial missed the budget; a stopped one as much as the worst of those that are done."""
        if self._points is None:
            return 0.0
        if outcome.quality is not None:
            return points_lost(self._base.quality, outcome.quality) - self._points - _TOLERANCE
        done = [one.outcome for one in self._entries.values() if one.outcome is not None]
        return max(self._excess(one) for one in done if one.quality is not None)


def _make_base(
    space: Space, first: Recipe, data: Dataset, workdir: Path, claimed: Mapping[str, object], rehearsal: bool
) -> _Base:
    """Makes the base model, after all checks; if one fails, the folder is left as it was."""

    def begin(chain: Chain, model: tf_keras.Model, adapted: Dataset) -> None:
        for values, recipe in space.recipes():
            try:
                replace(chain, techniques=_techniques(recipe), export=recipe.export).check(model, adapted)
            except UserError as error:
                raise UserError(f"{error} (with {values})") from None
        resumed = (workdir / "search.json").is_file()
        claim(workdir, "search", claimed)
        try:
            if rehearsal:
                rehearse(replace(chain, workdir=workdir), model, adapted)
        except BaseException:
            if not resumed:
                release(workdir, "search")
            raise

    stage = next(chain_of(first, data, workdir / "base").stages(begin))
    file = last_file(stage, Export(), workdir / "base")
    shared_out = [one for one in space.parameters.values() if isinstance(one, Range) and one.by_layer]
    by_layer = None
    if shared_out:
        technique = next(one for one in _techniques(first) if isinstance(one, Cluster))
        table = measure_layers(file, technique, technique.calibration, first.seed, workdir / "layers")
        by_layer = table.settings
    quality = measured(file, ()).quality
    assert quality is not None
    return _Base(quality, file.path, by_layer)


def _check_shared(made_by: engines.Engine, engine: str, workdir: Path) -> None:
    """Refuses a folder that some machine does not see."""
    workdir.mkdir(parents=True, exist_ok=True)
    if not made_by.shares(workdir):
        raise UserError(f"not every machine of {engine} sees {workdir}; name a --workdir that all of them share")


def _clusters(recipe: Recipe) -> bool:
    return any(one.clusters_weights for one in _techniques(recipe))


def _techniques(recipe: Recipe) -> list[Technique]:
    return [step.technique for step in recipe.techniques]


def _checked(goals: Sequence[str], budget: str | None, trials: int | None, seconds: float | None) -> float | None:
    """Returns the points of the budget, if there is one."""
    if (trials is not None and trials < 1) or (seconds is not None and seconds <= 0):
        raise UserError(f"{trials} trials in {seconds} seconds were asked for; both are above 0")
    known = COSTS if budget is not None else (*COSTS, "quality")
    unknown = [goal for goal in goals if goal not in known]
    if unknown or len(set(goals)) < len(goals):
        raise UserError(f"the goals are {', '.join(goals)}; take different ones of {', '.join(known)}")
    if budget is None:
        if len(goals) < 2:
            raise UserError(
                "give a budget such as 0.3pt and what to minimise within it, or two or more objectives for a front"
            )
        return None
    if len(goals) != 1:
        raise UserError(f"a budget of {budget} is for one goal, not {len(goals)}; leave out the budget for a front")
    return Budget(points=parse_points(budget)).points


def _check_budget(points: float, data: Dataset, given: str) -> None:
    """Refuses a budget in points of what has none, and one that is finer than an example can show."""
    metric = data.task.metrics(data.labels["validation"])[0]
    if not metric.percent and given.strip().endswith("pt"):
        raise UserError(
            f"{metric.name} on {data.name} is no percentage, so it has no points; give the budget in its own unit, "
            f"such as {points:g}"
        )
    one = 100 / data.size("validation")
    if metric.percent and metric.summary is mean and metric.case == "example" and points < one - _TOLERANCE:
        raise UserError(
            f"{points:g} points are less than one of the {data.size('validation')} validation examples of {data.name}, "
            f"which is {one:.2g}; give a larger budget, or more of them"
        )


def _best(found: SearchReport) -> int | None:
    """Returns the number of the trial that costs least within the budget; of equals the better, then the first."""
    if found.budget is None:
        return None
    within = [one for one in found.complete if one.lost is not None and one.lost <= found.budget + _TOLERANCE]
    by_cost = sorted(within, key=lambda one: (one.costs[found.goals[0]], one.lost, one.number))
    return by_cost[0].number if by_cost else None


def _no_winner(found: SearchReport, workdir: Path) -> str:
    unit = " points" if found.base.percent else ""
    near = sorted(found.complete, key=lambda one: one.lost or 0.0)[:_NEAREST]
    goal = found.goals[0]
    shown = "; ".join(
        f"trial {one.number} loses {one.lost:.3g}{unit} with {goal} {goal_text(goal, one.costs[goal])}" for one in near
    )
    return (
        f"none of {len(found.trials)} trials keeps a budget of {found.budget:g}{unit}; the nearest: {shown}; give a "
        f"larger budget, more trials or milder settings ({workdir / 'report.html'} shows all)"
    )
