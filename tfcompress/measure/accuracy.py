"""Top-1 accuracy with its confidence interval, and the paired comparison of two models on the same examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Accuracy:
    """Share of correct predictions with a 95 % Wilson interval (Wilson 1927; `scipy.stats.binomtest`)."""

    correct: int
    examples: int
    top1: float
    low: float
    high: float


@dataclass(frozen=True)
class Flips:
    """How the predictions of two models differ on the same examples.

    Attributes:
        lost: number of examples that were correct before and are wrong after.
        gained: number of examples that were wrong before and are correct after.
        p_value: of the exact two-sided McNemar test: how likely a split this uneven is if neither model is better.
    """

    lost: int
    gained: int
    p_value: float


def accuracy(correct: BoolArray) -> Accuracy:
    """Summarises which examples `(n,)` were classified correctly."""
    hits, examples = int(correct.sum()), len(correct)
    from scipy.stats import binomtest  # takes a second to import

    interval = binomtest(hits, examples).proportion_ci(method="wilson")
    return Accuracy(hits, examples, hits / examples, float(interval.low), float(interval.high))


def p_value_of_guessing(correct: BoolArray, labels: npt.NDArray[np.integer[Any]]) -> float:
    """Returns how likely so many answers `(n,)` are right if each is right as often as the most frequent label is.

    The binomial test is one-sided: small values mean that the answers are better than guessing.
    """
    share = float(np.bincount(labels).max() / len(labels))
    return float(bdtrc(correct.sum() - 1, len(labels), share))


def flips(before: BoolArray, after: BoolArray) -> Flips:
    """Compares which of the same examples `(n,)` two models classified correctly."""
    from scipy.stats import binomtest  # takes a second to import

    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    p_value = float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0
    return Flips(lost, gained, p_value)
