"""How good a model's answers are, and how a change moved that, paired over the same examples.

A metric gives each example a score: right or wrong, a number, or what a figure such as a correlation is made of. Right
or wrong has exact statistics (Wilson, McNemar); all other figures get bootstrap intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

from tfcompress.errors import UserError, first_line
from tfcompress.measure.interpreter import Answers, FloatArray

Labels = npt.NDArray[Any]
Scores = npt.NDArray[Any]

_TOLERANCE = 0.01
"""How far a rounded probability may be above 1."""

_RESAMPLES = 1000
"""How often the cases are drawn again."""

_INDICES = 1_000_000
"""How many numbers of cases are kept in memory at once."""


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
        case: what one case is called: an example, or a pair of them.
        of_all: whether the outputs are all of a model, by name if there are several, and not only the class scores.
    """

    name: str
    scores: Callable[[Labels, Any], Scores]
    summary: Callable[[Scores], float] = mean
    higher_is_better: bool = True
    percent: bool = True
    case: str = "example"
    of_all: bool = False


@dataclass(frozen=True)
class Quality:
    """A figure with its 95 % interval: Wilson's for right or wrong (1927), else from resampled cases (Efron 1979).

    Attributes:
        metric: its name.
        value: the figure; a share and not a percentage, if it is one.
        low, high: of the interval.
        cases: how many there are.
        higher_is_better, percent, case: see `Metric`.
    """

    metric: str
    value: float
    low: float
    high: float
    cases: int
    higher_is_better: bool = True
    percent: bool = True
    case: str = "example"

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
        percent: whether the difference is of percentages, and is shown in points, 1/100 of 1.
    """

    difference: float
    low: float
    high: float
    lost: int | None = None
    gained: int | None = None
    p_value: float | None = None
    percent: bool = True

    @property
    def brief(self) -> str:
        """The numbers lost and gained, or else the difference."""
        if self.p_value is not None:
            return f"{self.lost}/{self.gained}"
        return f"{100 * self.difference:+.2f}" if self.percent else f"{self.difference:+.3g}"

    def __str__(self) -> str:
        if self.p_value is not None:
            return f"{self.brief} ({self.p_value:.2f})"
        if self.percent:
            return f"{self.brief} ({100 * self.low:+.2f} to {100 * self.high:+.2f})"
        return f"{self.brief} ({self.low:+.3g} to {self.high:+.3g})"


def likely(outputs: FloatArray) -> npt.NDArray[np.bool_]:
    """Returns which probabilities are at least a half; of numbers that are none but their logits, which are at least 0.

    They are taken for logits if one of them is below 0 or above 1.
    """
    are_logits = outputs.min() < 0 or outputs.max() > 1 + _TOLERANCE
    return np.asarray(outputs >= (0.0 if are_logits else 0.5))


def predicted(outputs: FloatArray) -> npt.NDArray[np.intp]:
    """Returns the class `(n,)` of the largest of the outputs `(n, classes)`; of one output, 1 if it is `likely`."""
    return likely(outputs[:, 0]).astype(np.intp) if outputs.shape[1] == 1 else outputs.argmax(axis=1)


def _right(labels: Labels, outputs: FloatArray) -> Scores:
    if outputs.ndim != 2 or labels.max() >= max(2, outputs.shape[1]):
        raise ValueError(f"labels go up to {labels.max()}, and there must be one score per class")
    return np.asarray(predicted(outputs) == labels)


TOP1 = Metric("top-1", _right)
"""Of integer labels `(n,)` and class scores `(n, classes)`."""


def judge(metrics: Sequence[Metric], labels: Labels, outputs: Answers, whose: str) -> tuple[Scores, ...]:
    """Returns the scores of each metric for labels `(n, …)` and outputs of the same examples.

    Raises:
        UserError: a metric does not take such outputs of `whose`.
    """
    found = []
    for metric in metrics:
        try:
            found.append(np.asarray(metric.scores(labels, outputs)))
        except Exception as error:  # A metric may be the user's own code.
            raise UserError(
                f"{whose} gives outputs of shape {_shapes(outputs)} per example, from which {metric.name} cannot be "
                f"found: {first_line(error)}; give a model for these labels"
            ) from error
    return tuple(found)


def _shapes(outputs: Answers) -> str:
    return str({name: x.shape[1:] for name, x in outputs.items()} if isinstance(outputs, dict) else outputs.shape[1:])


def quality(metric: Metric, scores: Scores) -> Quality:
    """Returns the figure of a model with these scores."""
    value = metric.summary(scores)
    low, high = _wilson(scores) if scores.dtype == bool else _interval(len(scores), lambda i: metric.summary(scores[i]))
    return Quality(metric.name, value, low, high, len(scores), metric.higher_is_better, metric.percent, metric.case)


def change(metric: Metric, before: Scores, after: Scores) -> Change:
    """Compares the scores of two models for the same cases."""
    difference = metric.summary(after) - metric.summary(before)
    low, high = _interval(len(before), lambda i: metric.summary(after[i]) - metric.summary(before[i]))
    if before.dtype != bool:
        return Change(difference, low, high, percent=metric.percent)
    return Change(difference, low, high, *mcnemar(before, after), metric.percent)


def mcnemar(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> tuple[int, int, float]:
    """Returns how many answers `(n,)` were lost and gained, and the p-value of McNemar's test; see `Change`."""
    from scipy.stats import binomtest  # takes a second to import

    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    return lost, gained, float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0


def p_value_of_guessing(right: npt.NDArray[np.bool_], labels: Labels) -> float:
    """Returns how likely so many answers `(n,)` are right if each is right as often as the most frequent label is.

    The binomial test is one-sided: small values mean that the answers are better than guessing.
    """
    share = float(np.unique(labels, axis=0, return_counts=True)[1].max() / len(labels))
    return float(bdtrc(right.sum() - 1, len(labels), share))


def _wilson(right: npt.NDArray[np.bool_]) -> tuple[float, float]:
    from scipy.stats import binomtest  # takes a second to import

    interval = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _interval(cases: int, figure: Callable[[npt.NDArray[np.intp]], float]) -> tuple[float, float]:
    """Returns the 95 % interval of a figure of resampled cases (percentile bootstrap; seeded)."""
    value = figure(np.arange(cases))
    if cases < 2 or not np.isfinite(value):
        return value, value
    from scipy.stats import bootstrap  # takes a second to import

    drawn = bootstrap(
        (np.arange(cases),),
        figure,
        n_resamples=_RESAMPLES,
        batch=max(1, _INDICES // cases),
        vectorized=False,
        method="percentile",
        rng=0,
    )
    low, high = drawn.confidence_interval
    return float(low), float(high)
