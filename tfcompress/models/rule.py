"""What a part of a traced model becomes in its copy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tf_keras

Rule = tuple[list[tf.Tensor], Callable[[list[Any]], Any]]
"""The tensors of a trace that are read, and what makes the outputs of the copy from those of the copy."""


def call_with_weights(
    layer: tf_keras.layers.Layer, weights: Sequence[Any], inputs: Any, training: bool | None = None
) -> Any:
    """Calls a layer, in the mode of the model or always in the same; the first time it then gets its weights."""
    built = layer.built and layer.inbound_nodes
    has_modes = training is not None and "training" in inspect.signature(layer.call).parameters
    outputs = layer(inputs, training=training) if has_modes else layer(inputs)
    if weights and not built:
        layer.set_weights([w.astype(v.dtype.as_numpy_dtype) for w, v in zip(weights, layer.weights, strict=True)])
    return outputs


def layer_rule(source: tf.Tensor | list[tf.Tensor], layer: tf_keras.layers.Layer, weights: Sequence[Any] = ()) -> Rule:
    """Returns a rule that calls a layer on a tensor or a list of tensors."""
    if isinstance(source, list):
        return list(source), lambda tensors: call_with_weights(layer, weights, tensors)
    return [source], lambda tensors: call_with_weights(layer, weights, tensors[0])
