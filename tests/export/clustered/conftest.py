from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ..conftest import FIT  # noqa: F401 - its fixtures are those of this folder, too

if TYPE_CHECKING:
    import tf_keras

TOKENS, WIDTH, HEADS = 12, 32, 4
SHAPE = {"vocabulary": 90, "sequence_length": TOKENS, "width": WIDTH, "depth": 2, "heads": HEADS, "mlp": 64}


def cluster(model: tf_keras.Model, clusters: int = 16, seed: int = 0) -> tf_keras.Model:
    """Gives a fresh model random weights, matrices of few distinct ones; large enough for attention to be peaked."""
    rng = np.random.default_rng(seed)
    for weights in model.weights:
        values = rng.normal(0, 1.5 * weights.shape[0] ** -0.5 if len(weights.shape) > 1 else 0.1, weights.shape)
        if len(weights.shape) == 2 or (len(weights.shape) == 3 and weights.shape[0] > 1):
            centroids = np.sort(rng.choice(values.ravel(), clusters, replace=False))
            values = centroids[np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)]
        weights.assign(values + ("gamma" in weights.name))
    return model


def keras_transformer() -> tf_keras.Model:
    """As tf_keras itself makes one, of free batch: `MultiHeadAttention`, pre-norm, a mask."""
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


@pytest.fixture(scope="session")
def stock(compressed) -> dict[str, bytes]:
    """Real files with clustered weights, by the model they are of."""
    import tensorflow as tf

    from tfcompress.export.converter import convert
    from tfcompress.models import presets

    exact = cluster(presets.build("bert_base", 3, **SHAPE))
    approximate = cluster(presets.build("minilm_l6", 3, **SHAPE | {"exact_gelu": False}))
    mobile = {"width": WIDTH, "bottleneck": 16, "embedding": 16, "heads": 2}
    mobilebert = cluster(presets.build("mobilebert", 3, **SHAPE | mobile))
    keras = tf.lite.TFLiteConverter.from_keras_model(cluster(keras_transformer()))
    return {
        "vit": convert(compressed["cluster"][0], "float32"),
        "vit int8": convert(compressed["quantize"][0], "int8"),
        "bert": convert(exact, "float32"),
        "bert dynamic": convert(exact, "dynamic"),
        "minilm": convert(approximate, "float32", logits=True),
        "mobilebert": convert(mobilebert, "float32"),
        "keras": keras.convert(),
    }
