"""Golden token ids: the ids that keras-nlp assigns to lines that are hard to tokenize."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text
from keras_hub.src.tokenizers import word_piece_tokenizer as word_piece

from tests.golden.lines import lines, vocabulary
from tfcompress.data.tokenizer import Tokenizer

LENGTH = 128
HOW = {"ids": (True, False), "cased_ids": (False, False), "stripped_ids": (True, True)}
"""Whether texts are lower-cased, and whether accents are removed, by the key of the ids."""

PAIR_LENGTHS = (9, 32, 33)
"""The sequence lengths of pairs: few tokens, and an even and an odd number of them besides the special ones."""
_PAIRS = 450

_CODE_POINTS = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]


def make() -> dict[str, Any]:
    """Returns the lines with their token ids, as they are, in lower case, and without accents; padding is left out."""
    folded = folding()
    splitting = [chr(code) for name in ("dropped", "kept") for code in delimiters()[name]]
    dropped = sorted(one for one, result in folded.items() if not result)[::10]  # 4,000 are in one range
    telling = sorted({one for one, result in folded.items() if result} | {*splitting, *dropped})
    # Ideographs are many and all treated alike, so a sample is enough.
    telling = [one for one in telling if not (0x3400 <= ord(one) < 0xA000 or ord(one) >= 0x20000) or ord(one) % 97 == 0]
    texts = lines(telling)
    known = vocabulary(folded.values())
    found = {key: encode(texts, known, *how) for key, how in HOW.items()}
    rows = [{"text": text, **{key: found[key][place] for key in found}} for place, text in enumerate(texts)]
    return {
        "format": "tfcompress.golden_tokens",
        "version": 1,
        "sequence_length": LENGTH,
        "vocabulary": list(known),
        "lines": rows,
        "pairs": pairs(texts, known),
    }


def encode(texts: list[str], vocabulary: tuple[str, ...], lowercase: bool, strip_accents: bool) -> list[list[int]]:
    """Returns the token ids of each text without its padding."""
    found = Tokenizer(vocabulary, lowercase, LENGTH, strip_accents).encode(texts)
    lengths = found["padding_mask"].sum(1)
    for row, mask, length in zip(found["token_ids"], found["padding_mask"], lengths, strict=True):
        assert mask[:length].all()
        assert not row[length:].any()
    assert not found["segment_ids"].any()
    return [row[:length].tolist() for row, length in zip(found["token_ids"], lengths, strict=True)]


def pairs(texts: list[str], vocabulary: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns pairs of lines by their places, each with a sequence length, token ids and segment ids, in lower case."""
    places = np.random.default_rng(0).integers(len(texts), size=(_PAIRS, 2)).tolist()
    rows = [
        {"first": first, "second": second, "sequence_length": PAIR_LENGTHS[number % len(PAIR_LENGTHS)]}
        for number, (first, second) in enumerate(places)
    ]
    for length in PAIR_LENGTHS:
        wanted = [row for row in rows if row["sequence_length"] == length]
        both = [(texts[row["first"]], texts[row["second"]]) for row in wanted]
        found = Tokenizer(vocabulary, True, length).encode(both)
        for row, ids, segments, count in zip(
            wanted, found["token_ids"], found["segment_ids"], found["padding_mask"].sum(1), strict=True
        ):
            row |= {"ids": ids[:count].tolist(), "segment_ids": segments[:count].tolist()}
    return rows


def folding() -> dict[str, str]:
    """Returns, for each single character that keras-nlp's lower-casing changes, the result (Unicode NFKC_Casefold)."""
    folded = tensorflow_text.case_fold_utf8(tf.constant([chr(code).encode() for code in _CODE_POINTS])).numpy()
    pairs = ((chr(code), result.decode()) for code, result in zip(_CODE_POINTS, folded, strict=True))
    return {one: result for one, result in pairs if one != result}


def table() -> str:
    """Returns `folding` and `delimiters` as text, for a tokenizer that cannot rely on the phone's Unicode version.

    A text ends at its first U+0000, and each lone surrogate becomes three U+FFFD. Dropped delimiters separate words;
    each kept delimiter is a word of its own. A word is folded character by character and then composed (NFC). Marks
    are removed from the decomposed text (NFD), if at all, before it is cut into words.
    """
    found = {name: " ".join(_ranges(codes)) for name, codes in delimiters().items()}
    folded = folding()
    found |= dict.fromkeys(_ranges([ord(one) for one, result in folded.items() if not result]), "")
    found |= {f"{ord(one):x}": " ".join(f"{ord(to):x}" for to in result) for one, result in folded.items() if result}
    lines = "".join(f"{key} {value}".rstrip() + "\n" for key, value in found.items())
    return (
        "# Code points in hexadecimal as keras-nlp takes them; see tests/golden/tokens.py, which makes this file.\n"
        + lines
    )


def delimiters() -> dict[str, list[int]]:
    """Returns the code points that end a word, dropped or kept as tokens of their own, and the marks of accents."""
    patterns = {
        "dropped": word_piece.WHITESPACE_REGEX,
        "kept": word_piece.PUNCTUATION_AND_CJK_REGEX,
        "marks": r"\p{Mn}",  # the pattern in keras-nlp's `pretokenize`
    }
    characters = tf.constant([chr(code).encode() for code in _CODE_POINTS])
    found = {name: tf.strings.regex_full_match(characters, pattern).numpy() for name, pattern in patterns.items()}
    return {name: [code for code, hit in zip(_CODE_POINTS, hits, strict=True) if hit] for name, hits in found.items()}


def _ranges(codes: Sequence[int]) -> Iterator[str]:
    for _, run in groupby(enumerate(codes), key=lambda pair: pair[1] - pair[0]):
        found = [code for _, code in run]
        yield f"{found[0]:x}-{found[-1]:x}" if len(found) > 1 else f"{found[0]:x}"
