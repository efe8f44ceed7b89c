"""Runs a recipe at every point of a grid of settings. Stages that runs have in common are made once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from pydantic import JsonValue, TypeAdapter
from scipy.special import stdtrit

from tfcompress.errors import UserError
from tfcompress.files import atomic_write, write_json
from tfcompress.measure.quality import Quality
from tfcompress.report import plots
from tfcompress.report.document import Report, Variant
from tfcompress.runs.recipe import Recipe
from tfcompress.runs.workdir import claim
from tfcompress.settings import parse_yaml
from tfcompress.study import engines
from tfcompress.study.runs import Run, make_runs
from tfcompress.study.sharing import check_not_spread

SEED = "seed"
"""Runs that differ in this setting only are one row."""

Settings = dict[str, JsonValue]
"""The values of a point of the grid, by the paths of the settings."""


@dataclass(frozen=True)
class Row:
    """The files of one format that runs with the same settings and different seeds ended with.

    Attributes:
        settings: of the grid, without the seed.
        model: the last stage and its format, in words.
        qualities: the task's first figure of each seed, on the test split.
        changes: its change from the base model of the same run, in the same order.
        bytes, gzip: of the file, and zipped: the mean over the seeds.
        ratio: the bytes of the base model's file divided by `bytes`.
        time: the median ratio to the latency of the base model's file; None if the runs' processors differ.
        processors: that timed the files, as the system calls them, each once.
    """

    settings: Settings
    model: str
    qualities: tuple[Quality, ...]
    changes: tuple[float, ...]
    bytes: int
    gzip: int
    ratio: float
    time: float | None
    processors: tuple[str, ...]

    @property
    def quality(self) -> Quality:
        """The mean, with a 95 % interval: Student's over the seeds, or that of the examples if there is one seed."""
        first = self.qualities[0]
        if len(self.qualities) == 1:
            return first
        values = [quality.value for quality in self.qualities]
        low, high = _interval(values)
        return Quality(
            first.metric, mean(values), low, high, first.cases, first.higher_is_better, first.percent, first.case
        )

    @property
    def change(self) -> float:
        """The mean over the seeds."""
        return mean(self.changes)


@dataclass(frozen=True)
class Sweep:
    """What a sweep found.

    Attributes:
        recipe: its name, or its path.
        runs: how many there were.
        rows: in the order of the grid.
    """

    recipe: str
    runs: int
    rows: tuple[Row, ...]

    def save(self, path: Path) -> None:
        """Writes the rows as JSON."""
        write_json(path, TypeAdapter(Sweep).dump_python(self, mode="json"))


@dataclass(frozen=True)
class _Point:
    settings: Settings
    recipe: Recipe
    workdir: Path

    def __str__(self) -> str:
        return ", ".join(f"{path} {value}" for path, value in self.settings.items())


def sweep(
    recipe: str,
    grid: Sequence[str],
    workdir: Path,
    changes: Sequence[str] = (),
    rehearsal: bool = True,
    engine: str = engines.HERE,
) -> Sweep:
    """Runs a recipe once for each combination of the values. The same call resumes an interrupted sweep.

    Each run has a folder `runs/NNN`, as `tfcompress run` leaves it. `figures.json` and `figures.svg` show all.

    Args:
        recipe: the name of a shipped recipe, or the path of a YAML file.
        grid: for each setting its path and its values, such as `techniques[1].cluster.clusters=16,32,64`. Runs that
            differ in `seed=0,1,2` alone are one row.
        workdir: the folder for everything.
        changes: settings of all runs, `path=value`.
        rehearsal: whether each run is tried on two examples first.
        engine: where the runs are made, see `tfcompress.study.engines.engine`. The figures are the same everywhere, but
            for latencies.

    Raises:
        UserError: the grid cannot be read, a recipe with one of its values is wrong, the engine cannot be used, the
            folder holds another sweep, or a run failed; the message names the settings of the run.
    """
    points = _points(recipe, grid, workdir.absolute(), changes)
    check_not_spread((point.recipe for point in points), recipe)
    runs = [Run(str(point), point.recipe, point.workdir) for point in points]
    with engines.engine(engine) as made_by:
        claim(workdir, "sweep", {"recipe": recipe, "grid": list(grid), "set": list(changes)})
        make_runs(runs, made_by, workdir, rehearsal)
    reports = [Report.load(point.workdir / "report.json") for point in points]
    found = Sweep(recipe, len(points), tuple(_rows(points, reports)))
    found.save(workdir / "figures.json")
    with atomic_write(workdir / "figures.svg") as beside:
        drawn = plots.quality_by_size("sweep", [(row.gzip, row.quality) for row in found.rows])
        beside.write_text(plots.standalone(drawn), encoding="utf-8")
    return found


def _points(recipe: str, grid: Sequence[str], workdir: Path, changes: Sequence[str]) -> list[_Point]:
    """Returns one point for each combination of values, the last setting changing fastest."""
    values = dict(map(_values, grid))
    if len(values) < len(grid):
        raise UserError(f"--grid names a setting twice: {', '.join(grid)}; give all its values at once")
    points = []
    for number, chosen in enumerate(itertools.product(*values.values())):
        settings = dict(zip(values, chosen, strict=True))
        written = [f"{path}={TypeAdapter(Any).dump_json(value).decode()}" for path, value in settings.items()]
        points.append(_Point(settings, Recipe.load(recipe, [*changes, *written]), workdir / "runs" / f"{number:03}"))
    return points


def _values(given: str) -> tuple[str, list[JsonValue]]:
    path, equals, text = given.partition("=")
    values = parse_yaml(f"[{text}]", f"--grid {path}") if equals else []
    if not path or not values:
        raise UserError(f"--grid {given!r} has no values; write --grid key.path=first,second,…")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise UserError(f"--grid {given!r} has a value twice; give each once")
    return path, values


def _rows(points: Sequence[_Point], reports: Sequence[Report]) -> Iterator[Row]:
    groups: dict[str, list[tuple[Settings, Report]]] = {}
    for point, report in zip(points, reports, strict=True):
        others = {path: value for path, value in point.settings.items() if path != SEED}
        groups.setdefault(str(others), []).append((others, report))
    for group in groups.values():
        found = [report for _, report in group]
        for variants in zip(*(_last(report) for report in found), strict=True):
            yield _row(group[0][0], variants, found)


def _last(report: Report) -> list[Variant]:
    """Returns the files of the last stage."""
    return [variant for variant in report.variants if variant.stage == report.variants[-1].stage]


def _row(settings: Settings, variants: Sequence[Variant], reports: Sequence[Report]) -> Row:
    """Returns the row of one file of each report."""
    bases = [report.variants[0] for report in reports]
    processors = sorted({str(report.machine["processor"]) for report in reports})
    pairs = list(zip(variants, bases, strict=True))
    size = mean(variant.size.raw for variant in variants)
    return Row(
        settings=settings,
        model=variants[0].name,
        qualities=tuple(variant.quality[0] for variant in variants),
        changes=tuple(variant.quality[0].value - base.quality[0].value for variant, base in pairs),
        bytes=round(size),
        gzip=round(mean(variant.size.gzip for variant in variants)),
        ratio=mean(base.size.raw for base in bases) / size,
        time=median(variant.latency.ratio for variant in variants) if len(processors) == 1 else None,
        processors=tuple(processors),
    )


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns Student's 95 % interval of the mean of at least two values."""
    half = float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half
