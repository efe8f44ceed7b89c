"""What all sources of pretrained weights share: weights under our layers' names become a checked classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.bert import BertConfig
from tfcompress.models.presets import Config, from_config

Array = npt.NDArray[Any]

Weights = Mapping[str, Sequence[Array]]
"""Weights by layer name, in the order of the layer's own."""

_TOLERANCE = 1e-5
_MAY_BE_FRESH = ("pooler", "head")


@dataclass(frozen=True)
class Pretrained:
    """A classifier whose encoder comes from a checkpoint.

    Attributes:
        model: functional tf_keras model that gives logits; its head comes from the checkpoint too if that has one of
            as many classes, and is fresh otherwise.
        vocabulary: WordPiece tokens in the order of their ids; empty for images, or where the checkpoint has none.
        lowercase: whether texts are lower-cased before they are cut into tokens.
    """

    model: tf_keras.Model
    vocabulary: tuple[str, ...] = ()
    lowercase: bool = True


def assemble(config: Config, weights: Weights, classes: int, dropout: float, source: str, name: str) -> tf_keras.Model:
    """Builds the model of a config and fills in a checkpoint's weights.

    Args:
        config: of the model.
        weights: a head of another number of classes is left out; pooler and head may be missing and then stay fresh.
        classes: logits of the head.
        dropout: share dropped while training.
        source: what errors call the checkpoint.
        name: of the model.

    Raises:
        UserError: a layer without weights, or with others than the config says.
    """
    model = from_config(config, classes, dropout, name)
    for layer in model.layers:
        expected = [tuple(w.shape) for w in layer.weights]
        if not expected or (layer.name in _MAY_BE_FRESH and layer.name not in weights):
            continue
        found = [w.shape for w in weights.get(layer.name, ())]
        if layer.name == "head" and found != expected:
            continue
        if found != expected:
            raise UserError(
                f"{source}: {layer.name} has weights of shape {_listed(found)}, its config says {_listed(expected)}; "
                "the checkpoint is damaged or of another design"
            )
        layer.set_weights(weights[layer.name])
    return model


def has_head(weights: Weights, classes: int) -> bool:
    """Tells whether `assemble` takes the checkpoint's head."""
    return "head" in weights and weights["head"][0].shape[-1] == classes


def check_text(config: BertConfig, positions: int, vocabulary: Sequence[str], source: str) -> None:
    """Checks a text model's length and vocabulary against the checkpoint's tables.

    Raises:
        UserError: more tokens than positions, or a vocabulary of another size than the token table.
    """
    if not 0 < config.sequence_length <= positions:
        raise UserError(
            f"{source}: sequence_length is {config.sequence_length}, the checkpoint has positions for 1 to {positions} "
            "tokens; choose a length among them"
        )
    if vocabulary and len(vocabulary) != config.vocabulary:
        raise UserError(
            f"{source}: the vocabulary has {len(vocabulary)} tokens, the token table {config.vocabulary} rows; give "
            "the vocabulary that the model was trained with"
        )


def check_same_outputs(ours: Array, theirs: Array, what: str) -> float:
    """Checks that a copied model gives what its source gives: to 1e-5 of the largest output.

    Returns:
        The largest difference as a share of the largest output.

    Raises:
        UserError: it is larger, or the shapes differ.
    """
    if ours.shape != theirs.shape:
        raise UserError(f"{what}: outputs of shape {ours.shape} became {theirs.shape}; please report it")
    difference = float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), np.finfo(np.float32).tiny))
    if not difference <= _TOLERANCE:
        raise UserError(
            f"{what}: the copied weights give outputs that differ by {difference:.1e} of the largest, {_TOLERANCE:.0e} "
            "is allowed; the model has parts that are not copied, or does not compute in float32"
        )
    return difference


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join(map(str, shapes)) or "none"
