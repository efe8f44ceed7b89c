"""Names of layers that TensorFlow's graphs take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tf_keras

from tfcompress.models.signature import library
from tfcompress.names import distinct_names, graph_name


@contextmanager
def valid_names(model: Any) -> Iterator[None]:
    """Gives a model and its layers names that a graph takes, while it is entered.

    A model's name can be anything, and so can those of Keras 3's layers: graphs take neither spaces nor accents.
    """
    attribute = "_name" if library(model) is tf_keras else "name"
    layers = {id(layer): layer for layer in model._flatten_layers()}
    before = [(layer, layer.name) for layer in layers.values() if graph_name(layer.name) != layer.name]
    try:
        for (layer, _), name in zip(before, distinct_names([graph_name(x) for _, x in before], "layer"), strict=True):
            setattr(layer, attribute, name)
        yield
    finally:
        for layer, name in before:
            setattr(layer, attribute, name)
