"""Judges whole files that are clustered without training: what they lose, and whether a budget allows it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tfcompress.errors import UserError
from tfcompress.measure.interpreter import Example, FloatArray
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
        score: of the outputs `(n, …)` for all examples, where 1 is 100 points; see `top1`.
    """

    name: str
    examples: Sequence[Example]
    score: Callable[[FloatArray], float]


@dataclass(frozen=True)
class Budget:
    """What a file may lose, as nats or as points; one of them is given.

    Attributes:
        divergence: the mean Kullback-Leibler divergence of the outputs from those of the float file, in nats.
        points: of a selection's score.

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
        """Raises a `UserError` if the budget is in points, and finer than one example of the selection."""
        if self.points is None:
            return
        if selection is None:
            raise UserError("a budget in points needs labelled data for selection; give some, or use --budget-kl")
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
        return f"the score falls by {after.points_below(before):.2f} points"

    def holds(self, before: Whole, after: Whole) -> bool:
        """Returns whether a file keeps it, by the point estimate."""
        if self.divergence is not None:
            return after.divergence <= self.divergence
        return self.points is not None and after.points_below(before) <= self.points + 1e-9


@dataclass(frozen=True)
class Whole:
    """All layers clustered: the mean divergence of the outputs in nats, and the score if a `Selection` was given."""

    divergence: float
    score: float | None

    def points_below(self, before: Whole) -> float:
        """Returns how many points the score has fallen; there are scores."""
        assert self.score is not None
        assert before.score is not None
        return 100 * (before.score - self.score)


def top1(labels: npt.ArrayLike, order: Sequence[int] | None = None) -> Callable[[FloatArray], float]:
    """Returns the score of a `Selection` with a label for each example: the share that is classified correctly.

    Args:
        labels: (n,), places among the classes.
        order: the place among the outputs of the score of each class; None if they have the same order.
    """
    places = slice(None) if order is None else list(order)
    return lambda outputs: float((outputs[:, places].argmax(axis=1) == np.asarray(labels)).mean())


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
        self._score = selection.score if selection else None
        self._expected = results(content, self._judged)
        if not np.isfinite(self._expected).all():
            raise UserError("the file gives NaN or infinity for the examples; repair it, or give other examples")
        self.before = Whole(0.0, self._score(self._expected) if self._score else None)
        # The score stands for the labels.
        self._kept = Kept(folder / f"{digest(self._judged)[:16]}-{self.before.score}", Whole)
        self.on = f"{len(self._judged)} examples of {selection.name if selection else 'the calibration data'}"

    def whole(self, choice: Mapping[str, int]) -> Whole:
        """Returns the outcome with these bits by layer."""
        key = hashlib.sha256(repr(sorted(choice.items())).encode()).hexdigest()[:16]
        return self._kept.of(key, lambda: self._measured(choice))

    def _measured(self, choice: Mapping[str, int]) -> Whole:
        by_name = {name: with_bits(self._settings, bits) for name, bits in choice.items()}
        found = results(cluster(self._content, by_name, self._examples).content, self._judged)
        return Whole(average_divergence(found, self._expected), self._score(found) if self._score else None)


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
