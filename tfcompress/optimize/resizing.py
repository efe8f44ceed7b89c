"""Copies a plain model while changing the size of some layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt
import tf_keras


def resized(
    model: tf_keras.Model,
    configs: Mapping[str, Mapping[str, object]],
    weights: Mapping[str, Sequence[npt.NDArray[Any]]],
) -> tf_keras.Model:
    """Returns a copy in which entries of `get_config` and weights are replaced, both by layer name."""

    def copied(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), **configs.get(layer.name, {})})

    copy = tf_keras.models.clone_model(model, clone_function=copied)
    for layer in model.layers:
        copy.get_layer(layer.name).set_weights(weights.get(layer.name, layer.get_weights()))
    return copy
