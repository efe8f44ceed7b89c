"""Builds a model from the weights of a checkpoint, whatever its source, and checks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import tf_keras

from tfcompress.answers import TaskName
from tfcompress.errors import UserError
from tfcompress.models.bert import BertConfig
from tfcompress.models.mobilebert import MobileBertConfig
from tfcompress.models.presets import Config, from_config

Array = npt.NDArray[np.float32]

Weights = Mapping[str, Sequence[Array]]
"""The weights of each layer by our layer name, in Keras's order."""

_TOLERANCE = 1e-5
_PADDING = 1024
"""Token embeddings are padded to a multiple of a number up to this one."""

_OPTIONAL = ("pooler", "head")
"""Layers that a checkpoint may lack."""


@dataclass(frozen=True)
class TextFormat:
    """What a tokenizer has to know of a text model.

    Attributes:
        kind: the type of model, as `model_type` of Hugging Face names it.
        special: the special tokens by role, `unk_token`, `sep_token`, `pad_token`, `cls_token` and `mask_token`.
        padding: the id that fills a text up.
        most_tokens: how many tokens a text may have, special ones included.
        segments: whether the model takes `segment_ids`.
        own_tokenizer: how the checkpoint cuts texts in another way than BERT, for messages; empty if it does not.
        described: the content of its tokenizer.json then, if it has one.
    """

    kind: str
    special: Mapping[str, str] = field(default_factory=dict)
    padding: int = 0
    most_tokens: int = 0
    segments: bool = True
    own_tokenizer: str = ""
    described: str = ""


@dataclass(frozen=True)
class Pretrained:
    """A model whose encoder has the weights of a checkpoint.

    Attributes:
        model: functional tf_keras model. For a task with classes or numbers it outputs logits, or what an activation
            makes of them: `(batch, classes)`, or `(batch, tokens, classes)` for `tokens`. Its head has the checkpoint's
            weights if that has a head for the same task and number of classes, and random weights otherwise. For the
            task `embedding` it outputs `(batch, width)`, and without a task the last hidden states
            `(batch, tokens, width)`.
        vocabulary: the WordPiece tokens in the order of their ids; empty for image models, or if the checkpoint has
            none.
        lowercase: whether texts are lower-cased before they are tokenized.
        strip_accents: whether accents are removed before texts are tokenized.
        added: tokens that are not found in texts by tokenization alone, such as `[E1]`; possibly others as well.
        labels: what the checkpoint calls the classes of its head, in the order of the scores; empty if the head has
            random weights, or `LABEL_0` and so on for classes without names.
        task: what the model answers; None if it gives its last hidden states.
        with_head: whether the head has the checkpoint's weights, not random ones; an embedding has none to train.
        text: what a tokenizer has to know; None for an image model, or if it is not known.
    """

    model: tf_keras.Model
    vocabulary: tuple[str, ...] = ()
    lowercase: bool = True
    strip_accents: bool = False
    added: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    task: TaskName | None = "classification"
    with_head: bool = False
    text: TextFormat | None = None


def assemble(config: Config, weights: Weights, classes: int, dropout: float, source: str, name: str) -> tf_keras.Model:
    """Builds a model from a config and sets its weights to those of a checkpoint.

    Args:
        config: the architecture.
        weights: weights by layer name. A head with another number of classes is ignored. The pooler and head may be
            missing; they then keep their random weights.
        classes: number of classes.
        dropout: dropout rate during training.
        source: name of the checkpoint in errors.
        name: name of the model.

    Raises:
        UserError: if the weights of a layer are missing, or their shapes do not match the config.
    """
    model = from_config(config, classes, dropout, name)
    for layer in model.layers:
        expected = [tuple(w.shape) for w in layer.weights]
        if not expected or (layer.name in _OPTIONAL and layer.name not in weights):
            continue
        found = [w.shape for w in weights.get(layer.name, ())]
        if layer.name == "head" and found != expected:
            continue
        if found != expected:
            raise UserError(
                f"{source}: {layer.name} has weights of shape {_listed(found)}, but its config says "
                f"{_listed(expected)}; use an undamaged checkpoint whose files belong together"
            )
        layer.set_weights(weights[layer.name])
    return model


def has_head(weights: Weights, classes: int) -> bool:
    """Returns whether the weights include a head with this number of classes, which `assemble` then uses."""
    return "head" in weights and weights["head"][0].shape[-1] == classes


def check_text(config: BertConfig | MobileBertConfig, positions: int, vocabulary: Sequence[str], source: str) -> None:
    """Checks the sequence length and the vocabulary of a text model against its checkpoint.

    Args:
        config: the architecture.
        positions: number of positions in the checkpoint.
        vocabulary: the tokens; empty if unknown.
        source: name of the checkpoint in errors.

    Raises:
        UserError: if the sequence is longer than the number of positions, the token embedding has fewer rows than the
            vocabulary, or so many more that they do not belong together.
    """
    if not 0 < config.sequence_length <= positions:
        raise UserError(
            f"{source}: sequence_length is {config.sequence_length}; the checkpoint has positions for 1 to {positions} "
            "tokens, so choose a length in this range"
        )
    if vocabulary and not 0 <= config.vocabulary - len(vocabulary) < _PADDING:
        raise UserError(
            f"{source}: the vocabulary has {len(vocabulary)} tokens, but the token embedding has {config.vocabulary} "
            "rows; use the vocabulary that the model was trained with"
        )


def check_same_outputs(ours: Array, theirs: Array, what: str) -> float:
    """Checks that the outputs of a copied model equal those of its source, up to 1e-5 of the largest output.

    Args:
        ours: outputs of the copy.
        theirs: outputs of the source, of the same shape.
        what: name of the outputs in errors.

    Returns:
        The largest difference divided by the largest output.

    Raises:
        UserError: if the difference is larger, or the shapes differ.
    """
    if ours.shape != theirs.shape:
        raise UserError(
            f"{what}: the copy has outputs of shape {ours.shape} instead of {theirs.shape}; please report this"
        )
    difference = float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), np.finfo(np.float32).tiny))
    if not difference <= _TOLERANCE:
        raise UserError(
            f"{what}: the outputs of the copy differ by {difference:.1e} of the largest, {_TOLERANCE:.0e} is accepted; "
            "use a model that computes in float32 and has only the standard layers of its family"
        )
    return difference


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join(map(str, shapes)) or "none"
