"""The beginning of a run: its data, and its base model with the tokenizer that belongs to it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.answers import TaskName
from tfcompress.data import registry, text
from tfcompress.data.dataset import SPLITS, Dataset, Split
from tfcompress.data.fast_tokenizer import FastTokenizer
from tfcompress.data.registry import Data
from tfcompress.data.tokenizer import Tokenizer, is_pair
from tfcompress.errors import UserError
from tfcompress.labels import are_placeholders, places, places_of_some
from tfcompress.models import lookup, presets
from tfcompress.models.anatomy import input_tables
from tfcompress.models.functional import as_functional_with_tables, check_same_outputs
from tfcompress.models.lookup import Lookup
from tfcompress.models.outputs import Outputs, outputs_of
from tfcompress.models.pretrained import hugging_face, keras_nlp
from tfcompress.models.pretrained.checkpoint import Pretrained
from tfcompress.models.signature import output_names, signature
from tfcompress.models.vit import ViTConfig
from tfcompress.progress import console
from tfcompress.runs.recipe import Recipe

_TOKENS = 128
"""Sequence length of a text model that comes without a preprocessor."""


_CUT_OTHERWISE = "\u00a0\u00ad\u200b-\u200f\ufeff"
_FOLDED_OTHERWISE = "ßẞς\uac00-\ud7a3"
"""Characters for which keras-nlp's token ids differ from those of transformers: always, and in lower case."""

_TOLD = 5

_COMPARED = 4
"""Number of examples on which a model and its copy are compared."""

_INSPECTED = 16
"""Number of examples that show what a model gives, if its operations do not."""


def load_data(recipe: Recipe) -> Dataset:
    """Loads a recipe's data set: images of the size that its model takes, or raw texts.

    Raises:
        UserError: the data set cannot be loaded, or the preset takes the other kind of data.
    """
    data, name = recipe.data, recipe.model.preset
    config = presets.preset(name) if name is not None else None
    if data.pixel_range is not None:
        raise UserError(
            "data.pixel_range belongs to a model given by --model; the recipe's own takes [0, 1]: leave it out"
        )
    if config is not None and isinstance(config, ViTConfig) == data.has_texts:
        kinds = ("texts", "images") if data.has_texts else ("images", "texts")
        raise UserError(f"data set {data.name} has {kinds[0]}, but preset {name} takes {kinds[1]}; choose another")
    size = config.image_size if isinstance(config, ViTConfig) else None
    if recipe.model.hugging_face is not None and not data.has_texts:
        size = hugging_face.image_size(recipe.model.hugging_face)
    return registry.load(data, size)


def load_data_for(model: object, wanted: Data, folder: Path) -> Dataset:
    """Loads a data set as a saved model takes it: images in its size, texts with the tokenizer beside it.

    Args:
        model: the loaded model, of tf_keras or Keras 3.
        wanted: which data set.
        folder: the folder of the model's file.
    """
    try:
        specs = list(signature(model).specs.values())
    except UserError:  # open sides, which the data fix, or else `take_model` refuses the model
        specs = []
    sizes = (spec.shape[1] for spec in specs if len(spec.shape) == 4)
    data = registry.load(wanted, next(sizes, None))
    return data if any(spec.dtype == tf.string for spec in specs) else with_tokenizer(data, folder)


def build_model(recipe: Recipe, data: Dataset) -> tuple[tf_keras.Model, Dataset]:
    """Builds a recipe's base model and returns it with the data as it takes them: texts cut into its tokens.

    Raises:
        UserError: the checkpoint cannot be used; or the model is not to be trained, but has weights that are not.
    """
    source, outputs = _pretrained(recipe, data), _new_outputs(data)
    if recipe.training is False and (source is None or (outputs and not source.with_head)):
        lacks = "no trained weights" if source is None else f"no trained head for {_named_outputs(data)}"
        raise UserError(
            f"training is false, but the recipe's model has {lacks}; leave training out, or name a trained model: "
            "keras_nlp or hugging_face in the recipe, or --model on the command line"
        )
    if source is None and not outputs:
        raise UserError(
            f"the recipe's model has no trained weights, and the labels of the task {data.task.name} cannot train it; "
            "name a trained model: keras_nlp or hugging_face in the recipe, or --model on the command line"
        )
    if source is not None and source.labels and data.task.has_classes:
        if len(source.labels) > len(data.classes):
            data = _with_all_classes(recipe, source.labels, data)
        else:
            _order_head(source, data)
    elif recipe.model.hugging_face is not None and outputs:
        console.print(f"{recipe.model.hugging_face}: a new head is trained for {_named_outputs(data)}", soft_wrap=True)
    if source is not None:
        cut = _with_tokenizer_of(source, data, recipe.model.sequence_length)
        if recipe.model.hugging_face is not None and isinstance(cut.decode, Tokenizer):
            _tell_differences(cut, cut.decode)
        return source.model, cut
    model = recipe.model
    assert model.preset is not None
    changes: dict[str, Any] = {k: v for k in ("depth", "pooling") if (v := getattr(model, k)) is not None}
    if not _has_texts(data):
        return presets.build(model.preset, outputs, model.dropout, **changes), data
    size = model.vocabulary or presets.TEXT_PRESETS[model.preset].vocabulary
    tokenizer = Tokenizer.trained(text.texts(data, "train"), size, model.sequence_length)
    changes |= {"vocabulary": len(tokenizer.vocabulary), "sequence_length": model.sequence_length}
    if len(data.task.shapes(len(data.classes))[0]) > 1:
        changes["pooling"] = "tokens"
    return presets.build(model.preset, outputs, model.dropout, **changes), text.tokenized(data, tokenizer)


def _with_tokenizer_of(source: Pretrained, data: Dataset, length: int) -> Dataset:
    """Returns raw texts cut by the tokenizer of a checkpoint; other data are unchanged.

    Raises:
        UserError: the checkpoint has no vocabulary, or a text has a token that was added to it and would be cut.
    """
    if not _has_texts(data):
        return data
    if source.text is not None and source.text.described:
        console.print(
            f"data set {data.name} is tokenized as tokenizer.json of the checkpoint says; phones cut texts as BERT "
            "does, so files come without a vocabulary",
            soft_wrap=True,
        )
        return text.tokenized(data, FastTokenizer.of_checkpoint(source.text.described, length, source.text.padding))
    if not source.vocabulary:
        raise UserError(
            f"data set {data.name} has texts, but the checkpoint has no vocabulary; choose a text model with vocab.txt "
            "or tokenizer.json"
        )
    tokenizer = Tokenizer(source.vocabulary, source.lowercase, length, source.strip_accents)
    split = [token for token in source.added if tokenizer.used([token]).tolist() != [source.vocabulary.index(token)]]
    for token, part in product(split, SPLITS):
        if any(token in one for one in text.texts(data, part)):
            raise UserError(
                f"data set {data.name} has texts with {token!r}, which was added to the checkpoint's tokens and is not "
                "found as one; replace it in the texts by a word, or choose a checkpoint without it"
            )
    return text.tokenized(data, tokenizer)


def _tell_differences(data: Dataset, tokenizer: Tokenizer) -> None:
    """Says how many texts transformers would cut otherwise, by the characters that are known to differ."""
    differing = _CUT_OTHERWISE + (_FOLDED_OTHERWISE if tokenizer.lowercase else "")
    pattern = re.compile(f"[{differing}]")
    found = [{*pattern.findall(one)} for split in SPLITS for one in text.texts(data, split)]
    if count := sum(map(bool, found)):
        characters = ", ".join(f"U+{ord(one):04X}" for one in sorted(set().union(*found))[:_TOLD])
        console.print(
            f"{count} of {len(found)} texts have characters ({characters}) that transformers would cut otherwise; the "
            "checkpoint's own accuracy on them may be higher",
            soft_wrap=True,
        )


def with_tokenizer(data: Dataset, folder: Path) -> Dataset:
    """Returns the data as the model of a stage takes them, with the tokenizer or the lookup in its `folder`."""
    if (folder / lookup.FILE).is_file():
        return data.prepared(decode=Lookup.load(folder, data.decode))
    return text.tokenized(data, text.load_tokenizer(folder)) if _has_texts(data) else data


def take_model(model: object, data: Dataset) -> tuple[tf_keras.Model, Dataset]:
    """Returns a user's model in the form that techniques can treat, and the data as it takes them.

    `keras_nlp.convert` copies a BERT, DistilBERT, ViT or DeiT of keras-nlp, whose own tokenizer then cuts raw texts.
    Every other model of tf_keras or Keras 3 is rewritten by `as_functional`. What looks words up at its beginning moves
    to the data.

    Raises:
        UserError: the model cannot be rewritten or copied; or a split is empty or endless or does not hold pairs.
    """
    _ = data.labels  # Checks the splits; the rest of the code relies on finite sets of pairs.
    of_keras_nlp = _of_keras_nlp(model, data)
    if of_keras_nlp is not None:
        return of_keras_nlp
    features = data.examples("test").element_spec[0]
    functional, tables = as_functional_with_tables(model, features)
    if tables:
        return functional, data.prepared(decode=Lookup(tables, data.decode))
    sample, _ = next(data.batches(data.inspected, _COMPARED).as_numpy_iterator())
    arrays = sample if isinstance(sample, Mapping) else {functional.input_names[0]: sample}
    shapes = {name: np.shape(x)[1:] for name, x in arrays.items()}
    fits = all(shapes.get(x.node.layer.name) == tuple(x.shape[1:]) for x in functional.inputs)
    if fits and all(np.max(arrays[name]) < layer.input_dim for name, layer in input_tables(functional)):
        check_same_outputs(model, functional, {name: arrays[name] for name in functional.input_names})
    return functional, data  # What does not fit is named by `check_fit`.


def _of_keras_nlp(model: Any, data: Dataset) -> tuple[tf_keras.Model, Dataset] | None:
    """Returns the copy of a keras-nlp model of a family that we know, and the data as it takes them; else None."""
    if not any(base.__module__.startswith("keras_hub.") for base in type(model).__mro__):
        return None
    length = getattr(getattr(model, "preprocessor", None), "sequence_length", None) or _TOKENS
    try:
        source = keras_nlp.convert(model, len(data.classes), length)
    except UserError:
        return None  # of another family, or changed by its user
    return source.model, _with_tokenizer_of(source, data, length)


def given_outputs(model: tf_keras.Model, data: Dataset, told: str | None) -> Outputs:
    """Returns what a model that fits the data gives; see `tfcompress.models.outputs.outputs_of`."""
    features, _ = next(data.batches(data.inspected, _INSPECTED).as_numpy_iterator())
    return outputs_of(model, features, told, data.task.end)


def classes_of_labels(model: tf_keras.Model, data: Dataset) -> int | None:
    """Returns the number of classes if a label is one of them, and the model has an output for each; else None."""
    classes = len(data.classes)
    return classes if _has_one_class_each(data) and model.outputs[0].shape[-1] == classes else None


def _has_one_class_each(data: Dataset) -> bool:
    spec = data.task.spec(len(data.classes))
    return spec is not None and spec.dtype.is_integer and spec.shape.rank == 0


def check_fit(model: tf_keras.Model, data: Dataset) -> None:
    """Checks that a model takes the examples of a data set, including every token id, and answers its task.

    Raises:
        UserError: they do not fit; the message says what the data set yields and what the model takes.
    """
    expected = {x.node.layer.name: tuple(x.shape[1:]) for x in model.inputs}
    features = data.examples("test").element_spec[0]
    found = features if isinstance(features, dict) else {next(iter(expected)): features}
    if not all(isinstance(spec, tf.TensorSpec) for spec in found.values()):
        raise UserError(f"data set {data.name} yields features {features}; they must be a tensor or a dict of tensors")
    shapes = {name: tuple(spec.shape) for name, spec in found.items()}
    if {
        name: shapes.get(name) for name in expected
    } != expected:  # The data may have more: DistilBERT takes no segment_ids.
        raise UserError(f"data set {data.name} yields features of shape {shapes}, but the model takes {expected}")
    _check_answers(model, data)
    for name, layer in input_tables(model):
        if isinstance(data.decode, text.AnyTokenizer):
            segments = int(is_pair(data.test.element_spec[0]))
            largest = data.decode.size - 1 if name == "token_ids" else segments
        else:
            largest = max(_largest(data, split, name) for split in ("train", "validation", "test"))
        if largest >= layer.input_dim:
            raise UserError(
                f"data set {data.name} has ids up to {largest} in {name}, but the table {layer.name} has rows for 0 to "
                f"{layer.input_dim - 1}; use the vocabulary that the model was trained with"
            )


def _check_answers(model: tf_keras.Model, data: Dataset) -> None:
    """Raises a `UserError` if a model's output has another shape than the task's answers."""
    task, classes, found = data.task, len(data.classes), tuple(model.outputs[0].shape)
    accepted = task.shapes(classes)
    if len(model.outputs) > 1 and accepted:
        names = ", ".join(output_names(model, model.output, len(model.outputs)))
        raise UserError(
            f"the model has the outputs {names}, but {task.name} judges one; give a model with one output, or in "
            "Python data with a task of your own, tfcompress.data.tasks.OwnTask"
        )
    if not task.judges(found[1:], classes):
        what = f"{classes} classes" if task.has_classes else f"the task {task.name}"
        shapes = " or ".join("(batch, {})".format(", ".join(map(_side, one))) for one in accepted)
        raise UserError(
            f"the model's output is {found}, but data set {data.name} has {what}; the output must be {shapes}"
        )
    tokens = data.labels["test"].shape[1:]
    if len(found) == 3 and len(tokens) == 1 and found[1] != tokens[0]:
        raise UserError(
            f"the model's output is {found}, but data set {data.name} has {tokens[0]} labels per example; the data "
            "must have one for each token of the model"
        )


def _side(length: int | None) -> str:
    return "any" if length is None else str(length)


def fingerprint(model: tf_keras.Model) -> str:
    """Returns the sha256 of a model's architecture and weights."""
    digest = hashlib.sha256(model.to_json().encode())
    for array in model.get_weights():
        digest.update(array.tobytes())
    return digest.hexdigest()


def _largest(data: Dataset, split: Split, name: str) -> int:
    batches = (features for features, _ in data.batches(split, 1024).as_numpy_iterator())
    return max((int((x[name] if isinstance(x, dict) else x).max()) for x in batches), default=0)


def _has_texts(data: Dataset) -> bool:
    """Returns whether examples are raw texts. Names of picture files are strings too, but come with a `decode`."""
    features = data.test.element_spec[0]
    return data.decode is None and getattr(features, "dtype", None) == tf.string


def _pretrained(recipe: Recipe, data: Dataset) -> Pretrained | None:
    """Returns the model with the weights of a checkpoint, or None if the recipe names none."""
    model, classes, task = recipe.model, _new_outputs(data), cast(TaskName, data.task.name)
    if model.keras_nlp is not None:
        if data.task.shapes(len(data.classes))[0] != (classes,):
            raise UserError(
                f"model.keras_nlp gives one answer per example, and no embedding, but the task is {task}; name a "
                "checkpoint with hugging_face"
            )
        return keras_nlp.load(model.keras_nlp, classes, model.sequence_length, model.dropout)
    if model.hugging_face is not None:
        if recipe.training is False and _has_one_class_each(data) and not model.new_head:
            whole = hugging_face.load_whole(model.hugging_face, model.sequence_length)
            if len(whole.labels) > len(data.classes):
                return whole
        return hugging_face.load(
            model.hugging_face, classes, model.sequence_length, model.dropout, model.pooling, model.new_head, task
        )
    if model.preset == "minilm_l6":
        return hugging_face.minilm_l6(classes, model.sequence_length, model.dropout, model.pooling, task)
    return None


def _new_outputs(data: Dataset) -> int:
    """Returns how many outputs a new head has; 0 if the task needs none, as an embedding does."""
    return data.task.shapes(len(data.classes))[0][-1] or 0


def _named_outputs(data: Dataset) -> str:
    return f"{len(data.classes)} classes" if data.task.has_classes else f"the task {data.task.name}"


def _with_all_classes(recipe: Recipe, labels: tuple[str, ...], data: Dataset) -> Dataset:
    """Returns data with some of a checkpoint's classes as data with all of them.

    Raises:
        UserError: a class is not one of the checkpoint's; or something is to be trained, which would unlearn others.
    """
    if any(step.technique.fit is not None for step in recipe.techniques):
        raise UserError(
            f"data set {data.name} has {len(data.classes)} of the checkpoint's {len(labels)} classes, and training "
            "would unlearn the others; train nothing, or set model.new_head"
        )
    remedy = "name the classes of the data as the checkpoint does, or map their names in data.classes"
    order = tf.constant(places_of_some(labels, data.classes, "the checkpoint", f"data set {data.name}", remedy))
    splits = {split: getattr(data, split).map(lambda x, y: (x, tf.gather(order, y))) for split in SPLITS}
    return replace(data, classes=labels, **splits)


def _order_head(source: Pretrained, data: Dataset) -> None:
    """Puts the scores of a checkpoint's head in the order of the data's classes."""
    remedy = "name the classes of the data as the checkpoint does, or set model.new_head to train a new head"
    if are_placeholders(source.labels):
        console.print(
            f"the checkpoint does not name its classes; its scores are taken for {', '.join(data.classes)}",
            soft_wrap=True,
        )
    order = list(places(source.labels, data.classes, "the checkpoint", f"data set {data.name}", remedy))
    head = source.model.get_layer("head")
    kernel, bias = head.get_weights()
    head.set_weights([kernel[:, order], bias[order]])
