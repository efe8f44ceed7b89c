"""Feeds examples to `.tflite` files, to each file in the form that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfcompress.commands.scores import evaluated_classes, score_orders
from tfcompress.data import registry
from tfcompress.data.dataset import Dataset, Decode, Split
from tfcompress.data.text import AnyTokenizer, load_tokenizer
from tfcompress.data.tokenizer import Tokenizer, is_sentence
from tfcompress.errors import UserError
from tfcompress.measure.comparison import Examples
from tfcompress.measure.interpreter import Example, Port, Runner
from tfcompress.measure.quality import Labels, Metric
from tfcompress.models.lookup import Lookup
from tfcompress.names import is_mask
from tfcompress.tflite.metadata import Description, ImageInput, LookupInput, TextInput, read_description

_BATCH = 1024
"""Texts that are tokenized at once."""


class Fed(NamedTuple):
    """Examples of a data set for several files.

    Attributes:
        feeds: the examples by file.
        labels: of the examples, `(count, …)`; None if the task cannot judge what a file gives.
        orders: for each file whose labels have another order than the classes, the index of the score of each class.
        metrics: the figures of the task; none without labels.
        not_judged: why there are no labels; empty with them, and for training examples.
    """

    feeds: dict[Path, Examples]
    labels: Labels | None
    orders: dict[Path, tuple[int, ...]]
    metrics: tuple[Metric, ...]
    not_judged: str = ""


def examples_for(
    files: Sequence[Path],
    name: str,
    path: Path | None = None,
    count: int | None = None,
    split: Split = "test",
    task: str | None = None,
) -> Fed:
    """Returns examples of a split for each file, and their labels.

    Texts are tokenized by the tokenizer in the file's metadata, or else by the one that a run saved with the file's
    stage. Images are resized to the size that the file takes and normalised as its metadata says, by default to [0, 1];
    a file that takes bytes gets bytes.

    The classes of a data set may be some of a file's; labels are then places among the file's.

    Args:
        files: paths of `.tflite` files.
        name: of the data set, or a YAML file that describes it; see `registry.named`.
        path: of the data set's file or folder, if it needs one.
        count: how many examples, by default all: the first of the split, or random ones of `train`, seeded. One more
            if it would part a pair.
        split: of the data set; where it has no validation split, because all of it is test, this takes its place.
        task: of the data set, if it is told separately; see `registry.named`.

    Raises:
        UserError: the data set cannot be loaded; or a file takes something else, comes without a tokenizer, or names
            other classes in its metadata than those of the test or validation split.
    """
    wanted = registry.named(name, path, task)
    if not files or (count is not None and count < 1):
        raise UserError(f"{len(files)} files and {count} examples were given; at least one of each is needed")
    feeds: dict[Path, Examples] = {}
    orders: dict[Path, tuple[int, ...]] = {}
    loaded: dict[int, tuple[Dataset, tf.data.Dataset]] = {}
    labels: Labels | None = None
    not_judged = ""
    for file in dict.fromkeys(files):
        runner = Runner(file)
        size = 0 if wanted.has_texts else image_size(file, runner)
        if size not in loaded:
            data = registry.load(wanted, size)
            if split == "train":
                registry.check_splits(data)
            if split == "validation" and not int(data.validation.cardinality()):
                split = "test"
            loaded[size] = data, _drawn(data, split, count)
        data, drawn = loaded[size]
        classes, chosen = data.classes, tuple(range(len(data.classes)))
        if split != "train" and data.task.has_classes:
            classes, chosen = evaluated_classes(files, data.classes, name)
            orders |= score_orders([file], classes, name)
        if wanted.has_texts:
            feeds[file], labels = labelled_tokens(file, runner, drawn)
        else:
            feeds[file] = images(file, runner, decoded(drawn, data.decode))
        if split != "train" and not data.task.judges(runner.scores.shape[1:], len(classes)):
            has = f"has {len(classes)} classes" if classes else f"is for {data.task.name}"
            not_judged = f"{file} gives {runner.scores}, but {name} {has}"
    if split == "train" or not_judged:
        return Fed(feeds, None, orders, (), not_judged)
    if labels is None:
        labels = np.array(list(drawn.map(lambda _, label: label).as_numpy_iterator()))
    data.task.check(labels, data.classes, f"{name}: the {split} split")
    if data.task.has_classes and labels.ndim == 1:
        labels = np.array(chosen)[labels]
    return Fed(feeds, labels, orders, data.task.metrics(labels))


def decoded(examples: tf.data.Dataset, decode: Decode | None) -> tf.data.Dataset:
    """Returns the features of labelled examples as a data set's `decode` makes them."""
    if decode is None:
        return examples.map(lambda features, _: features)
    return examples.map(lambda features, _: decode(features), num_parallel_calls=2)


def _drawn(data: Dataset, split: Split, count: int | None) -> tf.data.Dataset:
    """Returns the first examples of a split, not yet decoded; of `train`, which may be sorted by class, random ones."""
    examples: tf.data.Dataset = getattr(data, split)
    if split == "train":
        buffer = min(data.size("train"), data.shuffle_buffer)
        examples = examples.shuffle(buffer, 0, reshuffle_each_iteration=False)
    return examples if count is None else examples.take(-(-count // data.task.together) * data.task.together)


def tokens(file: Path, runner: Runner, texts: tf.data.Dataset) -> Examples:
    """Returns token ids, segment ids and mask of texts, by the names that the file's inputs have.

    Args:
        file: path of the `.tflite` file.
        runner: of the same file.
        texts: strings: scalars or pairs `(2,)`.

    Raises:
        UserError: the file takes something else, or comes without a tokenizer.
    """
    return labelled_tokens(file, runner, texts.map(lambda text: (text, 0)))[0]


def labelled_tokens(file: Path, runner: Runner, labelled: tf.data.Dataset) -> tuple[Examples, Labels]:
    """Returns `tokens` of texts, or of the words of sentences `(words,)`, whose labels become those of the tokens.

    Args:
        file: path of the `.tflite` file.
        runner: of the same file.
        labelled: texts and labels.

    Raises:
        UserError: the file takes something else, or comes without a tokenizer.
    """
    description = _description(file)
    if description is not None and isinstance(description.input, LookupInput):
        lookup, input_name = Lookup.of(description.input.described), next(iter(runner.inputs))
        batches = labelled.map(lambda text, label: ({input_name: lookup(text)}, label)).batch(_BATCH)
        named = {input_name: input_name}
    else:
        tokenizer, named = tokenizer_of(file, runner), {name: _feature(name) for name in runner.inputs}
        if is_sentence(labelled.element_spec[0]):
            batches = labelled.map(lambda words, tags: (tokenizer(words), tokenizer.align(words, tags))).batch(_BATCH)
        else:
            batches = labelled.batch(_BATCH).map(lambda texts, labels: (tokenizer.rows(texts), labels))
    rows: list[Example] = []
    labels: list[Labels] = []
    for features, some in batches.prefetch(1).as_numpy_iterator():
        rows += [{name: features[key][place] for name, key in named.items()} for place in range(len(some))]
        labels.append(some)
    return rows, np.concatenate(labels) if labels else np.zeros(0, np.int64)


def _feature(name: str) -> str:
    """Returns what an input of a BERT takes, by a word that occurs in all of its common names."""
    if is_mask(name):
        return "padding_mask"
    return "segment_ids" if "segment" in name or "type" in name else "token_ids"  # token_type_ids, input_type_ids


def tokenizer_of(file: Path, runner: Runner) -> AnyTokenizer:
    """Returns the tokenizer that makes as many tokens as a file takes.

    Raises:
        UserError: the file takes something else, or comes without a tokenizer.
    """
    for name, port in runner.inputs.items():
        if port.real or len(port.shape) != 2:
            raise UserError(f"{file} takes {port} as {name}; texts can only be fed as token ids, int32 (1, length)")
    length = next(iter(runner.inputs.values())).shape[-1]
    description = _description(file)
    if description is not None and isinstance(description.input, TextInput):
        takes = description.input
        return Tokenizer(takes.vocabulary, takes.lowercase is not False, length, takes.strip_accents)
    of_stage = file.parent.parent / "stages" / file.stem.rpartition("-")[0]  # of tflite/NN-name-format.tflite
    last = sorted(file.parent.glob("stages/*"))[-1:]  # of model.tflite
    for folder in (file.parent, of_stage, *last):
        if (folder / "tokenizer.json").is_file():
            return load_tokenizer(folder, length)
    raise UserError(
        f"{file} comes without a tokenizer; texts need a vocabulary in its metadata, or in the same folder the "
        "tokenizer.json of its checkpoint, or vocab.txt and tokenizer.json of a run"
    )


def keep_tokenizer(model: Path, file: Path) -> None:
    """Copies the tokenizer beside a model's file to the `.tflite` file that was made of it.

    A file that says itself how its input is made needs none, and neither does a stage of a run, whose file says so.
    """
    description, beside = _description(file), model if model.is_dir() else model.parent
    own = description is not None and description.input is not None
    if not own and (beside / "tokenizer.json").is_file() and not (beside / "stage.json").is_file():
        length = next(iter(Runner(file).inputs.values())).shape[-1]
        load_tokenizer(beside, length).save(file.parent)


def _description(file: Path) -> Description | None:
    try:
        return read_description(file.read_bytes())
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def image_size(file: Path, runner: Runner) -> int:
    """Returns the longer side of the images that a file takes; raises a `UserError` if it takes something else."""
    port = _image_port(file, runner)
    return max(port.shape[1:3])


def _image_port(file: Path, runner: Runner) -> Port:
    port = next(iter(runner.inputs.values()))
    if len(runner.inputs) > 1 or len(port.shape) not in (3, 4) or port.shape[3:] not in ((), (1,), (3,)):
        takes = ", ".join(map(str, runner.inputs.values()))
        raise UserError(
            f"{file} takes {takes}; images can only be fed as (1, height, width, channels) with 1 or 3 channels"
        )
    return port


def images(file: Path, runner: Runner, pictures: tf.data.Dataset) -> Examples:
    """Returns pictures in the size, type and range that the file takes.

    Args:
        file: path of the `.tflite` file.
        runner: of the same file.
        pictures: float32 `(height, width, channels)` each, in [0, 1].

    Raises:
        UserError: the file does not take a picture.
    """
    port = _image_port(file, runner)
    description = _description(file)
    found = description.input if description is not None else None
    normal = found if isinstance(found, ImageInput) else ImageInput()
    mean, std = normal.mean or (0.0,), normal.std or (1.0,)

    def fitted(image: tf.Tensor) -> tf.Tensor:
        if tuple(image.shape[:2]) != port.shape[1:3]:
            image = tf.clip_by_value(tf.image.resize(image, port.shape[1:3], antialias=True), 0.0, 1.0)
        if port.shape[3:] != (3,) and image.shape[-1] != 1:
            image = tf.image.rgb_to_grayscale(image)
        if port.dtype in (np.uint8, np.int8):
            image = tf.round(image * 255.0) + (0.0 if port.dtype == np.uint8 else -128.0)
            image = tf.cast(image, port.dtype.name)
        elif normal != ImageInput():
            image = (image * 255.0 - mean) / std
        return tf.reshape(image, port.shape[1:])

    feed: Examples = pictures.map(fitted)
    return feed
