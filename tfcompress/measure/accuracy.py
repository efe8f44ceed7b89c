"""Top-1 accuracy with its confidence, and what two models answer to the same examples, in pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Accuracy:
    """Share of correct answers with a 95 % Wilson interval (Wilson 1927; `scipy.stats.binomtest`)."""

    correct: int
    examples: int
    top1: float
    low: float
    high: float


@dataclass(frozen=True)
class Flips:
    """How the answers of two models differ, over the same examples.

    Attributes:
        lost: right before, wrong after.
        gained: wrong before, right after.
        p_value: of the exact two-sided McNemar test: how likely a split at least as uneven is if neither is better.
    """

    lost: int
    gained: int
    p_value: float


@dataclass(frozen=True)
class Agreement:
    """How the outputs of two models differ on the same examples.

    Attributes:
        largest_difference, mean_difference: of all single scores, absolute.
        top1_agreement: share of examples with the same highest score; None where an output holds no scores.
    """

    examples: int
    largest_difference: float
    mean_difference: float
    top1_agreement: float | None


def accuracy(correct: BoolArray) -> Accuracy:
    """Summarises which of `(n,)` examples were answered correctly."""
    hits, examples = int(correct.sum()), len(correct)
    interval = binomtest(hits, examples).proportion_ci(method="wilson")
    return Accuracy(hits, examples, hits / examples, float(interval.low), float(interval.high))


def flips(before: BoolArray, after: BoolArray) -> Flips:
    """Compares which of the same `(n,)` examples two models answered correctly."""
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    p_value = float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0
    return Flips(lost, gained, p_value)


def agreement(found: FloatArray, expected: FloatArray) -> Agreement:
    """Compares the outputs `(n, …)` that two models give to the same examples; `(n, …, classes)` if they are scores."""
    difference = np.abs(found - expected)
    same = None
    if found.ndim > 1 and found.shape[-1] > 1:
        same = float((found.argmax(axis=-1) == expected.argmax(axis=-1)).mean())
    return Agreement(len(found), float(difference.max()), float(difference.mean()), same)


def same_top1(found: npt.NDArray[Any], expected: npt.NDArray[Any]) -> bool | None:
    """Tells whether two models give the highest of scores `(…, classes)` to the same class; None without a choice."""
    if found.shape[-1:] in ((), (0,), (1,)):
        return None
    return bool(np.array_equal(found.argmax(axis=-1), expected.argmax(axis=-1)))
