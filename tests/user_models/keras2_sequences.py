"""Classifiers of texts and series in tf_keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from tests.user_models.kinds import CLASSES, VOCABULARY, Array, ids, kind, series


@kind("tf_keras", ids(24), probabilities=True)
def text_cnn() -> Any:
    """A text CNN: parallel Conv1D layers of several widths over one embedding."""
    inputs = tf_keras.Input((24,), dtype="int32")
    x = layers.SpatialDropout1D(0.2)(layers.Embedding(VOCABULARY, 32)(inputs))
    pooled = [layers.GlobalMaxPooling1D()(layers.Conv1D(16, width, activation="relu")(x)) for width in (2, 3, 4)]
    x = layers.Dense(64, activation="relu")(layers.concatenate(pooled))
    return tf_keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


@kind("tf_keras", series)
def gru_series() -> Any:
    """A sensor classifier: two GRU layers over a series, as in a tutorial of human activity recognition."""
    return tf_keras.Sequential(
        [
            layers.GRU(32, return_sequences=True, input_shape=(12, 4)),
            layers.GRU(32),
            layers.Dropout(0.2),
            layers.Dense(64, activation="relu"),
            layers.Dense(CLASSES),
        ]
    )


@kind("tf_keras", series)
def masked_lstm() -> Any:
    """A Masking layer before an LSTM, so that padded steps do not count."""
    return tf_keras.Sequential(
        [
            layers.Masking(0.0, input_shape=(12, 4)),
            layers.LSTM(32),
            layers.Dense(64, activation="relu"),
            layers.Dense(CLASSES),
        ]
    )


@kind("tf_keras", ids(12))
def bert_with_mask() -> Any:
    """A functional BERT: position embedding, attention_mask made of the ids, a tanh pooler of the first token."""
    inputs = tf_keras.Input((12,), dtype="int32", name="input_ids")
    mask = tf.not_equal(inputs, 0)[:, tf.newaxis, :]
    x = layers.Embedding(VOCABULARY, 32)(inputs) + layers.Embedding(12, 32)(tf.range(12))
    x = layers.LayerNormalization(epsilon=1e-12)(x)
    for _ in range(2):
        y = layers.MultiHeadAttention(2, 16)(x, x, attention_mask=mask)
        x = layers.LayerNormalization(epsilon=1e-12)(x + layers.Dropout(0.1)(y))
        y = layers.Dense(32)(layers.Dense(64, activation="gelu")(x))
        x = layers.LayerNormalization(epsilon=1e-12)(x + layers.Dropout(0.1)(y))
    pooled = layers.Dense(32, activation="tanh")(x[:, 0, :])
    return tf_keras.Model(inputs, layers.Dense(CLASSES)(pooled))


@kind("tf_keras", ids(12))
def mask_zero_attention() -> Any:
    """An Embedding with mask_zero, whose mask attention and pooling use without a word in the code."""
    inputs = tf_keras.Input((12,), dtype="int32")
    x = layers.Embedding(VOCABULARY, 32, mask_zero=True)(inputs)
    y = layers.MultiHeadAttention(2, 16)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    x = layers.Dense(64, activation="relu")(layers.GlobalAveragePooling1D()(x))
    return tf_keras.Model(inputs, layers.Dense(CLASSES)(x))


class LatentQueries(layers.Layer):
    def build(self, shape: Any) -> None:
        self.queries = self.add_weight("queries", (1, 4, 32), initializer="random_normal")

    def call(self, x: Any) -> Any:
        return tf.tile(self.queries, (tf.shape(x)[0], 1, 1))


@kind("tf_keras", series)
def perceiver_like() -> Any:
    """The keras.io example of a Perceiver: learned queries attend to the inputs, then to each other."""
    inputs = tf_keras.Input((12, 4))
    x = layers.Dense(32)(inputs)
    latent = LatentQueries()(x)
    latent = layers.LayerNormalization()(latent + layers.MultiHeadAttention(2, 16)(latent, x))
    latent = layers.LayerNormalization()(latent + layers.MultiHeadAttention(2, 16)(latent, latent))
    latent = latent + layers.Dense(32)(layers.Dense(64, activation="gelu")(latent))
    return tf_keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(latent)))


def _pairs(rng: np.random.Generator, n: int) -> dict[str, Array]:
    return {
        "first": rng.integers(1, VOCABULARY, (n, 12)).astype(np.int32),
        "second": rng.integers(1, VOCABULARY, (n, 12)).astype(np.int32),
    }


@kind("tf_keras", _pairs)
def siamese() -> Any:
    """A siamese network: one encoder for two texts, then their difference and product."""
    first, second = (tf_keras.Input((12,), dtype="int32", name=name) for name in ("first", "second"))
    embedding, dense = layers.Embedding(VOCABULARY, 32), layers.Dense(64, activation="relu")
    pool = layers.GlobalAveragePooling1D()
    u, v = (pool(dense(embedding(x))) for x in (first, second))
    x = layers.concatenate([layers.subtract([u, v]), layers.multiply([u, v])])
    return tf_keras.Model([first, second], layers.Dense(CLASSES)(layers.Dense(64, activation="relu")(x)))


@kind("tf_keras", series)
def time_distributed() -> Any:
    """TimeDistributed Dense layers before a bidirectional GRU."""
    inputs = tf_keras.Input((12, 4))
    x = layers.TimeDistributed(layers.Dense(32, activation="relu"))(inputs)
    x = layers.TimeDistributed(layers.LayerNormalization())(x)
    x = layers.Bidirectional(layers.GRU(16))(x)
    return tf_keras.Model(inputs, layers.Dense(CLASSES)(layers.Dense(64, activation="relu")(x)))


class Linear(layers.Layer):
    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = units

    def build(self, shape: Any) -> None:
        self.w = self.add_weight("w", (shape[-1], self.units), initializer="random_normal")
        self.b = self.add_weight("b", (self.units,), initializer="zeros")

    def call(self, x: Any) -> Any:
        return tf.matmul(x, self.w) + self.b


class ScaledDense(layers.Dense):
    def call(self, x: Any) -> Any:
        return super().call(x) * 0.5


@kind("tf_keras", series)
def own_dense_layers() -> Any:
    """The layers of the guide "Making new layers and models": an own Linear, and a subclass of Dense."""
    inputs = tf_keras.Input((12, 4))
    x = tf.nn.relu(Linear(64)(layers.Flatten()(inputs)))
    x = ScaledDense(64, activation="relu")(x)
    return tf_keras.Model(inputs, Linear(CLASSES)(x))


@kind("tf_keras", ids(12))
def attention_pooling() -> Any:
    """A text classifier with additive attention that pools the tokens, as in many notebooks."""

    class Pooling(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.score = layers.Dense(32, activation="tanh"), layers.Dense(1)

        def call(self, x: Any) -> Any:
            weights = tf.nn.softmax(self.score(self.hidden(x)), axis=1)
            return tf.reduce_sum(weights * x, axis=1)

    inputs = tf_keras.Input((12,), dtype="int32")
    x = layers.Embedding(VOCABULARY, 32)(inputs)
    x = layers.Dense(64, activation="relu")(Pooling()(layers.Conv1D(32, 3, padding="same", activation="relu")(x)))
    return tf_keras.Model(inputs, layers.Dense(CLASSES)(x))
