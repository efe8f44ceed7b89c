"""Tokenizer: text to the three inputs of a BERT, by keras-nlp's WordPiece."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.errors import UserError
from tfcompress.files import parse_vocabulary, read_json, write_json, written_whole
from tfcompress.progress import console

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""What every vocabulary holds."""

IntArray = npt.NDArray[np.int32]

_SUFFIX = "##"
_BATCH = 1024


@dataclass(frozen=True)
class Tokenizer:
    """The WordPiece tokenizer of BERT; token ids are those of keras-nlp's `BertTextClassifierPreprocessor`.

    Attributes:
        vocabulary: the pieces; the token id of a piece is its place. A piece that goes on with a word starts with `##`.
        lowercase: whether text is case-folded first; accents stay.
        sequence_length: tokens a text, with [CLS] and [SEP]; longer texts are cut, shorter ones padded.

    Raises:
        UserError: a special token is missing, a piece is empty or there twice, or fewer than three tokens a text.
    """

    vocabulary: tuple[str, ...]
    lowercase: bool = True
    sequence_length: int = 128

    def __post_init__(self) -> None:
        missing = [token for token in SPECIAL if token not in self.vocabulary]
        if missing:
            raise UserError(f"the vocabulary lacks {', '.join(missing)}; a BERT needs all of {', '.join(SPECIAL)}")
        seen: set[str] = set()
        for place, piece in enumerate(self.vocabulary, 1):
            if not piece or piece in seen:
                what = f"holds {piece!r} twice" if piece else "has an empty piece"
                raise UserError(f"the vocabulary {what} (line {place}); every line must be a piece of its own")
            seen.add(piece)
        if self.sequence_length < 3:
            raise UserError(
                f"sequence_length is {self.sequence_length}; it must be at least 3, for [CLS], a piece and [SEP]"
            )

    @classmethod
    def trained(cls, texts: Sequence[str], size: int, sequence_length: int = 128, lowercase: bool = True) -> Tokenizer:
        """Learns a vocabulary of `size` pieces, or up to 5 % fewer; the same texts give the same one.

        Texts in which there are fewer pieces give all there are.

        Raises:
            UserError: a size with no room for pieces beside the special tokens, or texts without words.
        """
        if size <= len(SPECIAL):
            raise UserError(f"a vocabulary of {size} pieces is too small; {len(SPECIAL)} go to {', '.join(SPECIAL)}")
        console.print(f"learning a vocabulary of {size} pieces from {len(texts)} texts", soft_wrap=True)
        # Ten times, because keras-nlp takes no piece for one that occurs less often.
        words = tf.data.Dataset.from_tensor_slices(_tensor(texts)).batch(_BATCH).map(_valid).repeat(10)
        try:
            vocabulary = _keras_nlp().tokenizers.compute_word_piece_vocabulary(
                words, size, lowercase=lowercase, reserved_tokens=list(SPECIAL)
            )
        except (StopIteration, ValueError):
            raise UserError(f"no vocabulary can be learned: the {len(texts)} texts hold no words") from None
        return cls(tuple(vocabulary), lowercase, sequence_length)

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Reads what `save` wrote.

        Raises:
            UserError: for a file that is missing, broken or no tokenizer's.
        """
        settings = folder / "tokenizer.json"
        try:
            vocabulary = parse_vocabulary((folder / "vocab.txt").read_bytes(), str(folder / "vocab.txt"))
            found = read_json(settings)
            return cls(vocabulary, bool(found["lowercase"]), int(found["sequence_length"]))
        except OSError as error:
            raise UserError(
                f"{error.filename} cannot be read ({error.strerror}); a tokenizer is a folder with vocab.txt and "
                "tokenizer.json"
            ) from error
        except UserError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{settings} is no tokenizer's; it needs lowercase and sequence_length") from error

    def save(self, folder: Path) -> None:
        """Writes `vocab.txt`, one piece a line, and `tokenizer.json`."""
        with written_whole(folder / "vocab.txt") as beside:
            beside.write_bytes("".join(f"{piece}\n" for piece in self.vocabulary).encode())
        write_json(folder / "tokenizer.json", {"lowercase": self.lowercase, "sequence_length": self.sequence_length})

    def __call__(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Tokenizes a scalar string tensor; what is not UTF-8 in it becomes U+FFFD.

        Returns:
            token_ids, segment_ids and padding_mask, int32 `(sequence_length,)`.
        """
        return {name: rows[0] for name, rows in self._packed(text[tf.newaxis]).items()}

    def encode(self, texts: Sequence[str]) -> dict[str, IntArray]:
        """Tokenizes texts to token_ids, segment_ids and padding_mask, int32 `(n, sequence_length)`."""
        batches = [
            self._packed(_tensor(texts[start : start + _BATCH])) for start in range(0, max(1, len(texts)), _BATCH)
        ]
        return {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in batches[0]}

    def used(self, texts: Sequence[str]) -> IntArray:
        """Returns the sorted token ids that occur in whole texts, int32 `(m,)`."""
        starts = range(0, len(texts), _BATCH)
        found = [np.unique(self._ids(_tensor(texts[start : start + _BATCH]))) for start in starts]
        return np.unique(np.concatenate([np.zeros(0, np.int32), *found]))

    def kept(self, ids: npt.NDArray[np.integer[Any]]) -> IntArray:
        """Returns the sorted token ids that `restricted(ids)` keeps, int32 `(m,)`: rows of the embedding."""
        wanted = set(ids.tolist())

        def keep(place: int, piece: str) -> bool:
            return place in wanted or piece in SPECIAL or len(piece.removeprefix(_SUFFIX)) == 1

        return np.array([place for place, piece in enumerate(self.vocabulary) if keep(place, piece)], np.int32)

    def restricted(self, ids: npt.NDArray[np.integer[Any]]) -> Tokenizer:
        """Returns a tokenizer with the pieces of these token ids, in their order.

        Special tokens and single characters stay as well, so that unknown words can still be spelled. Texts whose
        pieces are all among `ids` are tokenized as before.
        """
        return Tokenizer(
            tuple(self.vocabulary[place] for place in self.kept(ids)), self.lowercase, self.sequence_length
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the layers of keras-nlp, which are made again when needed.
        return Tokenizer, (self.vocabulary, self.lowercase, self.sequence_length)

    @cached_property
    def _layer(self) -> Any:
        with tf.init_scope():  # its tables must outlive the graph that happens to be traced
            return _keras_nlp().models.BertTokenizer(list(self.vocabulary), lowercase=self.lowercase)

    @cached_property
    def _packed(self) -> Callable[[tf.Tensor], Any]:
        with tf.init_scope():
            layer = _keras_nlp().models.BertTextClassifierPreprocessor(self._layer, self.sequence_length)

        def pack(texts: tf.Tensor) -> dict[str, tf.Tensor]:
            packed = layer(_valid(texts))
            return {
                name: tf.ensure_shape(tf.cast(packed[name], tf.int32), (None, self.sequence_length))
                for name in ("token_ids", "segment_ids", "padding_mask")
            }

        # As a graph also when called eagerly: there keras-nlp has other code, in Python.
        return _graph(pack)

    @cached_property
    def _ids(self) -> Callable[[tf.Tensor], Any]:
        layer = self._layer
        return _graph(lambda texts: layer(_valid(texts)).flat_values)


def _tensor(texts: Sequence[str]) -> tf.Tensor:
    # A lone surrogate cannot be UTF-8; as three bytes it becomes U+FFFD with all else that is not.
    return tf.constant([text.encode("utf-8", "surrogatepass") for text in texts], tf.string, (len(texts),))


def _valid(text: tf.Tensor) -> tf.Tensor:
    """Replaces what is not UTF-8."""
    return tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", errors="replace")


def _graph(function: Callable[[tf.Tensor], Any]) -> Callable[[tf.Tensor], Any]:
    compiled: Callable[[tf.Tensor], Any] = tf.function(
        function, input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False
    )
    return compiled


def _keras_nlp() -> Any:
    """Imports keras-nlp, which takes seconds."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras_nlp

    return keras_nlp
