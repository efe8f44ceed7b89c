"""Reads words with their tags: one word a line and an empty line after each sentence, as in CoNLL's shared tasks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tfcompress.data.tables import Columns, read_text
from tfcompress.errors import UserError

SUFFIXES = (".conll", ".txt", ".tsv", ".bio", ".iob", ".iob2")

_DOCUMENT = "-DOCSTART-"
"""Stands in place of a word where a document begins (Tjong Kim Sang and De Meulder, CoNLL 2003)."""

_COMMENT = "# "
"""Begins a line before a sentence that says something about it, in CoNLL-U and MultiCoNER."""

_SEVERAL = re.compile(r"(\d+)(?:-(\d+)|\.\d+)")
"""The number of a CoNLL-U line about several words, 2-3, or about one that is not in the text, 2.1."""

_HEADERS = ({"word", "token", "form", "text"}, {"tag", "label", "ner", "pos"})
"""What headers call the columns of words and of tags, in lower case and without an `s` at their ends."""


class Sentence(NamedTuple):
    """The words of a sentence and the tag of each."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


def read_sentences(path: Path, columns: Columns) -> list[Sentence]:
    """Reads the sentences of a file whose columns are parted by tabs or, in lines without any, by spaces.

    Lines before a sentence that begin with `# ` are comments. Where the first column numbers the words, lines with a
    range or a fraction there are left out, as those of CoNLL-U that stand for no word.

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
    before = "0"  # the number of the last word, if the first column has numbers
    width = max(2, word + 1, tag + 1)
    for number, line in enumerate([*read_text(path).replace("\r\n", "\n").split("\n"), ""], 1):
        fields = line.rstrip().split("\t") if "\t" in line.strip() else line.split()
        if line.startswith(_COMMENT) and not current:
            continue
        if not fields or fields == [""] or fields[0] == _DOCUMENT:
            if current:
                sentences.append(Sentence(*map(tuple, zip(*current, strict=True))))
                current, before = [], "0"
            continue
        if len(fields) < width:
            raise UserError(
                f"{path}, line {number}: {len(fields)} of at least {width} columns, with a word and its tag; add what "
                "is missing, or an empty line between sentences"
            )
        if 0 not in places and _stands_for_no_word(fields[0], before):
            continue
        before = fields[0]
        if not sentences and not current and _is_header(fields[word], fields[tag]):
            raise UserError(
                f"{path}, line {number}: {line.strip()!r} is a header, which words with tags lack; remove it"
            )
        if tag < 0:
            width = max(width, len(fields))  # where the last column counts, a shorter line lacks its tag
        current.append((fields[word], fields[tag]))
    if not sentences:
        raise UserError(f"{path} has no words; add one a line, with its tag in the last column")
    if all(re.fullmatch(r"\d+([-.]\d+)?", one) for sentence in sentences for one in sentence.words):
        raise UserError(
            f"{path} has only numbers in column {word + 1}, such as {sentences[0].words[0]!r}; say in "
            "data.columns.text which column has the words: of CoNLL-U the second"
        )
    return sentences


def _stands_for_no_word(number: str, before: str) -> bool:
    """Returns whether a line of CoNLL-U after the word `before` is about several words or about one that is unseen."""
    found = _SEVERAL.fullmatch(number)
    if found is None or not before.isdecimal():
        return False
    first = int(found[1])
    return first == int(before) if found[2] is None else int(before) + 1 == first < int(found[2])


def _is_header(*fields: str) -> bool:
    return all(field.casefold().removesuffix("s") in known for field, known in zip(fields, _HEADERS, strict=True))
