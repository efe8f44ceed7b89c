"""The user's own texts: single ones, pairs, or words, from tables and CoNLL files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.data import conll, tasks
from tfcompress.data.classes import renamed
from tfcompress.data.dataset import SPLITS, Dataset, Split
from tfcompress.data.splits import Fractions, completed, split_named
from tfcompress.data.tables import Column, Columns, Row, read_table
from tfcompress.data.text import distinct
from tfcompress.errors import UserError
from tfcompress.labels import listed

Strings = npt.NDArray[Any]

_TABLES = (".csv", ".tsv")


_Label = str | float | tuple[float, ...]
"""A class, a score, or 0 or 1 for each class."""


class _Example(NamedTuple):
    """A text, or the two of a pair, and what the file says about it."""

    texts: tuple[str, ...]
    label: _Label


def text_file(
    path: Path,
    task: str = tasks.Classification.name,
    columns: Columns = Columns(),  # noqa: B008 - immutable
    fractions: Fractions | None = None,
    synonyms: Mapping[str, str] = MappingProxyType({}),
) -> Dataset:
    """Returns the user's own texts from one file, or from a folder with one file per split.

    Tables are .csv and .tsv files, by default with a header that has `text` and `label`; see `read_table`. For tokens,
    files are as `read_sentences` takes them. A folder's files are called `train`, `validation`, `val`, `valid` or
    `dev`, and `test`; see `completed` for those that are missing. A single file is split into 70 % training, 15 %
    validation and 15 % test examples, by class where an example has one. Where a file is split, texts that differ only
    in case and punctuation count as one, so that no text occurs in two splits.

    Args:
        path: of the file or folder.
        task: what the labels are; see `tfcompress.answers.TaskName`.
        columns: which column is which.
        fractions: the shares that are held out of training.
        synonyms: the model's names of the classes, where they differ; see `renamed`.

    Returns:
        Raw examples: a text is a scalar string, a pair `(2,)` strings, the words of a sentence a ragged tensor, and
        their labels another. Of scored pairs for an embedding, both texts are examples, one after the other.

    Raises:
        UserError: names the file, and the line if there is one, that cannot be used.
    """
    if task == tasks.TokenClassification.name:
        return _tokens(path, columns, fractions, synonyms)
    files = _files(path, _TABLES)
    wanted = _wanted(task, columns)
    parts = {split: _examples(file, task, columns, wanted) for split, file in files.items()}
    if len(parts) < len(SPLITS) and "train" in parts:
        parts["train"] = distinct(parts["train"], lambda one: "\n".join(one.texts))
    by_class = task == tasks.Classification.name

    def group(example: _Example) -> str:
        return f"{files['train']}: class {example.label!r}" if by_class else str(files["train"])

    name = path.name if path.is_dir() else path.stem
    try:
        splits = completed(parts, group, fractions, str(path), "different texts")
        if by_class:
            labelled = {split: [(_raw(one), str(one.label)) for one in part] for split, part in splits.items()}
            return classified(name, labelled, synonyms)
    except UserError as error:
        if any(re.fullmatch(r"-?\d+\.\d*[1-9]\d*", str(one.label)) for part in parts.values() for one in part):
            raise UserError(f"{error}; if labels are scores, set data.task to regression or embedding") from error
        raise
    classes = tuple(synonyms.get(str(column), str(column)) for column in columns.labels)
    arrays = {split: _arrays(task, part, 2 if columns.text_pair else 1, len(classes)) for split, part in splits.items()}
    return Dataset.from_arrays(name, classes, **arrays, task=tasks.named(task, classes))


def classified(
    name: str,
    splits: Mapping[Split, Sequence[tuple[str | tuple[str, ...], str]]],
    synonyms: Mapping[str, str] = MappingProxyType({}),
) -> Dataset:
    """Makes a data set of texts or pairs with the names of their classes, which are those in `train`, sorted.

    Without training examples, they are those in the other splits.

    Raises:
        UserError: there are fewer than two classes, or another split has classes that `train` lacks.
    """
    found = {split: sorted({label for _, label in part}) for split, part in splits.items()}
    names = found["train"] or sorted({label for labels in found.values() for label in labels})
    if len(names) < 2:
        raise UserError(f"{name}: the labels of the train split are {names}; at least two classes are needed")
    for split in SPLITS[1:]:
        if unknown := sorted(set(found[split]) - set(names)):
            raise UserError(
                f"{name}: the {split} split has the label {unknown[0]!r}, which does not occur in train; the labels "
                f"there are {listed(names)}"
            )
    classes, places = renamed(names, synonyms, name)
    arrays = {
        split: (_strings([text for text, _ in part]), np.array([places[label] for _, label in part], np.int32))
        for split, part in splits.items()
    }
    return Dataset.from_arrays(name, classes, **arrays)


def _files(path: Path, suffixes: Sequence[str]) -> dict[Split, Path]:
    """Returns the file of each split; a single file is that of `train`, which is then divided."""
    if not path.is_dir():
        return {"train": path}
    files: dict[Split, Path] = {}
    for file in sorted(path.iterdir()):
        split = split_named(file.stem)
        if split is None or file.suffix.lower() not in suffixes:
            continue
        if split in files:
            raise UserError(f"{path} has {files[split].name} and {file.name} for {split}; keep one of them")
        files[split] = file
    if not files:
        raise UserError(
            f"{path} has no file for a split; call them train, dev and test, and let them end in one of "
            f"{', '.join(suffixes)}"
        )
    return files


def label_columns(task: str, columns: Columns) -> tuple[Column, ...]:
    """Returns the columns of the labels.

    Raises:
        UserError: the task takes others, or scored pairs, of which there is only one text.
    """
    if task == tasks.Embedding.name and columns.text_pair is None:
        raise UserError(
            "an embedding is judged by scored pairs; name the column of the second text: data.columns.text_pair"
        )
    if (task == tasks.Multilabel.name) != bool(columns.labels):
        raise UserError(
            f"data.task is {task} and data.columns.labels {list(columns.labels)}; multilabel takes in labels one "
            "column of 0 and 1 for each class, any other task none"
        )
    return columns.labels or (columns.label or "label",)


def _wanted(task: str, columns: Columns) -> list[Column]:
    """Returns the columns of the texts, then those of the labels."""
    if columns.image is not None:
        raise UserError("data.columns.image is for tfrecords; a text_file has texts: leave it out")
    pair = () if columns.text_pair is None else (columns.text_pair,)
    return [columns.text or "text", *pair, *label_columns(task, columns)]


def _examples(path: Path, task: str, columns: Columns, wanted: Sequence[Column]) -> list[_Example]:
    texts = 2 if columns.text_pair else 1
    readers: dict[str, Callable[[Path, Row], _Label]] = {
        tasks.Classification.name: _class,
        tasks.Multilabel.name: _several,
    }
    read = readers.get(task, _score)
    return [
        _Example(row.fields[:texts], read(path, Row(row.line, row.fields[texts:]))) for row in read_table(path, wanted)
    ]


def _class(path: Path, row: Row) -> str:
    if not row.fields[0].strip():
        raise UserError(f"{path}, line {row.line}: the label is empty; every row needs one")
    return row.fields[0].strip()


def _score(path: Path, row: Row) -> float:
    try:
        score = float(row.fields[0])
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise UserError(
            f"{path}, line {row.line}: the label {row.fields[0]!r} is not a finite number; correct it, or set "
            "data.task to classification if labels are names"
        )
    return score


def _several(path: Path, row: Row) -> tuple[float, ...]:
    known = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
    for field in row.fields:
        if field.strip() not in known:
            raise UserError(f"{path}, line {row.line}: {field!r} in a column of labels; each takes 0 or 1")
    return tuple(known[field.strip()] for field in row.fields)


def _arrays(task: str, part: Sequence[_Example], texts: int, classes: int) -> tuple[Strings, npt.NDArray[np.float32]]:
    labels = np.array([one.label for one in part], np.float32).reshape([len(part), *([classes] if classes else [])])
    if task == tasks.Embedding.name:  # pair after pair
        return _strings([text for one in part for text in one.texts]), np.repeat(labels, texts)
    return _strings([_raw(one) for one in part]), labels


def _raw(example: _Example) -> str | tuple[str, ...]:
    return example.texts if len(example.texts) > 1 else example.texts[0]


def _strings(texts: Sequence[str | tuple[str, ...]]) -> Strings:
    return np.array(texts, object) if texts else np.zeros(0, np.bytes_)


def _tokens(path: Path, columns: Columns, fractions: Fractions | None, synonyms: Mapping[str, str]) -> Dataset:
    for key in ("text_pair", "labels", "image"):
        if getattr(columns, key):
            raise UserError(f"data.columns.{key} is given, but words with tags have text and label alone; leave it out")
    files = _files(path, conll.SUFFIXES)
    parts = {split: conll.read_sentences(file, columns) for split, file in files.items()}
    splits = completed(parts, lambda _: str(files["train"]), fractions, str(path), "sentences")
    found = {split: sorted({tag for one in part for tag in one.tags}) for split, part in splits.items()}
    names = found["train"] or sorted({tag for tags in found.values() for tag in tags})
    if len(names) < 2:
        raise UserError(
            f"{path}: the only tag is {names[0]!r}; at least two are needed; say in data.columns.label which column "
            "has the tags, if it is not the last"
        )
    for split in SPLITS[1:]:
        if unknown := set(found[split]) - set(names):
            raise UserError(
                f"{path}: the {split} split has the tag {min(unknown)!r}, which does not occur in train; the tags "
                f"there are {listed(names)}"
            )
    classes, places = renamed(names, synonyms, str(path))
    sets = [
        tf.data.Dataset.from_tensor_slices(
            (
                _ragged([one.words for one in splits[split]], tf.string),
                _ragged([[places[tag] for tag in one.tags] for one in splits[split]], tf.int32),
            )
        )
        for split in SPLITS
    ]
    name = path.name if path.is_dir() else path.stem
    return Dataset(name, sets[0], sets[1], sets[2], classes, tasks.TokenClassification(classes))


def _ragged(rows: Sequence[Sequence[str] | Sequence[int]], dtype: tf.DType) -> tf.RaggedTensor:
    flat = tf.constant([one for row in rows for one in row], dtype)
    return tf.RaggedTensor.from_row_lengths(flat, [len(row) for row in rows])
