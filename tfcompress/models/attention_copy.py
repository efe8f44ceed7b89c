"""Rewrites `MultiHeadAttention` as Dense layers around a weightless attention, with its masks as biases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.models.expand import Call
from tfcompress.models.layers import MASK_BIAS, MaskBias, ScaledDotProductAttention
from tfcompress.models.operations import Operation
from tfcompress.models.rule import Rule, call_with_weights

if TYPE_CHECKING:
    from tfcompress.models.emission import Builder

layers = tf_keras.layers

_MASKED_KEYS = ("value", "key")
"""Arguments whose implicit masks say which keys count.

That of the query says which results count, and nothing that Keras computes of the others is ever of use.
"""


class AttentionCopy:
    """Dense query, key, value and output projections and a `ScaledDotProductAttention`, shared by all calls."""

    def __init__(self, builder: Builder, layer: Any, name: str) -> None:
        self._builder, self._name = builder, name
        config = layer.get_config()
        self._parts = {part: _projection(builder, layer, part, name) for part in ("query", "key", "value", "output")}
        self._heads = ScaledDotProductAttention(
            config["num_heads"], config["dropout"], name=builder.name(f"{name}_attention")
        )

    def call(self, call: Call) -> Rule:
        query, value = call.arguments["query"], call.arguments["value"]
        key = call.arguments.get("key", value)
        masks = self._masks(call)
        fixed = self._fixed_bias(call, query, value)

        def make(tensors: list[Any]) -> Any:
            projected = [self._project(part, x) for part, x in zip(("query", "key", "value"), tensors, strict=False)]
            biases = [self._layer(MaskBias, "mask_bias")(mask) for mask in tensors[3:]]
            if fixed is not None:
                biases.append(self._builder.weight(fixed, False, f"{self._name}_bias"))
            bias = biases[:1] if len(biases) < 2 else [self._sum(biases)]
            fixed_mode = {} if call.training is None else {"training": call.training}
            return self._project("output", self._heads([*projected, *bias], **fixed_mode))

        return [query, key, value, *masks], make

    def _project(self, part: str, x: Any) -> Any:
        return call_with_weights(*self._parts[part], x)

    def _layer(self, kind: type, what: str) -> Any:
        return kind(name=self._builder.name(f"{self._name}_{what}"))

    def _sum(self, biases: list[Any]) -> Any:
        total = biases[0]
        for bias in biases[1:]:
            name = self._builder.name(f"{self._name}_bias_sum")
            total = Operation("AddV2", {"x": 0, "y": 1}, {}, name=name)([total, bias])
        return total

    def _masks(self, call: Call) -> list[tf.Tensor]:
        """Returns the masks that depend on the inputs, each once."""
        found = [call.arguments.get("attention_mask")]
        found += [call.masks.get(name, call.arguments.get(f"{name}_mask")) for name in _MASKED_KEYS]
        distinct = {self._builder.probe.source(mask).name: mask for mask in found if tf.is_tensor(mask)}
        return [self._plain(mask) for mask in distinct.values() if self._builder.probe.constant(mask) is None]

    def _plain(self, mask: tf.Tensor) -> tf.Tensor:
        """Returns the `(batch, keys)` from which a mask `(batch, 1, keys)` was made, if that is how it was made."""
        probe = self._builder.probe
        source = probe.source(mask)
        if source.name in probe.trace.made_by or source.op.type not in ("ExpandDims", "StridedSlice", "Reshape"):
            return mask
        before = source.op.inputs[0]
        if probe.depends_on_data(before) and probe.shape(before) == (None, probe.shape(mask)[-1]):
            shape = probe.shape(mask)
            return before if shape == (None, 1, shape[-1]) else mask
        return mask

    def _fixed_bias(self, call: Call, query: tf.Tensor, value: tf.Tensor) -> Any:
        """Returns the bias `(1, 1, queries, keys)` of what a query may never attend to, or None."""
        probe = self._builder.probe
        queries, keys = probe.shape(query)[1], probe.shape(value)[1]
        allowed = np.ones((1, queries or 1, keys or 1), bool)
        if call.arguments.get("use_causal_mask"):
            allowed &= np.tri(queries or 1, keys or 1, dtype=bool)
        mask = call.arguments.get("attention_mask")
        constant = probe.constant(mask) if tf.is_tensor(mask) else None
        if constant is not None:
            allowed = allowed & (constant != 0)
        return None if allowed.all() else np.where(allowed, 0, MASK_BIAS).astype(np.float32)[:, None]


def _projection(builder: Builder, layer: Any, part: str, name: str) -> tuple[tf_keras.layers.Layer, list[Any]]:
    """Returns the Dense layer of one projection and its weights."""
    inner = getattr(layer, f"_{part}_dense")
    # Keras stores (width, heads, size) for query, key and value, but (heads, size, width) for the output.
    kernel = np.asarray(inner.kernel)
    matrix = kernel.reshape(-1, kernel.shape[-1]) if part == "output" else kernel.reshape(len(kernel), -1)
    bias = [] if inner.bias is None else [np.asarray(inner.bias).reshape(-1)]
    options = {"use_bias": bool(bias), "trainable": layer.trainable}
    dense = layers.Dense(matrix.shape[1], name=builder.name(f"{name}_{part}"), **options)
    return dense, [matrix.astype(np.float32), *(b.astype(np.float32) for b in bias)]
