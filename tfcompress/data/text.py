"""The texts of data, whatever they are for: what vocabularies and distillation learn from."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
import tensorflow as tf

from tfcompress.data.dataset import SPLITS, Dataset, Split
from tfcompress.data.fast_tokenizer import FILE, FastTokenizer
from tfcompress.data.starting import starting_fast
from tfcompress.data.tables import read_table, read_text
from tfcompress.data.tokenizer import Tokenizer, is_sentence
from tfcompress.errors import UserError
from tfcompress.files import read_json

T = TypeVar("T")

AnyTokenizer: TypeAlias = Tokenizer | FastTokenizer


def unlabelled_texts(path: Path, count: int) -> list[str]:
    """Returns some of the texts in a file: random ones, seeded, and each text once.

    Args:
        path: a .txt file with one text a line, or a .csv or .tsv file with a column `text`; see `text_file`.
        count: how many at most.

    Raises:
        UserError: the file cannot be read, or has no texts.
    """
    if path.suffix.lower() == ".txt":
        found = read_text(path).replace("\r\n", "\n").split("\n")
    else:
        found = [row.fields[0] for row in read_table(path, ("text",))]
    distinct = list(dict.fromkeys(text for text in found if text.strip()))
    if not distinct:
        raise UserError(f"{path} has no texts; add one a line")
    return [distinct[i] for i in np.random.default_rng(0).permutation(len(distinct))[:count]]


def texts(data: Dataset, split: Split) -> list[str]:
    """Returns the raw texts of a split in their fixed order: both of a pair, and the words of a sentence as one text.

    Raises:
        UserError: if the features are not strings.
    """
    raw: tf.data.Dataset = getattr(data, split)
    spec = raw.element_spec[0]
    if getattr(spec, "dtype", None) != tf.string:
        raise UserError(f"{data.name} is not a text data set; its {split} split yields {spec}, strings are needed")
    features = raw.map(lambda text, _: tf.strings.reduce_join(text, separator=" ") if is_sentence(spec) else text)
    batches = starting_fast(features.batch(4096)).as_numpy_iterator()
    return [text.decode("utf-8", "replace") for batch in batches for text in batch.ravel()]


def load_tokenizer(folder: Path, sequence_length: int | None = None) -> AnyTokenizer:
    """Loads the tokenizer in a folder: one that a run saved there, or the tokenizer.json of a checkpoint.

    Args:
        folder: has `tokenizer.json`, and `vocab.txt` if that is not a checkpoint's.
        sequence_length: number of tokens per text; by default as it was saved.

    Raises:
        UserError: a file is missing or cannot be used.
    """
    file = folder / FILE
    try:
        described = read_json(file)
    except (OSError, ValueError):
        return Tokenizer.load(folder)  # which says what is wrong
    if isinstance(described, dict) and "model" in described:
        if sequence_length is None:
            return FastTokenizer.load(folder)
        return FastTokenizer.of_checkpoint(file.read_text(encoding="utf-8"), sequence_length)
    found = Tokenizer.load(folder)
    return found if sequence_length is None else replace(found, sequence_length=sequence_length)


def tokenized(data: Dataset, tokenizer: AnyTokenizer) -> Dataset:
    """Returns texts cut into tokens, with the labels of words given to the tokens."""
    features, _ = data.test.element_spec
    return data.prepared(decode=tokenizer, align=tokenizer.align if is_sentence(features) else None)


def unlabelled(*sources: Dataset, apart_from: Dataset) -> list[str]:
    """Returns the distinct training texts of several data sets.

    Texts in the validation or test split of `apart_from` are left out.
    """
    held_out = {normalized(text) for split in SPLITS[1:] for text in texts(apart_from, split)}
    merged = distinct([text for source in sources for text in texts(source, "train")], str)
    return [text for text in merged if normalized(text) not in held_out]


def normalized(text: str) -> str:
    """Returns the words of a text in lower case; texts for which these are equal count as duplicates.

    Combining marks are part of a word, as vowels are in Hindi and Thai. Emoji and other symbols are words. Characters
    that are only seen in how others are drawn, such as a zero-width joiner or a skin tone, are neither.
    """
    return " ".join(unicodedata.normalize("NFC", text.lower()).translate(_WORDS).split()) or text.strip()


def distinct(examples: Iterable[T], text: Callable[[T], str]) -> list[T]:
    """Keeps only the first of the examples whose normalized texts are equal."""
    first: dict[str, T] = {}
    for example in examples:
        first.setdefault(normalized(text(example)), example)
    return list(first.values())


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
