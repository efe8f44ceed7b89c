"""Trains only the rows of embedding tables that occur: updating 30,000 rows can cost more than the encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tfcompress.data.dataset import Dataset
from tfcompress.models.anatomy import input_tables
from tfcompress.optimize.resizing import resized
from tfcompress.traits import FloatArray

_WORTH_IT = 2_000
"""Tables with fewer rows are left whole."""

Restore = Callable[[tf_keras.Model], tf_keras.Model]


def shorten(model: tf_keras.Model, data: Dataset) -> tuple[tf_keras.Model, Dataset, Restore]:
    """Returns a model whose tables hold only the rows that training and validation examples use, and data to match.

    Training changes the same weights in the same way, because a row that no example reads gets no gradient. Only weight
    decay would change it. The third value is a function that puts the trained rows back into the whole tables.
    """
    tables = {
        layer.name: (name, layer.get_weights()[0])
        for name, layer in input_tables(model)
        if layer.input_dim >= _WORTH_IT
    }
    if not tables or data.decode is None or not isinstance(data.examples("train").element_spec[0], dict):
        return model, data, lambda trained: trained
    used = {name: _used(data, name) for name, _ in tables.values()}
    rows = {layer: used[name] for layer, (name, _) in tables.items()}
    short = _with_tables(model, {layer: table[rows[layer]] for layer, (_, table) in tables.items()})
    decode = data.decode
    lookups = {name: _lookup(kept) for name, kept in used.items()}

    def renumbered(features: Any) -> Any:
        decoded = decode(features)
        return {name: tf.gather(lookups[name], x) if name in lookups else x for name, x in decoded.items()}

    def restore(trained: tf_keras.Model) -> tf_keras.Model:
        whole = {layer: table.copy() for layer, (_, table) in tables.items()}
        for layer, table in whole.items():
            table[rows[layer]] = trained.get_layer(layer).get_weights()[0]
        return _with_tables(trained, whole)

    return short, data.prepared(decode=renumbered), restore


def _used(data: Dataset, name: str) -> npt.NDArray[np.intp]:
    seen: set[int] = set()
    for split in ("train", "validation"):
        for features, _ in data.batches(split, 256).as_numpy_iterator():
            seen.update(np.unique(features[name]).tolist())
    return np.array(sorted(seen))


def _lookup(kept: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
    lookup = np.zeros(kept.max() + 1, np.int32)
    lookup[kept] = np.arange(len(kept))
    return lookup


def _with_tables(model: tf_keras.Model, tables: dict[str, FloatArray]) -> tf_keras.Model:
    configs = {layer: {"input_dim": len(table)} for layer, table in tables.items()}
    return resized(model, configs, {layer: [table] for layer, table in tables.items()})
