"""Judges whole files that are clustered without training: what they lose, and whether a budget allows it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfcompress.errors import UserError
from tfcompress.measure.interpreter import Example, FloatArray
from tfcompress.measure.quality import TOP1, Labels, Metric, Quality, judge, mean, quality
from tfcompress.post_training.clustering import cluster
from tfcompress.post_training.damage import average_divergence, results
from tfcompress.post_training.method import Settings
from tfcompress.study.kept import Kept


@dataclass(frozen=True)
class Selection:
    """Data that a budget in points is judged on, never test data.

    Attributes:
        name: for messages.
        examples: features without a batch axis.
        labels: of the examples, `(n, …)`.
        metric: the figure that counts.
        order: the place among the outputs of the score of each class; None if they have the same order.
    """

    name: str
    examples: Sequence[Example]
    labels: Labels
    metric: Metric = TOP1
    order: Sequence[int] | None = None

    def quality(self, outputs: FloatArray) -> Quality:
        """Returns the figure for the outputs `(n, …)` of all examples."""
        ordered = outputs if self.order is None else outputs[:, list(self.order)]
        return quality(self.metric, judge([self.metric], self.labels, ordered, "the file")[0])


@dataclass(frozen=True)
class Budget:
    """What a file may lose, as nats or as points; one of them is given.

    Attributes:
        divergence: the mean Kullback-Leibler divergence of the outputs from those of the float file, in nats.
        points: of a selection's figure: hundredths of a share, and of any other figure as many as are given.

    Raises:
        UserError: none or both are given, or the number is not positive.
    """

    divergence: float | None = None
    points: float | None = None

    def __post_init__(self) -> None:
        amounts = [amount for amount in (self.divergence, self.points) if amount is not None]
        if len(amounts) != 1:
            raise UserError("give a budget in points of the score, such as 0.3pt, or one in KL, such as 0.01")
        if not 0 < amounts[0] < math.inf:
            raise UserError(f"a budget of {amounts[0]:g} was given; it must be a number above 0")

    def __str__(self) -> str:
        return f"a KL of {self.divergence:g}" if self.points is None else f"a budget of {self.points:g} points"

    def check(self, selection: Selection | None) -> None:
        """Raises a `UserError` if the budget is in points, and finer than one example of the selection can show."""
        if self.points is None:
            return
        if selection is None:
            raise UserError("a budget in points needs labelled data for selection; give some, or use --budget-kl")
        if selection.metric.summary is not mean or not selection.metric.percent:
            return  # Any change of an example's output shows.
        count, needed = len(selection.examples), math.ceil(100 / self.points - 1e-9)
        if count < needed:
            raise UserError(
                f"{self.points:g} points are less than one of the {count} examples of {selection.name}; give at least "
                f"{needed:,} examples, or a budget in KL (--budget-kl), which needs no labels"
            )

    def lost(self, before: Whole, after: Whole) -> str:
        """Returns what was lost in the unit of the budget."""
        if self.points is None:
            return f"the KL is {after.divergence:.2g}"
        assert after.quality is not None
        unit = " points" if after.quality.percent else ""
        return f"the {after.quality.metric} is worse by {after.points_lost(before):.3g}{unit}"

    def holds(self, before: Whole, after: Whole) -> bool:
        """Returns whether a file keeps it, by the point estimate."""
        if self.divergence is not None:
            return after.divergence <= self.divergence
        return self.points is not None and after.points_lost(before) <= self.points + 1e-9


@dataclass(frozen=True)
class Whole:
    """All layers clustered: the mean divergence of the outputs in nats, and the quality if a `Selection` was given."""

    divergence: float
    quality: Quality | None

    def points_lost(self, before: Whole) -> float:
        """Returns by how many points the quality is worse than before; both have one."""
        assert self.quality is not None
        assert before.quality is not None
        return points_lost(before.quality, self.quality)


def points_lost(before: Quality, after: Quality) -> float:
    """Returns by how many points a figure is worse than before: hundredths of a share, or else its own unit."""
    lost = before.value - after.value
    return (100 if after.percent else 1) * (lost if after.higher_is_better else -lost)


class Judge:
    """Clusters whole files and compares them with the float one, each once.

    Raises:
        UserError: see `choose_bits`.
    """

    def __init__(
        self,
        content: bytes,
        examples: Sequence[Example],
        selection: Selection | None,
        settings: Settings,
        folder: Path,
    ) -> None:
        self._content, self._examples, self._settings = content, examples, settings
        self._judged = selection.examples if selection else examples
        self._quality = selection.quality if selection else None
        self._expected = results(content, self._judged)
        if not np.isfinite(self._expected).all():
            raise UserError("the file gives NaN or infinity for the examples; repair it, or give other examples")
        self.before = Whole(0.0, self._quality(self._expected) if self._quality else None)
        labels = [np.asarray(selection.labels)] if selection else []
        # The value stands for the metric and the order of the classes.
        value = self.before.quality and self.before.quality.value
        self._kept = Kept(folder / f"{digest([*self._judged, *labels])[:16]}-{value}", Whole)
        self.on = f"{len(self._judged)} examples of {selection.name if selection else 'the calibration data'}"

    def whole(self, choice: Mapping[str, int], calibrated: bool = True) -> Whole:
        """Returns the outcome with these bits by layer; if not `calibrated`, of plain k-means without scales.

        That is faster, and hardly ever better.
        """
        key = hashlib.sha256(repr(sorted(choice.items())).encode()).hexdigest()[:16]
        return self._kept.of(key if calibrated else f"{key}-plain", lambda: self._measured(choice, calibrated))

    def _measured(self, choice: Mapping[str, int], calibrated: bool) -> Whole:
        settings = self._settings if calibrated else replace(self._settings, scales=False)
        by_name = {name: with_bits(settings, bits) for name, bits in choice.items()}
        made = cluster(self._content, by_name, self._examples if calibrated else None)
        found = results(made.content, self._judged)
        return Whole(average_divergence(found, self._expected), self._quality(found) if self._quality else None)


def with_bits(settings: Settings, bits: int) -> Settings:
    """Returns settings with another number of clusters."""
    return replace(settings, clusters=1 << bits)


def digest(examples: Sequence[Example]) -> str:
    """Returns the SHA-256 of examples."""
    digest = hashlib.sha256()
    for example in examples:
        for name, values in sorted(example.items()) if isinstance(example, dict) else [("", example)]:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
