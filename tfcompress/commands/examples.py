"""A data set's examples as `.tflite` files take it, each in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.data import registry, text
from tfcompress.data.dataset import Dataset, Split
from tfcompress.data.tokenizer import Tokenizer
from tfcompress.errors import UserError
from tfcompress.measure.comparison import Examples
from tfcompress.measure.interpreter import Port, Runner
from tfcompress.progress import console
from tfcompress.tflite.metadata import Description, ImageInput, TextInput, read_description

Labels = npt.NDArray[np.int64]


def examples_for(
    files: Sequence[Path], name: str, path: Path | None = None, count: int | None = None, split: Split = "test"
) -> tuple[dict[Path, Examples], Labels | None]:
    """Returns the first `count` examples of a split for each file, and their labels; of `train` some drawn at random.

    Texts are cut by the tokenizer in the file's metadata, or else by the one that a run saved with the file's stage.
    Images are resized to what the file takes and normalised as its metadata says, by default to [0, 1]; a file that
    takes bytes gets bytes. There are no labels if a file gives another number of scores than there are classes.

    Raises:
        UserError: the data set cannot be loaded; or a file takes something else, or comes without a tokenizer.
    """
    registry.check_name(name)
    if not files or (count is not None and count < 1):
        raise UserError(f"{len(files)} files, {count} examples; at least one of each is needed")
    feeds: dict[Path, Examples] = {}
    loaded: dict[int, Dataset] = {}
    fits = True
    for file in dict.fromkeys(files):
        runner = Runner(file)
        size = 0 if name in registry.TEXT else _image_size(file, runner)
        if size not in loaded:
            data = registry.load(name, path, size)
            loaded[size] = _with_test(data, split, count)
        data = loaded[size]
        feeds[file] = tokens(file, runner, data) if name in registry.TEXT else images(file, runner, data)
        if split == "test" and runner.scores.shape[-1] != len(data.classes):
            fits = False
            console.print(f"{file} gives {runner.scores}, but {name} has {len(data.classes)} classes: no accuracy")
    return feeds, data.labels["test"] if fits else None


def _with_test(data: Dataset, split: Split, count: int | None) -> Dataset:
    """Returns the data set with examples of a split as its test split."""
    chosen: tf.data.Dataset = getattr(data, split)
    if split == "train":  # may be sorted by class
        chosen = chosen.shuffle(min(data.size("train"), data.shuffle_buffer), 0, reshuffle_each_iteration=False)
    return replace(data, test=chosen if count is None else chosen.take(count))


def tokens(file: Path, runner: Runner, data: Dataset) -> Examples:
    """Returns the test split's token ids, segment ids and mask by the names that the file has for them."""
    for name, port in runner.inputs.items():
        if port.real or len(port.shape) != 2:
            raise UserError(f"{file} takes {port} as {name}; texts can only be fed as token ids, int32 (1, length)")
    length = next(iter(runner.inputs.values())).shape[-1]
    encoded = _tokenizer(file, length).encode(text.texts(data, "test"))
    columns = {name: encoded[_feature(name)] for name in runner.inputs}
    return [{name: rows[i] for name, rows in columns.items()} for i in range(data.size("test"))]


def _feature(name: str) -> str:
    """Returns what an input of a BERT is, by the word that all names for it have in common."""
    if "mask" in name:  # padding_mask, attention_mask, input_mask
        return "padding_mask"
    return "segment_ids" if "segment" in name or "type" in name else "token_ids"  # token_type_ids, input_type_ids


def _tokenizer(file: Path, length: int) -> Tokenizer:
    description = _description(file)
    if description is not None and isinstance(description.input, TextInput):
        return Tokenizer(description.input.vocabulary, description.input.lowercase is not False, length)
    of_stage = file.parent.parent / "stages" / file.stem.rpartition("-")[0]  # of tflite/NN-name-format.tflite
    last = sorted(file.parent.glob("stages/*"))[-1:]  # of model.tflite
    for folder in (file.parent, of_stage, *last):
        if (folder / "tokenizer.json").is_file():
            return replace(Tokenizer.load(folder), sequence_length=length)
    raise UserError(
        f"{file} comes without a tokenizer; texts need a vocabulary in its metadata, or vocab.txt and tokenizer.json "
        "beside it"
    )


def _description(file: Path) -> Description | None:
    try:
        return read_description(file.read_bytes())
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def _image_size(file: Path, runner: Runner) -> int:
    """Returns the longer side of the images that a file takes."""
    port = _image_port(file, runner)
    return max(port.shape[1:3])


def _image_port(file: Path, runner: Runner) -> Port:
    port = next(iter(runner.inputs.values()))
    if len(runner.inputs) > 1 or len(port.shape) not in (3, 4) or port.shape[3:] not in ((), (1,), (3,)):
        takes = ", ".join(map(str, runner.inputs.values()))
        raise UserError(f"{file} takes {takes}; images can only be fed as (1, height, width, channels), 1 or 3 of them")
    return port


def images(file: Path, runner: Runner, data: Dataset) -> Examples:
    """Returns the test split's images in the size, type and range that the file takes."""
    port = _image_port(file, runner)
    description = _description(file)
    found = description.input if description is not None else None
    normal = found if isinstance(found, ImageInput) else ImageInput()
    mean, std = normal.mean or (0.0,), normal.std or (1.0,)

    def fitted(image: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
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

    feed: Examples = data.examples("test").map(fitted)
    return feed
