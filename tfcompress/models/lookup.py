"""Looks words up before the model, as layers such as Keras's `TextVectorization` do at the beginning of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError
from tfcompress.files import read_json, write_json

FILE = "lookup.json"
"""The name of the file that a `Lookup` is kept in."""

_SETTINGS = {
    "TextVectorization": (
        "max_tokens", "standardize", "split", "ngrams", "output_mode", "output_sequence_length", "pad_to_max_tokens",
        "encoding",
    ),
    "StringLookup": (
        "max_tokens", "num_oov_indices", "mask_token", "oov_token", "output_mode", "pad_to_max_tokens", "encoding",
    ),
    "IntegerLookup": ("max_tokens", "num_oov_indices", "mask_token", "oov_token", "output_mode", "pad_to_max_tokens"),
    "Hashing": ("num_bins", "mask_value", "salt", "output_mode"),
}  # fmt: skip
"""The layers that can be moved before the model, with the settings that decide what they compute."""

KINDS = frozenset(_SETTINGS)


@dataclass(frozen=True)
class Table:
    """One such layer.

    Attributes:
        kind: its class in Keras.
        settings: the arguments of its constructor, with the words of its vocabulary.
        feature: the name of what it looks up among the features of the data.
        shape: the shape of that for one example.
        result: the name of the model's input that takes what it returns.
        numbers: whether the feature is integers, not texts.
    """

    kind: str
    settings: Mapping[str, Any]
    feature: str
    shape: tuple[int, ...]
    result: str
    numbers: bool = False

    @classmethod
    def of(cls, layer: Any, path: str, feature: str, shape: Sequence[int], result: str, numbers: bool = False) -> Table:
        """Makes the table of a layer of Keras 3 or tf_keras.

        Args:
            layer: one of `KINDS`.
            path: of the layer in its model.
            feature: see `Table`.
            shape: see `Table`.
            result: see `Table`.
            numbers: see `Table`.

        Raises:
            UserError: the layer cannot be moved before the model.
        """
        kind, config = type(layer).__name__, layer.get_config()
        advice = "apply it to the data instead, and build the model without it"
        settings = {name: config[name] for name in _SETTINGS[kind] if name in config}
        if not all(_is_plain(value) for value in settings.values()):
            raise UserError(f"layer {path} ({kind}) uses a function of its own, which cannot be kept; {advice}")
        if config.get("invert") or "idf" in str(config.get("output_mode")):
            what = "turns numbers into words" if config.get("invert") else "weighs words by their frequency"
            raise UserError(f"layer {path} ({kind}) {what}, which cannot be kept; {advice}")
        if kind != "Hashing":
            words = layer.get_vocabulary(include_special_tokens=False)
            settings["vocabulary"] = [word if isinstance(word, str) else int(word) for word in words]
        if kind == "TextVectorization" and settings["output_mode"] == "int" and not settings["output_sequence_length"]:
            raise UserError(f"layer {path} returns as many ids as a text has; give it an output_sequence_length")
        table = cls(kind, settings, feature, tuple(shape), result, numbers)
        samples = tf.constant(table.samples(16, 0))
        if not np.array_equal(np.asarray(layer(samples)), np.asarray(table.layer(samples))):
            raise UserError(f"layer {path} ({kind}) computes otherwise than its settings say; {advice}")
        return table

    @cached_property
    def layer(self) -> tf_keras.layers.Layer:
        with tf.init_scope():  # outside of the graph of a data set
            return getattr(tf_keras.layers, self.kind)(**self.settings)

    def __call__(self, features: tf.Tensor) -> tf.Tensor:
        """Looks up the features of one example; ids are int32."""
        found = self.layer(tf.reshape(features, [1, *self.shape]))[0]
        return tf.cast(found, tf.int32) if found.dtype.is_integer else found

    def samples(self, examples: int, seed: int) -> npt.NDArray[Any]:
        """Returns random features, `(examples, *shape)`, of words that the table knows and others."""
        rng = np.random.default_rng(seed)
        known = list(self.settings.get("vocabulary", range(100)))[:10_000]
        if self.numbers:
            return rng.choice(np.array([*known, max(known, default=0) + 1]), (examples, *self.shape))
        words = [*map(str, known), "Zyzzyva, unknown!"]
        length = 12 if self.kind == "TextVectorization" else 1
        size = (examples * int(np.prod(self.shape)), length)
        texts = [" ".join(row[: 1 + i % length]) for i, row in enumerate(rng.choice(np.array(words, object), size))]
        return np.array(texts, object).reshape(examples, *self.shape)


@dataclass(frozen=True)
class Lookup:
    """A data set's `decode` that looks features up.

    Attributes:
        tables: what it looks up.
        before: is applied to the features first.
    """

    tables: tuple[Table, ...]
    before: Callable[[Any], Any] | None = None

    def __call__(self, features: Any) -> Any:
        """Returns the inputs of the model by name; a single one without its name if the features have none."""
        if self.before is not None:
            features = self.before(features)
        if not isinstance(features, Mapping):
            if len(self.tables) == 1:
                return self.tables[0](features)
            return {table.result: table(features) for table in self.tables}
        used = {table.feature for table in self.tables}
        rest = {name: value for name, value in features.items() if name not in used}
        return rest | {table.result: table(features[table.feature]) for table in self.tables}

    def save(self, folder: Path) -> None:
        """Writes `lookup.json` to a folder."""
        write_json(folder / FILE, self.describe())

    def describe(self) -> dict[str, Any]:
        """Returns the tables as JSON can hold them."""
        return {"tables": [asdict(table) for table in self.tables]}

    @classmethod
    def load(cls, folder: Path, before: Callable[[Any], Any] | None = None) -> Lookup:
        """Loads what `save` wrote.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            return cls.of(read_json(folder / FILE), before)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{folder / FILE} does not describe a lookup; make the stage again") from error

    @classmethod
    def of(cls, described: Mapping[str, Any], before: Callable[[Any], Any] | None = None) -> Lookup:
        """Returns what `describe` described.

        Raises:
            KeyError, TypeError: it is no such description.
        """
        return cls(tuple(Table(**{**table, "shape": tuple(table["shape"])}) for table in described["tables"]), before)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float))
