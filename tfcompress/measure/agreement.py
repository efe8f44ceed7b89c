"""How far the outputs of two models are from each other on the same examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tfcompress.errors import UserError
from tfcompress.measure.interpreter import Example, FloatArray

Outputs = Mapping[str, FloatArray]
"""All outputs of a model for one example, by name and without a batch axis."""

Predict = Callable[[Example], Outputs]
"""Runs a model on one example, for instance `Runner.run_all`."""


@dataclass(frozen=True)
class Agreement:
    """How one output of two models differs on the same examples.

    Attributes:
        examples: number of examples.
        largest_difference, mean_difference: of the single values, absolute.
        top1_agreement: share of the scores whose highest class is the same; None if the output holds no scores.
    """

    examples: int
    largest_difference: float
    mean_difference: float
    top1_agreement: float | None


@dataclass(frozen=True)
class Difference:
    """How far all outputs of a model are from those of the model that it was made from, on the same examples.

    Attributes:
        examples: number of examples.
        largest_difference: of the single values, absolute.
        largest_output: of the model before, absolute.
        same_top1: number of examples whose highest class is the same; None if the output that is read holds no scores.
        finite: whether all outputs of the model are finite numbers.
    """

    examples: int
    largest_difference: float
    largest_output: float
    same_top1: int | None
    finite: bool

    def __str__(self) -> str:
        same = "" if self.same_top1 is None else f"; the same top-1 on {self.same_top1} of {self.examples}"
        return (
            f"outputs differ by {self.largest_difference:.2g} at most, where the largest is {self.largest_output:.2g}"
            f"{same}"
        )


def agreement(found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]) -> Agreement:
    """Compares one output `(n, …)` of two models for the same examples; scores have the shape `(n, …, classes)`."""
    with np.errstate(invalid="ignore"):  # Two equal infinities do not differ.
        difference = np.where(found == expected, 0, np.abs(np.subtract(found, expected)))
    largest, mean = (float(difference.max()), float(difference.mean())) if difference.size else (0.0, 0.0)
    same = None
    if found.ndim > 1 and found.shape[-1] > 1:
        same = float((found.argmax(axis=-1) == expected.argmax(axis=-1)).mean())
    return Agreement(len(found), largest, mean, same)


def agreement_of_all(
    found: Mapping[str, npt.NDArray[np.generic]], expected: Mapping[str, npt.NDArray[np.generic]]
) -> Agreement:
    """Compares several outputs by name: the largest difference is that of any of them, and the mean is over all values.

    It is not known which of them hold scores, so there is no `top1_agreement`.
    """
    flat = [
        np.concatenate([named[name].reshape(len(named[name]), -1) for name in found], 1) for named in (found, expected)
    ]
    return replace(agreement(*flat), top1_agreement=None)


def compare_models(model: Predict, before: Predict, examples: Iterable[Example], scores: str) -> Difference:
    """Runs a model and the one that it was made from on the same examples, and compares all their outputs.

    Args:
        model: the model.
        before: the model that it was made from. Outputs with other names are matched by their order, because a
            quantizer may rename those of a file without a signature.
        examples: features without a batch axis, at least one example.
        scores: name of the output whose highest class counts.

    Raises:
        UserError: one of the models cannot be run, or they give other outputs.
    """
    largest_difference = largest_output = 0.0
    same: list[bool | None] = []
    finite = True
    for example in examples:
        found, expected = model(example), before(example)
        if found.keys() != expected.keys() and len(found) == len(expected):
            expected = dict(zip(found, expected.values(), strict=True))
        if (given := _shapes(found)) != (wanted := _shapes(expected)):
            raise UserError(f"it gives {given}, but the model that it was made from gives {wanted}; make it again")
        agreements = {name: agreement(values[None], expected[name][None]) for name, values in found.items()}
        largest_difference = max(largest_difference, *(one.largest_difference for one in agreements.values()))
        largest_output = max(largest_output, *(float(np.abs(values).max(initial=0)) for values in expected.values()))
        top1 = agreements[scores].top1_agreement
        same.append(None if top1 is None else top1 == 1)
        finite = finite and all(bool(np.isfinite(values).all()) for values in found.values())
    same_top1 = None if None in same else sum(map(bool, same))
    return Difference(len(same), largest_difference, largest_output, same_top1, finite)


def _shapes(outputs: Outputs) -> str:
    return ", ".join(f"{name} {values.shape}" for name, values in sorted(outputs.items()))
