"""The head of a checkpoint in Hugging Face's layout, and what its scores are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfcompress.answers import TaskName
from tfcompress.errors import UserError
from tfcompress.models.pretrained.checkpoint import Array
from tfcompress.models.pretrained.hugging_face_config import architecture_of
from tfcompress.models.pretrained.hugging_face_weights import Entries

_OF_WHOLE = ("AutoModel", "ForSequenceClassification", "ForImageClassification", "ForImageClassificationWithTeacher")
"""How the architectures end whose head reads whole texts or images."""

_OF_TOKENS = "ForTokenClassification"

_NAMES = ("classifier", "classifier.out_proj")
_TWO = ("cls_classifier", "distillation_classifier")
"""The heads of a DeiT that learned from a teacher: on the class token and on the distillation token."""

_PROBLEMS: dict[str, TaskName] = {
    "single_label_classification": "classification",
    "multi_label_classification": "multilabel",
    "regression": "regression",
}
"""The task for each `problem_type`."""

_ADVICE = ", or set model.new_head to train a new head"


@dataclass(frozen=True)
class Head:
    """The head of a checkpoint.

    Attributes:
        task: what it was trained for.
        weights: kernel `(features, scores)` and bias `(scores,)`.
        labels: what the scores are called.
        reads_two: whether it reads the class token and the distillation token, one after the other.
    """

    task: TaskName
    weights: list[Array]
    labels: tuple[str, ...]
    reads_two: bool = False


def take_head(
    values: Mapping[str, Any], tensors: Entries, task: TaskName | None, classes: int, source: str
) -> Head | None:
    """Returns the head if it is one for a task and a number of classes.

    Args:
        values: content of config.json.
        tensors: by the names that they have in an encoder without a head.
        task: what the head must be for; None for any head.
        classes: number of scores that the head must have, unless the task is None.
        source: name of the checkpoint in errors.

    Raises:
        UserError: the head is damaged, it has this number of scores but is for another task on whole texts or images,
            or config.json does not name one class for each score.
    """
    architecture = architecture_of(values)
    advice = "" if task is None else _ADVICE
    of_tokens = architecture.endswith(_OF_TOKENS)
    if task == "embedding" or not (of_tokens or architecture.endswith(_OF_WHOLE)):
        return None
    found = _weights(tensors, source, advice)
    if found is None:
        return None
    scores = found[1].size
    if task is not None and (scores != classes or of_tokens != (task == "tokens")):
        return None
    own = "tokens" if of_tokens else _task_of(values, scores, source)
    if task not in (None, own):
        raise UserError(f"{source} has a head for {own}, not for {task}; use a checkpoint for {task}{advice}")
    return Head(own, found, _labels(values, scores, source, advice), f"{_TWO[0]}.weight" in tensors)


def _weights(tensors: Entries, source: str, advice: str) -> list[Array] | None:
    """Returns kernel and bias; of two heads, those of one that gives their mean and reads both tokens."""
    if all(f"{name}.weight" in tensors for name in _TWO):
        (first, a), (second, b) = (_read(tensors, name, source, advice) for name in _TWO)
        if first.shape != second.shape:
            raise UserError(f"{source} has heads of different sizes; use an undamaged checkpoint{advice}")
        half = np.float32(0.5)
        return [np.concatenate([first, second]) * half, (a + b) * half]
    name = next((name for name in _NAMES if f"{name}.weight" in tensors), None)
    return None if name is None else _read(tensors, name, source, advice)


def _read(tensors: Entries, name: str, source: str, advice: str) -> list[Array]:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise UserError(
            f"{source}: the {name} has weights of shape {weight.shape} and {bias.shape}; use an undamaged "
            f"checkpoint{advice}"
        )
    return [weight.T, bias]


def _task_of(values: Mapping[str, Any], scores: int, source: str) -> TaskName:
    """Returns what a head on whole texts or images is for, as transformers finds it out."""
    problem = values.get("problem_type")
    if problem is None:
        return "classification" if scores > 1 else "regression"
    if problem not in _PROBLEMS:
        raise UserError(
            f"{source} has problem_type {problem!r} in config.json; it must be one of {', '.join(_PROBLEMS)}"
        )
    return _PROBLEMS[problem]


def _labels(values: Mapping[str, Any], classes: int, source: str, advice: str) -> tuple[str, ...]:
    named = values.get("id2label")
    if not named:
        return tuple(f"LABEL_{place}" for place in range(classes))
    if not isinstance(named, dict) or set(named) != {str(place) for place in range(classes)}:
        raise UserError(
            f"id2label in config.json of {source} is {str(named)[:200]}, but the head has {classes} scores; name the "
            f"class of each score from 0 to {classes - 1}{advice}"
        )
    return tuple(str(named[str(place)]) for place in range(classes))
