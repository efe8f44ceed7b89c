"""Reads tables of texts: .csv and .tsv files as spreadsheets and other programs write them."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, model_validator

from tfcompress.errors import UserError
from tfcompress.files import decode_utf8
from tfcompress.labels import listed
from tfcompress.settings import Settings

Column = str | int
"""A column by its name in the header, or, where there is no header, by its number from 1 on."""


class Columns(Settings):
    """Where the examples stand: names of columns, or their numbers from 1 on if a table has no header."""

    text: Column | None = Field(None, description="the text, by default `text`; the word, by default the first column")
    text_pair: Column | None = Field(None, description="the second text, if an example is a pair")
    image: str | None = Field(
        None, description="the encoded picture in TFRecords, by default `image`, if they have no texts"
    )
    label: Column | None = Field(None, description="the label, by default `label`; of a word, the last column")
    labels: tuple[Column, ...] = Field((), description="0 or 1 for each class, if an example can have several")

    @model_validator(mode="after")
    def _different(self) -> Columns:
        if self.labels and self.label is not None:
            raise ValueError("label and labels are given; an example has one label, or 0 or 1 for each class")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels names a column twice: {', '.join(map(str, self.labels))}")
        return self


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        line: the line of the file that it ends in.
        fields: its content in the columns that were asked for.
    """

    line: int
    fields: tuple[str, ...]


def read_text(path: Path) -> str:
    """Reads a text file in UTF-8, or in UTF-16 if it begins with a byte order mark.

    Raises:
        UserError: the file cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); name a .csv, .tsv or .txt file") from error
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            text = content.decode("utf-16")
        except UnicodeDecodeError:
            raise UserError(f"{path} begins like UTF-16 but is not; save it as UTF-8") from None
    else:
        text = decode_utf8(content, str(path)).removeprefix("\ufeff")
    if "\0" in text:
        raise UserError(
            f"{path} has the character NUL, perhaps as UTF-16 without a byte order mark has it; save it as UTF-8"
        )
    return text


def read_table(path: Path, columns: Sequence[Column]) -> list[Row]:
    """Reads some columns of a .csv or .tsv file.

    Quotes have their meaning in a .csv file. In a .tsv file they are characters like others, as in GLUE's, unless its
    rows have as many fields as its header only if quotes have a meaning.

    Args:
        path: of the file.
        columns: names in its header, or numbers if it has none.

    Raises:
        UserError: names the file, and the line if there is one, that cannot be used.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv"):
        raise UserError(
            f"{path} is neither .csv nor .tsv; pass a table with the columns {' and '.join(map(str, columns))}"
        )
    content = read_text(path)
    if suffix == ".csv":
        rows = _parsed(path, csv.reader(_lines(content), strict=True))
    else:
        rows = _parsed(path, csv.reader(_lines(content), delimiter="\t", quoting=csv.QUOTE_NONE))
        if '"' in content and len({len(row.fields) for row in rows}) > 1:
            rows = _quoted(path, content) or rows
    if any(isinstance(column, str) for column in columns):
        return _of_names(path, rows, columns)
    return _of_numbers(path, rows, [int(column) for column in columns])


def _lines(content: str) -> io.StringIO:
    csv.field_size_limit(2**31 - 1)  # the default limit of 128 KiB is too short for some texts
    return io.StringIO(content, newline="")


def _parsed(path: Path, reader: Any) -> list[Row]:
    rows: list[Row] = []
    try:
        for fields in reader:
            if fields:
                rows.append(Row(reader.line_num, tuple(fields)))
    except csv.Error as error:
        last = rows[-1].line if rows else 0
        raise UserError(f"{path}, after line {last}: {error}; check the quotation marks there") from None
    return rows


def _quoted(path: Path, content: str) -> list[Row]:
    """Returns the rows of a .tsv file whose quotes have a meaning, or none if they have not."""
    try:
        rows = _parsed(path, csv.reader(_lines(content), delimiter="\t", strict=True))
    except UserError:
        return []
    return rows if len({len(row.fields) for row in rows}) == 1 else []


def _of_names(path: Path, rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    header = rows[0].fields if rows else ()
    for column in columns:
        if header.count(str(column)) > 1:
            raise UserError(f"{path} has several columns {column!r}; rename or remove those that are not meant")
        if column not in header:
            raise UserError(
                f"{path} has no column {column!r}; its header has {listed(header) or 'no columns'}; say in "
                "data.columns which column is which, by numbers if there is no header"
            )
    return _chosen(path, rows[1:], [header.index(str(column)) for column in columns], len(header), "the header")


def _of_numbers(path: Path, rows: Sequence[Row], columns: Sequence[int]) -> list[Row]:
    width = len(rows[0].fields) if rows else 0
    for column in columns:
        if not 1 <= column <= width:
            raise UserError(f"{path} has no column {column}; data.columns may give 1 to {width}, the first is 1")
    return _chosen(path, rows, [column - 1 for column in columns], width, "the first row")


def _chosen(path: Path, rows: Sequence[Row], places: Sequence[int], width: int, like: str) -> list[Row]:
    for row in rows:
        if len(row.fields) != width:
            raise UserError(f"{path}, line {row.line}: the row does not have {width} fields like {like}; correct it")
    if not rows:
        raise UserError(f"{path} has no rows after its header; add one row per example")
    return [Row(row.line, tuple(row.fields[place] for place in places)) for row in rows]
