"""Converts texts to the inputs of a model as the tokenizer.json of its checkpoint says: BPE, Unigram and others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tokenizers

from tfcompress.answers import IGNORED
from tfcompress.data.tokenizer import IntArray, is_sentence
from tfcompress.errors import UserError, first_line
from tfcompress.files import atomic_write

FILE = "tokenizer.json"

_NAMES = ("token_ids", "segment_ids", "padding_mask")
_PADS = ("<pad>", "[PAD]")


@dataclass(frozen=True)
class FastTokenizer:
    """A tokenizer of the tokenizers package, which decides on ids, special tokens and how long pairs are cut.

    Phones cannot run it: they cut texts as BERT does.

    Attributes:
        described: the content of tokenizer.json, whose truncation and padding fix the number of tokens.

    Raises:
        UserError: the package cannot read it, or it does not say how many tokens a text has.
    """

    described: str

    def __post_init__(self) -> None:
        if self._tokenizer.truncation is None:
            raise UserError(f"{FILE} does not say how many tokens a text has; take the one that a run wrote")

    @classmethod
    def of_checkpoint(cls, described: str, sequence_length: int, padding: int | None = None) -> FastTokenizer:
        """Returns the tokenizer of a checkpoint.

        Args:
            described: the content of its tokenizer.json.
            sequence_length: number of tokens per text, special ones included.
            padding: the id that fills texts up; by default the one in `described`, or that of `<pad>` or `[PAD]`.
        """
        found = _read(described)
        if padding is None:
            ids = (found.token_to_id(token) for token in _PADS)
            padding = found.padding["pad_id"] if found.padding else next((one for one in ids if one is not None), 0)
        found.enable_truncation(sequence_length, strategy="longest_first")
        found.enable_padding(length=sequence_length, pad_id=padding, pad_token=found.id_to_token(padding) or "")
        return cls(str(found.to_str()))

    @classmethod
    def load(cls, folder: Path) -> FastTokenizer:
        """Loads a tokenizer from a folder that `save` wrote; raises a `UserError` if it cannot be used."""
        try:
            return cls((folder / FILE).read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"{folder / FILE} cannot be read ({error.strerror}); name a folder that has it") from error

    def save(self, folder: Path) -> None:
        """Writes `tokenizer.json` to a folder."""
        with atomic_write(folder / FILE) as temporary:
            temporary.write_text(self.described, encoding="utf-8")

    @property
    def sequence_length(self) -> int:
        """Number of tokens per text, special ones included."""
        assert self._tokenizer.truncation is not None
        return int(self._tokenizer.truncation["max_length"])

    @property
    def size(self) -> int:
        """Number of ids."""
        return int(self._tokenizer.get_vocab_size())

    def __call__(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Tokenizes one example, as `Tokenizer` does: a scalar string, a pair `(2,)`, or words `(words,)`.

        Returns:
            `token_ids`, `segment_ids` and `padding_mask`, each int32 `(sequence_length,)`.
        """
        words = is_sentence(text)

        def encoded(text: npt.NDArray[np.object_] | bytes) -> IntArray:
            found = self._encoded(text, words)
            return np.array([found.ids, found.type_ids, found.attention_mask], np.int32)

        rows = tf.ensure_shape(tf.numpy_function(encoded, [text], tf.int32, stateful=False), (3, self.sequence_length))
        return dict(zip(_NAMES, tf.unstack(rows), strict=True))

    def rows(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Tokenizes texts `(n,)` or pairs `(n, 2)` to what `__call__` returns, each int32 `(n, sequence_length)`."""

        def encoded(texts: npt.NDArray[np.object_]) -> IntArray:
            found = [self._encoded(text, False) for text in texts]
            return np.array([[one.ids, one.type_ids, one.attention_mask] for one in found], np.int32)

        rows = tf.numpy_function(encoded, [texts], tf.int32, stateful=False)
        found = tf.unstack(tf.ensure_shape(rows, (None, len(_NAMES), self.sequence_length)), axis=1)
        return dict(zip(_NAMES, found, strict=True))

    def align(self, words: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns the label of each token, int32 `(sequence_length,)`, as `Tokenizer.align` does."""

        def aligned(words: npt.NDArray[np.object_], labels: npt.NDArray[np.integer]) -> IntArray:
            places = self._encoded(words, True).word_ids
            firsts = (place is not None and place not in places[:token] for token, place in enumerate(places))
            found = [labels[place] if first else IGNORED for place, first in zip(places, firsts, strict=True)]
            return np.array(found, np.int32)

        return tf.ensure_shape(
            tf.numpy_function(aligned, [words, labels], tf.int32, stateful=False), (self.sequence_length,)
        )

    def _encoded(self, text: npt.NDArray[np.object_] | bytes, words: bool) -> tokenizers.Encoding:
        if isinstance(text, bytes) or not np.ndim(text):
            return self._tokenizer.encode(_decoded(bytes(text) if isinstance(text, bytes) else text.item()))
        parts = [_decoded(one) for one in text]
        if words:
            return self._tokenizer.encode(parts, is_pretokenized=True)
        first, second = parts
        return self._tokenizer.encode(first, second)

    def __reduce__(self) -> tuple[type[FastTokenizer], tuple[str]]:
        return FastTokenizer, (self.described,)

    @cached_property
    def _tokenizer(self) -> tokenizers.Tokenizer:
        return _read(self.described)


def _read(described: str) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(described)
    except Exception as error:  # The package raises no kind of its own.
        raise UserError(
            f"{FILE} cannot be read by tokenizers {tokenizers.__version__} ({first_line(error)}); save it again with "
            "that version"
        ) from error


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")
