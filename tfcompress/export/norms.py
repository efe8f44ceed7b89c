"""How layer normalization is traced for the converter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tf_keras


@contextmanager
def plain_norms(model: tf_keras.Model) -> Iterator[None]:
    """While it is entered, every LayerNormalization of a model computes with means and products.

    With an epsilon of more than 1e-5, as Keras's default is, tf_keras computes it by `fused_batch_norm` and multiplies
    by the gain afterwards. The converter would multiply the gain into every kernel that follows, where clusters are
    lost.
    """
    fused = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, tf_keras.layers.LayerNormalization) and layer._fused
    ]
    for layer in fused:
        layer._fused = False
    try:
        yield
    finally:
        for layer in fused:
            layer._fused = True
