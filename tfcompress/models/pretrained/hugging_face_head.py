"""The classification head of a checkpoint in Hugging Face's layout, and what its classes are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfcompress.errors import UserError
from tfcompress.models.pretrained.checkpoint import Array
from tfcompress.models.pretrained.hugging_face_config import architecture_of
from tfcompress.models.pretrained.hugging_face_weights import Entries

_HEADS = ("AutoModel", "ForSequenceClassification", "ForImageClassification")
"""How the architectures end whose `classifier` reads whole texts or images; others may classify each token."""

_ADVICE = ", or set model.new_head to train a new head"


def take_head(
    values: Mapping[str, Any], tensors: Entries, classes: int | None, source: str
) -> tuple[list[Array], tuple[str, ...]] | None:
    """Returns the kernel and bias of the head and the names of its classes, or None without such a head.

    Args:
        values: content of config.json.
        tensors: by the names that they have in an encoder without a head.
        classes: number of classes that the head must have, of which it chooses one; None for any head.
        source: name of the checkpoint in errors.

    Raises:
        UserError: the head cannot be copied: it is damaged, there are two, it does not choose one class, or
            config.json does not name one class for each score.
    """
    architecture = architecture_of(values)
    advice = "" if classes is None else _ADVICE
    if architecture.endswith("WithTeacher"):
        raise UserError(
            f"{source} has two heads (cls_classifier, distillation_classifier), whose mean cannot be copied; use a "
            f"checkpoint with one{advice}"
        )
    if not architecture.endswith(_HEADS) or "classifier.weight" not in tensors:
        return None
    weight, bias = tensors["classifier.weight"], tensors["classifier.bias"]
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise UserError(
            f"{source}: the classifier has weights of shape {weight.shape} and {bias.shape}; use an undamaged "
            f"checkpoint{advice}"
        )
    if classes is None:
        return [weight.T, bias], _labels(values, len(weight), source, advice)
    if len(weight) != classes:
        return None
    if values.get("problem_type") not in (None, "single_label_classification"):
        raise UserError(
            f"{source} has problem_type {values['problem_type']} in config.json; use a checkpoint that chooses one "
            f"class{advice}"
        )
    return [weight.T, bias], _labels(values, classes, source, advice)


def chooses_one_class(values: Mapping[str, Any], classes: int) -> bool:
    """Returns whether the scores of a head are to become probabilities of which the largest counts."""
    return classes > 1 and values.get("problem_type") in (None, "single_label_classification")


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
