"""Reads words with their tags: one word a line and an empty line after each sentence, as in CoNLL's shared tasks."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tfcompress.data.tables import Columns, read_text
from tfcompress.errors import UserError

SUFFIXES = (".conll", ".txt", ".tsv", ".bio", ".iob", ".iob2")

_DOCUMENT = "-DOCSTART-"
"""Stands in place of a word where a document begins (Tjong Kim Sang and De Meulder, CoNLL 2003)."""


class Sentence(NamedTuple):
    """The words of a sentence and the tag of each."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


def read_sentences(path: Path, columns: Columns) -> list[Sentence]:
    """Reads the sentences of a file whose columns are parted by tabs or, in lines without any, by spaces.

    Args:
        path: of the file.
        columns: the numbers of the columns of words, by default the first, and of tags, by default the last.

    Raises:
        UserError: names the file, and the line if there is one, that cannot be used.
    """
    places = []
    for key, column in (("text", columns.text or 1), ("label", columns.label or 0)):
        if not isinstance(column, int) or column < 0:
            raise UserError(
                f"data.columns.{key} is {column!r}; words and tags stand in columns with numbers, from 1 on"
            )
        places.append(column - 1)
    word, tag = places
    sentences: list[Sentence] = []
    current: list[tuple[str, str]] = []
    width = max(2, word + 1, tag + 1)
    for number, line in enumerate([*read_text(path).replace("\r\n", "\n").split("\n"), ""], 1):
        fields = line.rstrip().split("\t") if "\t" in line.strip() else line.split()
        if not fields or fields == [""] or fields[0] == _DOCUMENT:
            if current:
                sentences.append(Sentence(*map(tuple, zip(*current, strict=True))))
                current = []
            continue
        if len(fields) < width:
            raise UserError(
                f"{path}, line {number}: {len(fields)} of at least {width} columns, with a word and its tag; add what "
                "is missing, or an empty line between sentences"
            )
        if tag < 0:
            width = max(width, len(fields))  # where the last column counts, a shorter line lacks its tag
        current.append((fields[word], fields[tag]))
    if not sentences:
        raise UserError(f"{path} has no words; add one a line, with its tag in the last column")
    return sentences
