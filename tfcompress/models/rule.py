"""What a part of a traced model becomes in its copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

Rule = tuple[list[tf.Tensor], Callable[[list[Any]], Any]]
"""The tensors of a trace that are read, and what makes the outputs of the copy from those of the copy."""


def call_with_weights(layer: tf_keras.layers.Layer, weights: Sequence[Any], inputs: Any) -> Any:
    """Calls a layer; the first time this builds it, and then it gets its weights."""
    built = layer.built and layer.inbound_nodes
    outputs = layer(inputs)
    if weights and not built:
        layer.set_weights([w.astype(v.dtype.as_numpy_dtype) for w, v in zip(weights, layer.weights, strict=True)])
    return outputs


def layer_rule(source: tf.Tensor | list[tf.Tensor], layer: tf_keras.layers.Layer, weights: Sequence[Any] = ()) -> Rule:
    """Returns a rule that calls a layer on a tensor or a list of tensors."""
    if isinstance(source, list):
        return list(source), lambda tensors: call_with_weights(layer, weights, tensors)
    return [source], lambda tensors: call_with_weights(layer, weights, tensors[0])
