"""What a search found: its trials, the front of those that no other beats, and the winner on the test split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue, TypeAdapter

from tfcompress.files import read_json, write_json
from tfcompress.measure.quality import Change, Quality


@dataclass(frozen=True)
class SearchedTrial:
    """A trial of a search.

    Attributes:
        number: from 0.
        settings: what was chosen, by its place in the recipe.
        state: `complete`, `stopped` or `failed`.
        quality: the task's first figure on the validation split, if it is complete.
        lost: by how much that is worse than the base model's: points of a percentage, or else its own unit.
        costs: by goal.
        reason: why it failed.
        seconds: how long it took.
    """

    number: int
    settings: dict[str, JsonValue]
    state: str
    quality: Quality | None
    lost: float | None
    costs: dict[str, float]
    reason: str
    seconds: float


@dataclass(frozen=True)
class Winner:
    """The winner.

    Attributes:
        number: of its trial.
        base: the base model on the test split.
        quality: the winner on the test split.
        change: from the base model, on the same examples.
        file: below the search's folder.
        recipe: its recipe, YAML.
    """

    number: int
    base: Quality
    quality: Quality
    change: Change
    file: str
    recipe: str


@dataclass(frozen=True)
class SearchReport:
    """All figures of a search.

    Attributes:
        recipe: its name or path.
        data: the name of the data set.
        goals: what was minimised: costs, or `quality`, which was maximised.
        budget: what the winner may lose of the base model's quality; None if there was no budget.
        base: the base model on the validation split.
        trials: by number.
        winner: None if there was no budget.
        sampler: what chose the values.
        seed: of the sampler.
        date, versions, machine: of the search.
    """

    recipe: str
    data: str
    goals: tuple[str, ...]
    budget: float | None
    base: Quality
    trials: tuple[SearchedTrial, ...]
    winner: Winner | None
    sampler: str
    seed: int
    date: str
    versions: dict[str, str]
    machine: dict[str, str | int]

    @property
    def axes(self) -> tuple[str, ...]:
        """What the front is about: the goals, and the quality if there is a budget."""
        return self.goals if self.budget is None else (*self.goals, "quality")

    @property
    def complete(self) -> list[SearchedTrial]:
        """The trials that gave a file, the smallest by the first goal first."""
        found = [trial for trial in self.trials if trial.state == "complete"]
        return sorted(found, key=lambda trial: (self.place(trial), trial.number))

    @property
    def front(self) -> list[SearchedTrial]:
        """The trials than which none is better in one of `axes` and as good in the others; of equals, the first."""
        found, places = self.complete, [self.place(trial) for trial in self.complete]
        return [
            trial
            for number, (trial, place) in enumerate(zip(found, places, strict=True))
            if place not in places[:number]
            and not any(other != place and all(map(float.__le__, other, place)) for other in places)
        ]

    def place(self, trial: SearchedTrial) -> tuple[float, ...]:
        """Returns where a complete trial stands on `axes`; less is better."""
        return tuple(goal_value(axis, trial.costs, trial.quality) for axis in self.axes)

    def save(self, path: Path) -> None:
        """Writes the report as JSON."""
        write_json(path, TypeAdapter(SearchReport).dump_python(self, mode="json"))

    @classmethod
    def load(cls, path: Path) -> SearchReport:
        """Reads a report that `save` wrote."""
        return TypeAdapter(cls).validate_python(read_json(path))


def goal_value(goal: str, costs: Mapping[str, float], quality: Quality | None) -> float:
    """Returns a goal as a number to minimise."""
    if goal != "quality":
        return float(costs[goal])
    assert quality is not None
    return float(-quality.value if quality.higher_is_better else quality.value)


def goal_text(goal: str, value: float) -> str:
    """Returns a cost as tables show it."""
    return f"{value:.3f}" if goal == "latency" else f"{value / 2**20:.2f} MiB" if goal == "memory" else f"{value:,.0f}"


def varied(trials: Sequence[SearchedTrial]) -> list[str]:
    """Returns the names of the settings, in the recipe's order."""
    return list(trials[0].settings) if trials else []


UNITS = {
    "bytes": "bytes of the file",
    "download": "bytes of the file, zipped",
    "latency": "time, ratio to the base model's file",
    "memory": "bytes of memory above an empty interpreter",
}
"""What the numbers of each cost are."""
