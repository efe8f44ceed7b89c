"""Converts texts, pairs of them and sentences of words to the three inputs of a BERT, with keras-nlp's WordPiece."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.answers import IGNORED
from tfcompress.errors import UserError
from tfcompress.files import atomic_write, parse_vocabulary, read_json, write_json
from tfcompress.progress import console

if TYPE_CHECKING:
    from keras_nlp.models import BertTokenizer

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""The tokens that every vocabulary must contain."""

IntArray = npt.NDArray[np.int32]

_CONTINUATION = "##"
_BATCH = 1024


@dataclass(frozen=True)
class Tokenizer:
    """The WordPiece tokenizer of BERT; its token ids equal those of keras-nlp's `BertTextClassifierPreprocessor`.

    Attributes:
        vocabulary: the tokens; the id of a token is its index. A token that continues a word starts with `##`.
        lowercase: whether texts are case-folded first.
        sequence_length: number of tokens per text, including [CLS] and [SEP]; longer texts are truncated, shorter ones
            padded.
        strip_accents: whether combining marks that take no space are removed first, as uncased checkpoints of Hugging
            Face do.

    Raises:
        UserError: if a special token is missing, a token is empty or occurs twice, or `sequence_length` is less than 3.
    """

    vocabulary: tuple[str, ...]
    lowercase: bool = True
    sequence_length: int = 128
    strip_accents: bool = False

    def __post_init__(self) -> None:
        missing = [token for token in SPECIAL_TOKENS if token not in self.vocabulary]
        if missing:
            raise UserError(
                f"the vocabulary lacks {', '.join(missing)}; a BERT needs all of {', '.join(SPECIAL_TOKENS)}"
            )
        seen: set[str] = set()
        for line, token in enumerate(self.vocabulary, 1):
            if not token or token in seen:
                what = f"contains {token!r} twice" if token else "has an empty token"
                raise UserError(f"the vocabulary {what} (line {line}); every line must be a different token")
            seen.add(token)
        if self.sequence_length < 3:
            raise UserError(
                f"sequence_length is {self.sequence_length}; it must be at least 3, for [CLS], one token and [SEP]"
            )

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.vocabulary)

    @classmethod
    def trained(cls, texts: Sequence[str], size: int, sequence_length: int = 128, lowercase: bool = True) -> Tokenizer:
        """Learns a vocabulary of about `size` tokens from texts, deterministically.

        The vocabulary has `size` tokens or up to 5 % fewer; fewer still if the texts do not contain as many.

        Args:
            texts: raw texts.
            size: number of tokens, including the special tokens.
            sequence_length: see `Tokenizer`.
            lowercase: see `Tokenizer`.

        Raises:
            UserError: if `size` leaves no room beside the special tokens, or the texts contain no words.
        """
        if size <= len(SPECIAL_TOKENS):
            raise UserError(
                f"a vocabulary of {size} tokens is too small; it must have more than the {len(SPECIAL_TOKENS)} special "
                f"tokens {', '.join(SPECIAL_TOKENS)}"
            )
        console.print(f"learning a vocabulary of {size} tokens from {len(texts)} texts", soft_wrap=True)
        # Each text is repeated because keras-nlp drops tokens that occur fewer than ten times.
        words = tf.data.Dataset.from_tensor_slices(_tensor(texts)).batch(_BATCH).map(_valid_utf8).repeat(10)
        try:
            vocabulary = _keras_nlp().tokenizers.compute_word_piece_vocabulary(
                words, size, lowercase=lowercase, reserved_tokens=list(SPECIAL_TOKENS)
            )
        except (StopIteration, ValueError):
            raise UserError(
                f"no vocabulary can be learned: the {len(texts)} texts contain no words; use texts with words"
            ) from None
        return cls(tuple(vocabulary), lowercase, sequence_length)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Loads a tokenizer from a folder that `save` wrote.

        Raises:
            UserError: if a file is missing or invalid.
        """
        settings = folder / "tokenizer.json"
        try:
            vocabulary = parse_vocabulary((folder / "vocab.txt").read_bytes(), str(folder / "vocab.txt"))
            values = read_json(settings)
            lowercase, length = bool(values["lowercase"]), int(values["sequence_length"])
            return cls(vocabulary, lowercase, length, bool(values.get("strip_accents")))  # which may be missing
        except OSError as error:
            raise UserError(
                f"{error.filename} cannot be read ({error.strerror}); name a folder with vocab.txt and tokenizer.json"
            ) from error
        except UserError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{settings} does not describe a tokenizer; it must have lowercase and sequence_length"
            ) from error

    def save(self, folder: Path) -> None:
        """Writes `vocab.txt`, with one token per line, and `tokenizer.json` to a folder."""
        with atomic_write(folder / "vocab.txt") as temporary:
            temporary.write_bytes("".join(f"{token}\n" for token in self.vocabulary).encode())
        names = ("lowercase", "sequence_length", *(("strip_accents",) if self.strip_accents else ()))
        write_json(folder / "tokenizer.json", {name: getattr(self, name) for name in names})

    def __call__(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Tokenizes one example; bytes that are not UTF-8 become U+FFFD.

        Of a pair that is too long, the longer text is cut first, as the tokenizers package does with `longest_first`.

        Args:
            text: strings: a scalar; a pair `(2,)`; or the words of a sentence `(words,)`, where the static shape leaves
                their number open or is another than 2.

        Returns:
            `token_ids`, `segment_ids` and `padding_mask`, each int32 `(sequence_length,)`.
        """
        if is_sentence(text):
            pieces = self._pieces(text)
            rows = self._packed(tf.RaggedTensor.from_row_splits(pieces.values, [0, tf.size(pieces.values)]))
        else:
            rows = self.rows(text[tf.newaxis])
        return {name: row[0] for name, row in rows.items()}

    def align(self, words: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Returns the label of each token: that of a word at its first piece, `IGNORED` elsewhere.

        Args:
            words: strings `(words,)`.
            labels: integers `(words,)`.

        Returns:
            int32 `(sequence_length,)`.
        """
        pieces = self._pieces(words)
        starts = tf.cast(pieces.row_starts(), tf.int32)
        seen = (pieces.row_lengths() > 0) & (starts < self.sequence_length - 2)
        places = 1 + starts[seen]
        none = tf.fill([self.sequence_length], IGNORED)
        return tf.tensor_scatter_nd_update(none, places[:, tf.newaxis], tf.cast(labels, tf.int32)[seen])

    def rows(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Tokenizes strings `(n,)` or pairs `(n, 2)` to what `__call__` returns, each int32 `(n, sequence_length)`."""
        if texts.shape.rank == 1:
            return self._packed(self._pieces(texts))
        return self._packed(*(self._pieces(texts[:, place]) for place in range(2)))

    def encode(self, texts: Sequence[str] | Sequence[tuple[str, str]]) -> dict[str, IntArray]:
        """Tokenizes texts or pairs to what `__call__` returns, each int32 `(n, sequence_length)`."""
        batches = [self.rows(_tensor(texts[start : start + _BATCH])) for start in range(0, max(1, len(texts)), _BATCH)]
        return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in batches[0]}

    def used(self, texts: Sequence[str]) -> IntArray:
        """Returns the sorted ids of all tokens in the texts, without truncation, int32 `(m,)`."""
        starts = range(0, len(texts), _BATCH)
        found = [np.unique(self._pieces(_tensor(texts[start : start + _BATCH])).values) for start in starts]
        return np.unique(np.concatenate([np.zeros(0, np.int32), *found]))

    def kept(self, ids: npt.NDArray[np.integer]) -> IntArray:
        """Returns the sorted token ids, int32 `(m,)`, that `restricted(ids)` keeps: rows of the embedding table."""
        wanted = set(ids.tolist())

        def is_kept(token_id: int, token: str) -> bool:
            return token_id in wanted or token in SPECIAL_TOKENS or len(token.removeprefix(_CONTINUATION)) == 1

        return np.array([i for i, token in enumerate(self.vocabulary) if is_kept(i, token)], np.int32)

    def restricted(self, ids: npt.NDArray[np.integer]) -> Tokenizer:
        """Returns a tokenizer whose vocabulary has only the tokens with these ids, in the same order.

        Special tokens and single characters are kept too, so that other words can still be spelled. Texts that consist
        of kept tokens are split as before.
        """
        return replace(self, vocabulary=tuple(self.vocabulary[i] for i in self.kept(ids)))

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[tuple[str, ...], bool, int, bool]]:
        # Leaves out the cached keras-nlp layers, which are created again on first use.
        return Tokenizer, (self.vocabulary, self.lowercase, self.sequence_length, self.strip_accents)

    @cached_property
    def _layer(self) -> BertTokenizer:
        with tf.init_scope():  # because its lookup tables must outlive the graph being traced
            return _keras_nlp().models.BertTokenizer(
                list(self.vocabulary), lowercase=self.lowercase, strip_accents=self.strip_accents
            )

    @cached_property
    def _pieces(self) -> Callable[[tf.Tensor], tf.RaggedTensor]:
        """Returns the ids `(n, pieces)` of strings `(n,)`."""
        layer = self._layer
        # Always as a graph, because keras-nlp takes a different code path, in Python, when called eagerly.
        compiled: Callable[[tf.Tensor], tf.RaggedTensor] = tf.function(
            lambda texts: tf.cast(layer(_valid_utf8(texts)), tf.int32),
            input_signature=[tf.TensorSpec((None,), tf.string)],
            autograph=False,
        )
        return compiled

    def _packed(self, first: tf.RaggedTensor, second: tf.RaggedTensor | None = None) -> dict[str, tf.Tensor]:
        """Returns the three inputs for the ids of texts `(n, pieces)`, or of pairs."""
        length, count = self.sequence_length, first.nrows()
        start, end, padding = (self.vocabulary.index(token) for token in ("[CLS]", "[SEP]", "[PAD]"))
        edges = [tf.fill([count, 1], one) for one in (start, end)]
        if second is None:
            parts = [tf.concat([edges[0], _cut(first, length - 2), edges[1]], axis=1)]
        else:
            room = length - 3
            a, b = (tf.cast(ids.row_lengths(), tf.int32) for ids in (first, second))
            half = room // 2
            kept = tf.minimum(a, tf.where(a <= b, half, room - tf.minimum(b, half)))
            parts = [
                tf.concat([edges[0], _cut(first, kept), edges[1]], axis=1),
                tf.concat([_cut(second, room - kept), edges[1]], axis=1),
            ]
        segments = [tf.fill(tf.shape(part.values), place) for place, part in enumerate(parts)]
        found = {
            "token_ids": (parts, padding),
            "segment_ids": ([part.with_values(one) for part, one in zip(parts, segments, strict=True)], 0),
            "padding_mask": ([tf.ones_like(part) for part in parts], 0),
        }
        return {
            name: tf.concat(rows, axis=1).to_tensor(fill, shape=(None, length)) for name, (rows, fill) in found.items()
        }


def is_sentence(features: tf.Tensor | tf.TypeSpec) -> bool:
    """Returns whether features are the words of a sentence: any number of them, or a fixed one other than a pair's."""
    return bool(features.shape.rank == 1 and features.shape[0] != 2)


def is_pair(features: Any) -> bool:
    """Returns whether features, of any structure, are two texts that belong together."""
    return isinstance(features, tf.TensorSpec) and features.dtype == tf.string and features.shape.as_list() == [2]


def _cut(ids: tf.RaggedTensor, most: int | tf.Tensor) -> tf.RaggedTensor:
    """Returns the first ids of each row `(n, pieces)`: at most so many in all rows, or by row."""
    lengths = tf.minimum(tf.cast(ids.row_lengths(), tf.int32), most)
    return tf.RaggedTensor.from_tensor(ids.to_tensor(), lengths)


def _tensor(texts: Sequence[str] | Sequence[tuple[str, str]]) -> tf.Tensor:
    # A lone surrogate has no UTF-8 encoding; `_valid_utf8` replaces the three bytes that it becomes here.
    encoded = [
        one.encode("utf-8", "surrogatepass")
        if isinstance(one, str)
        else [text.encode("utf-8", "surrogatepass") for text in one]
        for one in texts
    ]
    return tf.constant(encoded, tf.string, None if encoded else (0,))


def _valid_utf8(text: tf.Tensor) -> tf.Tensor:
    """Replaces bytes that are not UTF-8 with U+FFFD."""
    return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")


def _keras_nlp() -> ModuleType:
    """Imports keras-nlp only when it is needed, because that takes seconds."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras_nlp

    module: ModuleType = keras_nlp
    return module
