"""Streams pictures or texts from TFRecord files of `tf.train.Example`; only their labels are kept in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.data import tasks
from tfcompress.data.classes import renamed
from tfcompress.data.dataset import SPLITS, Dataset, Split
from tfcompress.data.decoding import decode_image, decoded
from tfcompress.data.pictures import fit, random_flip
from tfcompress.data.record_places import places, reader
from tfcompress.data.splits import ALL_TEST, Fractions, planned, split_named
from tfcompress.data.tables import Columns
from tfcompress.data.text_files import label_columns
from tfcompress.errors import UserError, first_line
from tfcompress.files import files_below
from tfcompress.labels import listed

_SHARD = re.compile(r"\.tfrecords?\b|-\d{5}-of-\d{5}", re.IGNORECASE)
"""What the names of TFRecord files have."""

_KINDS = {"bytes_list": tf.string, "int64_list": tf.int64, "float_list": tf.float32}

_GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, are spread evenly, so that any stretch of a stream is divided by the same shares."""

_PICTURES_IN_BUFFER = 2048
"""Gzipped records can be read in their order only, and pictures are large: so many are shuffled at a time."""


def tfrecords(
    path: Path,
    image_size: int | None,
    task: str = tasks.Classification.name,
    columns: Columns = Columns(),  # noqa: B008 - immutable
    fractions: Fractions | None = None,
    synonyms: Mapping[str, str] = MappingProxyType({}),
) -> Dataset:
    """Returns pictures or texts from one TFRecord file or from a folder of them, gzipped or not.

    Names of files or of their folders tell the splits, such as `train-00000-of-00010.tfrecord`; see `planned` for those
    that are missing. Otherwise all records are divided by their places.

    Args:
        path: of the file or folder.
        image_size: side of the model's input in pixels, for pictures.
        task: what the labels are; any but tokens.
        columns: names of the features. Records hold pictures unless `text` is named.
        fractions: the shares that are held out of training.
        synonyms: the model's names of the classes, where they differ; see `renamed`. Numbers are names, too.

    Raises:
        UserError: the files cannot be read, or lack a feature; or their labels are of another kind than the task's.
    """
    files = _files(path)
    names = _features(columns)
    kinds = _kinds(next(iter(files.values()))[0])
    for name in (*names, *_labels(task, columns)):
        if name not in kinds:
            raise UserError(
                f"{path} has no feature {name!r}; its first record has {listed(sorted(kinds))}; name the right ones in "
                "data.columns"
            )
    parse = partial(_parsed, names=names, labels=_labels(task, columns), kinds=kinds)
    parsed = {split: _stream(shards).map(parse) for split, shards in files.items()}
    pictures, every = columns.text is None, [shard for shards in files.values() for shard in shards]
    read: Callable[[tf.Tensor], tf.Tensor] = tf.identity  # makes the picture file of what is shuffled
    if by_place := pictures and not any(map(_is_zipped, every)):
        numbers = {shard: number for number, shard in enumerate(every)}
        parsed = {
            split: _by_place(part, {shard: numbers[shard] for shard in files[split]}, path)
            for split, part in parsed.items()
        }
        record = reader(every)
        read = lambda place: parse(record(place))[0]  # noqa: E731
    classes, parsed = _with_labels(parsed, task, columns, synonyms, path)
    splits = _splits(parsed, fractions, path)
    if task == tasks.Embedding.name:
        splits = {split: part.flat_map(_two_examples) for split, part in splits.items()}
    options: dict[str, Any] = {"classes": classes, "task": tasks.named(task, classes)}
    if pictures:
        assert image_size is not None
        _check_first(path, {split: part.map(lambda one, label: (read(one), label)) for split, part in parsed.items()})
        options |= {"decode": lambda one: fit(decode_image(read(one)), image_size), "augment": random_flip}
        if not by_place:
            options["shuffle_buffer"] = _PICTURES_IN_BUFFER
    name = path.name if path.is_dir() else path.name.partition(".")[0]
    return Dataset(name, splits["train"], splits["validation"], splits["test"], **options)


def _files(path: Path) -> dict[Split, list[Path]]:
    """Returns the files of each split in the order of their names; of `train` alone, if no name tells one."""
    if path.is_file():
        return {"train": [path]}
    found: dict[Split | None, list[Path]] = {}
    for file in sorted(files_below(path)):
        if file.is_file() and _SHARD.search(file.name) and not file.name.startswith("."):
            words = re.split(r"[^A-Za-z]+", str(file.relative_to(path)))
            found.setdefault(next(filter(None, map(split_named, words)), None), []).append(file)
    if not found:
        raise UserError(f"{path} has no TFRecord files; their names have .tfrecord or -00000-of-00010 in them")
    unknown = found.pop(None, [])
    files = {split: shards for split, shards in found.items() if split is not None}
    if unknown and files:
        raise UserError(
            f"{unknown[0]} tells no split in its name, but other files do; call it train, validation or test"
        )
    return files or {"train": unknown}


def _stream(files: list[Path]) -> tf.data.Dataset:
    return tf.data.TFRecordDataset([os.fsencode(file) for file in files], "GZIP" if _is_zipped(files[0]) else "")


def _is_zipped(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(2) == b"\x1f\x8b"


def _by_place(part: tf.data.Dataset, shards: Mapping[Path, int], path: Path) -> tf.data.Dataset:
    """Returns the places and the labels of all records of numbered files."""
    labels = np.concatenate(list(_batches_of_labels(part, path)))
    return tf.data.Dataset.from_tensor_slices((np.concatenate([places(*shard) for shard in shards.items()]), labels))


def _kinds(file: Path) -> dict[str, tf.DType]:
    """Returns the types of the features of the first record."""
    try:
        record = next(iter(_stream([file]).take(1).as_numpy_iterator()), b"")
        example = tf.train.Example.FromString(record)
    except (OSError, tf.errors.OpError, ValueError, *_protobuf_errors()) as error:
        raise UserError(f"{file} is no TFRecord file of tf.train.Example ({first_line(error)})") from error
    return {
        name: _KINDS[kind]
        for name, feature in example.features.feature.items()
        if (kind := feature.WhichOneof("kind")) is not None
    }


def _protobuf_errors() -> tuple[type[Exception], ...]:
    from google.protobuf.message import DecodeError

    return (DecodeError,)


def _features(columns: Columns) -> list[str]:
    """Returns the names of the features that a model reads."""
    if columns.text is None:
        return [columns.image or "image"]
    return [str(name) for name in (columns.text, columns.text_pair) if name is not None]


def _labels(task: str, columns: Columns) -> list[str]:
    if task == tasks.TokenClassification.name:
        raise UserError("TFRecords hold no tags of words; take text_file with CoNLL files for the task tokens")
    return [str(name) for name in label_columns(task, columns)]


def _parsed(
    record: tf.Tensor, names: list[str], labels: list[str], kinds: Mapping[str, tf.DType]
) -> tuple[tf.Tensor, tf.Tensor]:
    wanted = {name: tf.io.FixedLenFeature((), kinds[name]) for name in (*names, *labels)}
    found = tf.io.parse_single_example(record, wanted)
    features, label = ([found[name] for name in some] for some in (names, labels))
    return (
        features[0] if len(features) == 1 else tf.stack(features),
        label[0] if len(label) == 1 else tf.cast(tf.stack(label), tf.float32),
    )


def _with_labels(
    parsed: dict[Split, tf.data.Dataset], task: str, columns: Columns, synonyms: Mapping[str, str], path: Path
) -> tuple[tuple[str, ...], dict[Split, tf.data.Dataset]]:
    """Returns the names of the classes, and the streams with labels of the task's kind."""
    kind = next(iter(parsed.values())).element_spec[1].dtype
    if task == tasks.Multilabel.name:
        return tuple(synonyms.get(str(name), str(name)) for name in columns.labels), parsed
    if task != tasks.Classification.name:
        if kind == tf.string:
            raise UserError(f"the labels of {path} are texts; the task {task} takes numbers, so name another feature")
        return (), {split: part.map(lambda x, y: (x, tf.cast(y, tf.float32))) for split, part in parsed.items()}
    if kind == tf.float32:
        raise UserError(f"the labels of {path} are fractions; set data.task to regression, or name another feature")
    found = {split: _distinct(part, path) for split, part in parsed.items()}
    values = found["train"] if "train" in found else np.unique(np.concatenate(list(found.values())))
    for split, some in found.items():
        if unknown := sorted(set(some.tolist()) - set(values.tolist())):
            raise UserError(f"{path}: the {split} split has the label {_name(unknown[0])}, which train lacks")
    names = [_name(value) for value in values.tolist()]
    if len(names) < 2:
        raise UserError(f"{path}: the labels are {listed(names)}; at least two classes are needed")
    classes, places = renamed(names, synonyms, str(path))
    known, ids = tf.constant(values), tf.constant([places[name] for name in names], tf.int32)

    def with_class(features: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return features, ids[tf.argmax(tf.equal(known, label))]

    return classes, {split: part.map(with_class) for split, part in parsed.items()}


def _name(value: bytes | int) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _distinct(part: tf.data.Dataset, path: Path) -> npt.NDArray[Any]:
    return np.unique(np.concatenate([np.unique(batch) for batch in _batches_of_labels(part, path)]))


def _batches_of_labels(part: tf.data.Dataset, path: Path) -> Iterator[npt.NDArray[Any]]:
    try:
        yield from part.map(lambda _, label: label).batch(4096).as_numpy_iterator()
    except tf.errors.OpError as error:
        raise UserError(f"a record of {path} cannot be read ({first_line(error)}); write the files again") from error


def _splits(
    parsed: Mapping[Split, tf.data.Dataset], fractions: Fractions | None, path: Path
) -> dict[Split, tf.data.Dataset]:
    nothing = next(iter(parsed.values())).take(0)
    if fractions == ALL_TEST:
        first, *others = parsed.values()
        for other in others:
            first = first.concatenate(other)
        return {"train": nothing, "validation": nothing, "test": first}
    used, shares = planned(parsed, fractions, str(path))
    splits = {split: parsed[used[split]] if split in used else nothing for split in SPLITS}
    if shares is not None:
        borders = np.cumsum([0.0, shares.test, shares.validation, shares.of("train")])
        order: tuple[Split, ...] = ("test", "validation", "train")
        for place, split in enumerate(order):
            if shares.of(split):
                splits[split] = _share(parsed["train"], borders[place], borders[place + 1])
    return splits


def _share(part: tf.data.Dataset, low: float, high: float) -> tf.data.Dataset:
    def is_in(place: tf.Tensor, _: Any) -> tf.Tensor:
        where = (tf.cast(place, tf.float64) * _GOLDEN) % 1.0
        return tf.logical_and(where >= low, where < high)

    return part.enumerate().filter(is_in).map(lambda _, example: example)


def _two_examples(texts: tf.Tensor, label: tf.Tensor) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((texts, tf.repeat(label, 2)))


def _check_first(path: Path, parsed: Mapping[Split, tf.data.Dataset]) -> None:
    for split, part in parsed.items():
        for content, _ in part.take(1).as_numpy_iterator():
            try:
                decoded(content)
            except UserError as error:
                raise UserError(f"{path}: the first picture of {split} {error}") from error
