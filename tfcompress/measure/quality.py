"""How good a model's answers are, and how a change moved that, paired over the same examples.

A metric gives each example a score: right or wrong, a number, or what a figure such as a correlation is made of. Right
or wrong has exact statistics (Wilson, McNemar); all other figures get bootstrap intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

from tfcompress.measure.interpreter import FloatArray

Labels = npt.NDArray[Any]
Scores = npt.NDArray[Any]

_RESAMPLES = 1000


def mean(scores: Scores) -> float:
    """Returns the mean of scores `(n,)`."""
    return float(scores.mean())


@dataclass(frozen=True)
class Metric:
    """A figure of quality.

    Attributes:
        name: as people know it, such as `top-1`.
        scores: of labels and outputs, both with the examples in their first axis. The result has one row per case,
            which is an example or, for pairs, two of them. Booleans are right or wrong.
        summary: the figure of such rows; their mean by default.
        higher_is_better: false for errors.
        percent: whether the figure is shown as a percentage.
    """

    name: str
    scores: Callable[[Labels, FloatArray], Scores]
    summary: Callable[[Scores], float] = mean
    higher_is_better: bool = True
    percent: bool = True


@dataclass(frozen=True)
class Quality:
    """A figure with its 95 % interval: Wilson's for right or wrong (1927), else from resampled cases (Efron 1979).

    Attributes:
        metric: its name.
        value: the figure; a share and not a percentage, if it is one.
        low, high: of the interval.
        cases: how many examples, or pairs of them.
        higher_is_better, percent: see `Metric`.
    """

    metric: str
    value: float
    low: float
    high: float
    cases: int
    higher_is_better: bool = True
    percent: bool = True

    def __str__(self) -> str:
        if self.percent:
            return f"{self.value:.2%} ({self.low:.1%}-{self.high:.1%})"
        return f"{self.value:.4g} ({self.low:.3g} to {self.high:.3g})"


@dataclass(frozen=True)
class Change:
    """How a figure changed from one model to another on the same cases.

    Attributes:
        difference: of the figures, after less before.
        low, high: its 95 % interval from resampled cases.
        lost: the number of cases that were right before and are wrong after; None if the scores are not right or wrong.
        gained: the number that were wrong before and are right after, or None.
        p_value: of the exact two-sided McNemar test, or None: how likely a split this uneven is if neither is better.
    """

    difference: float
    low: float
    high: float
    lost: int | None = None
    gained: int | None = None
    p_value: float | None = None


def quality(metric: Metric, labels: Labels, outputs: FloatArray) -> Quality:
    """Measures one figure of a model's outputs `(n, …)` for examples with labels `(n, …)`."""
    scores = metric.scores(labels, outputs)
    value = metric.summary(scores)
    low, high = _wilson(scores) if scores.dtype == bool else _interval(len(scores), lambda i: metric.summary(scores[i]))
    return Quality(metric.name, value, low, high, len(scores), metric.higher_is_better, metric.percent)


def change(metric: Metric, labels: Labels, before: FloatArray, after: FloatArray) -> Change:
    """Compares the outputs `(n, …)` of two models for the same examples."""
    old, new = metric.scores(labels, before), metric.scores(labels, after)
    low, high = _interval(len(old), lambda i: metric.summary(new[i]) - metric.summary(old[i]))
    found = Change(metric.summary(new) - metric.summary(old), low, high)
    if old.dtype != bool:
        return found
    from scipy.stats import binomtest  # takes a second to import

    lost, gained = int((old & ~new).sum()), int((~old & new).sum())
    p_value = float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0
    return Change(found.difference, low, high, lost, gained, p_value)


def p_value_of_guessing(right: npt.NDArray[np.bool_], labels: npt.NDArray[np.integer[Any]]) -> float:
    """Returns how likely so many answers `(n,)` are right if each is right as often as the most frequent label is.

    The binomial test is one-sided: small values mean that the answers are better than guessing.
    """
    share = float(np.bincount(labels).max() / len(labels))
    return float(bdtrc(right.sum() - 1, len(labels), share))


def _wilson(right: npt.NDArray[np.bool_]) -> tuple[float, float]:
    from scipy.stats import binomtest  # takes a second to import

    interval = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _interval(cases: int, figure: Callable[[npt.NDArray[np.intp]], float]) -> tuple[float, float]:
    """Returns the 95 % interval of a figure of resampled cases (percentile bootstrap; seeded)."""
    from scipy.stats import bootstrap  # takes a second to import

    if cases < 2:
        value = figure(np.arange(cases))
        return value, value
    found = bootstrap(
        (np.arange(cases),), figure, n_resamples=_RESAMPLES, vectorized=False, method="percentile", random_state=0
    ).confidence_interval
    return float(found.low), float(found.high)
