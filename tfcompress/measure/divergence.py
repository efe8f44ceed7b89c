"""How far the outputs of two models are from each other as distributions over classes, or as embeddings.

Neither needs labels, and both tell models apart that have the same top-1 on a few hundred examples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from tfcompress.measure.interpreter import FloatArray, Port

_RESAMPLES, _BATCH = 2000, 100
_SMALLEST = 1e-7
"""What a probability counts as at least: float32 holds no smaller difference from 1, and int8 rounds many to 0."""

_SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class Mean:
    """A mean over examples with its 95 % interval, from resampled examples (percentile bootstrap, Efron 1979; seeded).

    Attributes:
        value: the mean.
        low, high: its interval; None for a single example.
    """

    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, values: npt.NDArray[np.floating]) -> Mean:
        """Summarises one value per example `(n,)`."""
        if len(values) < 2:
            return cls(float(values.mean()), None, None)
        from scipy.stats import bootstrap  # takes a second to import

        found = bootstrap(
            (values,), np.mean, n_resamples=_RESAMPLES, batch=_BATCH, method="percentile", random_state=0
        ).confidence_interval
        return cls(float(values.mean()), float(found.low), float(found.high))


def are_probabilities(outputs: FloatArray, step: float = 0.0) -> bool:
    """Returns whether outputs `(n, classes)` are probabilities: from 0 to 1, with a sum of 1.

    Args:
        outputs: of a model.
        step: between two values that a quantized output can have; 0 for an output of real numbers.
    """
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        return False
    tolerance = _SUM_TOLERANCE + outputs.shape[1] * step / 2
    sums = outputs.sum(axis=1, dtype=np.float64)
    return bool((outputs >= 0).all() and (outputs <= 1 + step).all() and (np.abs(sums - 1) <= tolerance).all())


def are_class_scores(outputs: Iterable[tuple[Port, FloatArray]], classes: bool) -> bool:
    """Returns whether outputs for the same examples are class scores; others are embeddings.

    They are, if the classes are known, if one output is called logits, or if all are probabilities.

    Args:
        outputs: of each file, with its port.
        classes: whether there are labels, or a file names its classes.
    """
    found = list(outputs)
    if classes or any(port.name == "logits" for port, _ in found):
        return True
    return all(are_probabilities(values, port.scale) for port, values in found)


def divergence(
    found: FloatArray, expected: FloatArray, steps: tuple[float, float] = (0.0, 0.0)
) -> npt.NDArray[np.float64]:
    """Returns the Kullback-Leibler divergence of each example `(n,)` in nats: how much the expected classes lose.

    It is the sum over the classes of `p * log(p / q)`, where the model `found` has the probabilities q and the model
    `expected` has p.

    Args:
        found: class scores `(n, classes)`, either probabilities or logits, of which the softmax is taken.
        expected: the same of the model that it is compared with, for the same examples.
        steps: see `are_probabilities`, for `found` and `expected`.
    """
    q, p = (_log_probabilities(outputs, step) for outputs, step in zip((found, expected), steps, strict=True))
    return np.asarray((np.exp(p) * (p - q)).sum(axis=1))


def cosine(
    found: FloatArray, expected: FloatArray, mask: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.float64]:
    """Returns the cosine similarity of each example's embeddings `(n,)`, the mean over all vectors of an example.

    Args:
        found: embeddings `(n, …, width)`.
        expected: of the model that it is compared with, in the same shape.
        mask: `(n, tokens)` for embeddings `(n, tokens, width)`: false for the vectors of padding, which are left out.
    """
    a, b = (outputs.astype(np.float64) for outputs in (found, expected))
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    # Two vectors of zeros are equal; a single one has no direction.
    alike = np.where((a == b).all(axis=-1), 1.0, (a * b).sum(axis=-1) / np.where(lengths > 0, lengths, 1.0))
    weights = np.ones(alike.shape) if mask is None or not mask.any(axis=1).all() else mask
    axes = tuple(range(1, alike.ndim))
    return np.asarray((alike * weights).sum(axis=axes) / weights.sum(axis=axes), np.float64)


def mean_divergence(found: FloatArray, expected: FloatArray, steps: tuple[float, float] = (0.0, 0.0)) -> Mean | None:
    """Returns the mean of `divergence`; None if the outputs are not `(n, classes)`, or not comparable and finite."""
    fit = found.ndim == 2 and found.shape[1] > 1 and _comparable(found, expected)
    return Mean.of(divergence(found, expected, steps)) if fit else None


def mean_cosine(found: FloatArray, expected: FloatArray, mask: npt.NDArray[np.bool_] | None = None) -> Mean | None:
    """Returns the mean of `cosine`; None if the outputs are single numbers, or not comparable and finite."""
    fit = found.ndim > 1 and found.shape[-1] > 1 and _comparable(found, expected)
    return Mean.of(cosine(found, expected, mask)) if fit else None


def _comparable(found: FloatArray, expected: FloatArray) -> bool:
    return found.shape == expected.shape and bool(np.isfinite(found).all() and np.isfinite(expected).all())


def _log_probabilities(outputs: FloatArray, step: float) -> npt.NDArray[np.float64]:
    if not are_probabilities(outputs, step):
        return np.asarray(log_softmax(outputs.astype(np.float64), axis=1))
    floored = np.maximum(outputs.astype(np.float64), _SMALLEST)
    return np.asarray(np.log(floored / floored.sum(axis=1, keepdims=True)))
