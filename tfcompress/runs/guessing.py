"""Points out a base model that is no better than guessing, before hours are spent on it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from tfcompress.data.dataset import Dataset
from tfcompress.data.pixels import range_of
from tfcompress.data.text import AnyTokenizer
from tfcompress.measure.quality import judge, p_value_of_guessing
from tfcompress.models.outputs import answers
from tfcompress.progress import track
from tfcompress.runs.stages import Stage

_EXAMPLES = 256
_BATCH = 32

_SIGNIFICANT = 0.05
"""Largest p-value at which a model counts as better than guessing."""


def warn_if_guessing(base: Stage) -> None:
    """Warns if a base model is no better than the most frequent label on up to 256 validation examples.

    A binomial test compares them, if each answer is right or wrong. The warning names the likely reasons.
    """
    if base.data.task.together > 1:
        return  # Of pairs there is no most frequent label, and a part of the examples would tear them apart.
    step = -(-base.data.size("validation") // _EXAMPLES)
    labels = base.data.labels["validation"][::step]
    if p_value_of_guessing(np.ones(len(labels), bool), labels) > _SIGNIFICANT:
        return  # Even a perfect model could not be told from guessing.
    data = replace(base.data, validation=base.data.validation.shard(step, 0))
    batches = track(data.batches("validation", _BATCH), f"checking {base.name}", -(-len(labels) // _BATCH))
    found = answers(base.model, base.outputs, base.names, (features for features, _ in batches))
    (right,) = judge(data.task.metrics(labels)[:1], labels, found, f"model {base.model.name}")
    if right.dtype != bool or p_value_of_guessing(right, labels) <= _SIGNIFICANT:
        return
    one_each = labels.ndim == 1 and data.task.has_classes
    frequent = repr(data.classes[np.bincount(labels).argmax()]) if one_each else "the most frequent labels"
    warnings.warn(
        f"the base model {base.model.name} is right on {right.sum()} of {len(labels)} validation examples, which is "
        f"no better than always to answer {frequent}. If it is trained, the likely reasons are {_reasons(data)}, or "
        "too few examples to tell",
        UserWarning,
        stacklevel=2,
    )


def _reasons(data: Dataset) -> str:
    """Returns what can be wrong with data on which a good model is bad."""
    classes = ", ".join(data.classes[:4]) + (", …" if len(data.classes) > 4 else "")
    reasons = [f"another order of its classes (these are {classes})"]
    if isinstance(data.decode, AnyTokenizer):
        reasons.insert(0, "another tokenizer or vocabulary")
    elif (pixels := range_of(data)) is not None:
        low, high = pixels
        reasons.insert(
            0,
            f"another range of its pixels (these are from {low:g} to {high:g}; `data: {{pixel_range: [0, 255]}}` in a "
            "recipe or compress(pixel_range=) changes it)",
        )
    else:
        reasons.insert(0, "another scale of its inputs")
    return ", ".join(reasons)
