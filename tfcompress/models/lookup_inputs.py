"""Moves what looks words up at the beginning of a model in front of it, while the model is traced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tfcompress.errors import UserError
from tfcompress.models.lookup import Table

_SAME_VALUES = {"Identity", "Reshape", "ExpandDims", "Squeeze", "Cast"}
"""Operations that leave the values of an input as they are."""


class LookupInputs:
    """New inputs that take the place of what layers look up in others.

    Args:
        tables: gets a table for each such layer.
    """

    def __init__(self, tables: list[Table]) -> None:
        self._tables = tables
        self._features: dict[str, tf.Tensor] = {}
        self._made: dict[tuple[int, str], tf.Tensor] = {}

    def replaced(self, layer: Any, path: str, arguments: Mapping[str, Any], inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Returns a new input in place of what a layer looks up; it is added to the `inputs` of the model.

        Raises:
            UserError: the layer reads something else than an input, or cannot be moved.
        """
        tensor = next(x for x in tf.nest.flatten(arguments) if tf.is_tensor(x))
        source = tensor
        while source.op.type in _SAME_VALUES:
            source = source.op.inputs[0]
        self._features = self._features or dict(inputs)
        feature = next((name for name, x in self._features.items() if x is source), None)
        if feature is None or None in tensor.shape[1:]:
            raise UserError(
                f"layer {path} ({type(layer).__name__}) looks up what is not an input of fixed shape; apply it to the "
                "data instead, and build the model without it"
            )
        if (id(layer), feature) not in self._made:
            first = all(table.feature != feature for table in self._tables)
            result = feature if first and source.dtype == tf.string else f"{feature}_{layer.name}"
            with tf.init_scope():
                table = Table.of(layer, path, feature, tensor.shape[1:], result, source.dtype != tf.string)
                sample = table(tf.constant(table.samples(1, 0)[0]))
            self._tables.append(table)
            ids = tf.compat.v1.placeholder(sample.dtype, (None, *sample.shape), result)
            inputs[result] = self._made[id(layer), feature] = ids
        return self._made[id(layer), feature]

    def drop_unread(self, inputs: dict[str, tf.Tensor]) -> None:
        """Drops the inputs that only tables read."""
        results = {table.result for table in self._tables}
        for name in {table.feature for table in self._tables} - results:
            if self._features[name].dtype == tf.string or not self._features[name].consumers():
                del inputs[name]
