"""Feeds a picture model the pixels that it takes, whatever their range is in the data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tf_keras

from tfcompress.data.dataset import Dataset
from tfcompress.data.pixels import in_range, range_of, scaling
from tfcompress.measure.quality import Scores, judge, mcnemar
from tfcompress.models.outputs import answers
from tfcompress.models.pixels import pixel_range_of
from tfcompress.pixel_range import BYTES, SIGNED, UNIT, PixelRange
from tfcompress.progress import console, track
from tfcompress.runs.base import given_outputs

_EXAMPLES, _BATCH = 64, 16
"""Number of training examples on which ranges are compared, and of those that the model gets at a time."""

_SIGNIFICANT = 0.01
"""Largest p-value of the McNemar test at which one range counts as better than another."""


def with_pixels_for(
    model: tf_keras.Model,
    data: Dataset,
    told: PixelRange | None = None,
    outputs: str | None = None,
    names: Sequence[str] = (),
) -> Dataset:
    """Returns pictures with the values of black and white that a trained model takes; other data are unchanged.

    The layers at the model's beginning say what it takes, or else the data are taken as they are; but a range in which
    the model is clearly more often right on training examples is preferred.

    Args:
        model: a functional model that fits the data.
        data: as they are.
        told: the values, if the user knows them.
        outputs: what the user says that the model gives; see `given_outputs`.
        names: of the outputs, if there are several.

    Raises:
        UserError: the user tells values, but those of the data are not known; or see `given_outputs`.
    """
    if told is not None:
        return in_range(data, told)
    own = range_of(data)
    if own is None or len(model.inputs) != 1 or model.inputs[0].dtype.is_integer:
        return data
    best = pixel_range_of(model) or own
    if not data.size("train"):
        return in_range(data, best)
    kind = given_outputs(model, in_range(data, best), outputs)
    examples, labels = next(data.prepared(augment=None).stream(_EXAMPLES, 0, 0, 1).as_numpy_iterator())

    def right_with(pixels: PixelRange) -> Scores:
        images = scaling(own, pixels)(examples)
        what = "trying pixels from {:g} to {:g}".format(*pixels)
        batches = range(0, len(labels), _BATCH)
        feed = (images[i : i + _BATCH] for i in track(batches, what, len(batches)))
        found = answers(model, kind, names, feed)
        (scores,) = judge(data.task.metrics(labels)[:1], labels, found, f"model {model.name}")
        return scores

    right = right_with(best)
    for other in (UNIT, BYTES, SIGNED):
        if other != best and _better(np.ones_like(right), right):
            better = right_with(other)
            if _better(better, right):
                best, right = other, better
    if best != own:
        console.print(
            f"model {model.name} takes pixels from {best[0]:g} to {best[1]:g}: it is fed such", soft_wrap=True
        )
    return in_range(data, best)


def _better(answers: Scores, others: Scores) -> bool:
    """Returns whether answers are significantly more often right than others; false if they are not right or wrong."""
    if others.dtype != bool:
        return False
    lost, gained, p_value = mcnemar(others, answers)
    return p_value < _SIGNIFICANT and gained > lost
