"""Transformers with random weights that have few distinct values per matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tf_keras

TOKENS, WIDTH, HEADS = 12, 32, 4
SHAPE = {"vocabulary": 90, "sequence_length": TOKENS, "width": WIDTH, "depth": 2, "heads": HEADS, "mlp": 64}


def cluster(model: tf_keras.Model, clusters: int = 16, seed: int = 0) -> tf_keras.Model:
    """Gives a model random weights, with few distinct values per matrix, large enough for peaked attention."""
    rng = np.random.default_rng(seed)
    for weights in model.weights:
        values = rng.normal(0, 1.5 * weights.shape[0] ** -0.5 if len(weights.shape) > 1 else 0.1, weights.shape)
        if len(weights.shape) == 2 or (len(weights.shape) == 3 and weights.shape[0] > 1):
            centroids = np.sort(rng.choice(values.ravel(), clusters, replace=False))
            values = centroids[np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)]
        weights.assign(values + ("gamma" in weights.name))
    return model


def keras_transformer() -> tf_keras.Model:
    """A pre-norm transformer of tf_keras's own layers, with a mask and a free batch."""
    import tf_keras

    layers = tf_keras.layers
    x = tokens = tf_keras.Input((TOKENS, WIDTH), name="x")
    mask = tf_keras.Input((TOKENS,), dtype="int32", name="mask")
    for _ in range(2):
        h = layers.LayerNormalization(epsilon=1e-6)(x)
        h = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(h, h, attention_mask=mask[:, None, :])
        x = layers.Add()([x, h])
        h = layers.LayerNormalization(scale=False)(x)
        x = layers.Add()([x, layers.Dense(WIDTH)(layers.Dense(64, activation="relu")(h))])
    return tf_keras.Model([tokens, mask], layers.Dense(5)(layers.GlobalAveragePooling1D()(x)))
