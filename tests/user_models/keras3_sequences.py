"""Classifiers of texts and series in Keras 3."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tests.user_models.kinds import CLASSES, VOCABULARY, Array, ids, kind, series


class TokenAndPositionEmbedding(layers.Layer):
    def __init__(self, length: int, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.tokens = layers.Embedding(VOCABULARY, width)
        self.positions = layers.Embedding(length, width)

    def call(self, x: Any) -> Any:
        positions = ops.arange(start=0, stop=ops.shape(x)[-1], step=1)
        return self.tokens(x) + self.positions(positions)


class TransformerBlock(layers.Layer):
    def __init__(self, width: int, heads: int, **options: Any) -> None:
        super().__init__(**options)
        self.attention = layers.MultiHeadAttention(heads, width)
        self.feed_forward = keras.Sequential([layers.Dense(64, activation="relu"), layers.Dense(width)])
        self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        self.dropouts = [layers.Dropout(0.1) for _ in range(2)]

    def call(self, x: Any) -> Any:
        x = self.norms[0](x + self.dropouts[0](self.attention(x, x)))
        return self.norms[1](x + self.dropouts[1](self.feed_forward(x)))


@kind("Keras 3", ids(12), probabilities=True)
def text_transformer() -> Any:
    """The keras.io example of text classification with a transformer: own embedding and block layers."""
    inputs = keras.Input((12,))
    x = TransformerBlock(32, 2)(TokenAndPositionEmbedding(12, 32)(inputs))
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling1D()(x))
    x = layers.Dropout(0.1)(layers.Dense(64, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def _bert_inputs(rng: np.random.Generator, n: int) -> dict[str, Array]:
    tokens = ids(12)(rng, n)
    assert isinstance(tokens, np.ndarray)
    mask = (tokens != 0).astype(np.int32)
    return {"token_ids": tokens, "segment_ids": np.zeros_like(tokens), "padding_mask": mask}


@kind("Keras 3", _bert_inputs)
def hub_bert() -> Any:
    """The BertTextClassifier of keras-hub, without a preprocessor."""
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=VOCABULARY,
        num_layers=2,
        num_heads=2,
        hidden_dim=32,
        intermediate_dim=64,
        max_sequence_length=12,
    )
    return keras_hub.models.BertTextClassifier(backbone, CLASSES, preprocessor=None)


@kind("Keras 3", ids(12))
def llama_like() -> Any:
    """A small language model turned classifier: GroupQueryAttention, RMSNormalization, SwiGLU, a causal mask."""
    inputs = keras.Input((12,), dtype="int32")
    x = layers.Embedding(VOCABULARY, 32)(inputs)
    for _ in range(2):
        y = layers.RMSNormalization()(x)
        x = x + layers.GroupQueryAttention(8, 4, 2)(y, y, use_causal_mask=True)
        y = layers.RMSNormalization()(x)
        y = layers.Dense(64, activation="silu", use_bias=False)(y) * layers.Dense(64, use_bias=False)(y)
        x = x + layers.Dense(32, use_bias=False)(y)
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.RMSNormalization()(x)[:, -1]))


@kind("Keras 3", ids(12))
def causal_and_cross_attention() -> Any:
    """The keras.io example of a sequence-to-sequence transformer: causal attention, then cross attention."""
    inputs = keras.Input((12,), dtype="int32")
    x = layers.Embedding(VOCABULARY, 32)(inputs)
    encoded = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 16)(x, x))
    y = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 16)(x, x, use_causal_mask=True))
    y = layers.LayerNormalization()(y + layers.MultiHeadAttention(2, 16)(query=y, value=encoded, key=encoded))
    y = layers.Dense(64, activation="relu")(layers.GlobalMaxPooling1D()(y))
    return keras.Model(inputs, layers.Dense(CLASSES)(y))


@kind("Keras 3", ids(16))
def bidirectional_lstm() -> Any:
    """The keras.io example of a bidirectional LSTM, with padding that is masked."""
    inputs = keras.Input((16,), dtype="int32")
    x = layers.Embedding(VOCABULARY, 32, mask_zero=True)(inputs)
    x = layers.Bidirectional(layers.LSTM(16, return_sequences=True))(x)
    x = layers.Bidirectional(layers.LSTM(16))(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.Dense(64, activation="relu")(x)))


_WORDS = [f"word{number}" for number in range(VOCABULARY - 2)]


def _texts(rng: np.random.Generator, n: int) -> Array:
    return np.array([" ".join(rng.choice(_WORDS, rng.integers(3, 12))) for _ in range(n)], object)


def _vectorized(model: Any, texts: Array) -> Array:
    layer = next(layer for layer in model.layers if isinstance(layer, layers.TextVectorization))
    return np.asarray(layer(texts))


@kind("Keras 3", _texts, tokens=_vectorized)
def text_vectorization() -> Any:
    """The end-to-end model of the keras.io example of text classification from scratch: strings go in."""
    vectorizer = layers.TextVectorization(output_sequence_length=12, vocabulary=_WORDS)
    inputs = keras.Input((1,), dtype="string")
    x = layers.Embedding(VOCABULARY, 32)(vectorizer(inputs))
    x = layers.Conv1D(32, 3, padding="valid", activation="relu")(layers.Dropout(0.1)(x))
    x = layers.Dense(64, activation="relu")(layers.GlobalMaxPooling1D()(x))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def _tokens_and_numbers(rng: np.random.Generator, n: int) -> dict[str, Array]:
    tokens = ids(12)(rng, n)
    assert isinstance(tokens, np.ndarray)
    return {"tokens": tokens, "numbers": rng.normal(size=(n, 6)).astype(np.float32)}


@kind("Keras 3", _tokens_and_numbers)
def two_inputs() -> Any:
    """A text and a row of a table, joined before the head."""
    tokens, numbers = keras.Input((12,), dtype="int32", name="tokens"), keras.Input((6,), name="numbers")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(VOCABULARY, 32)(tokens))
    y = layers.Dense(32, activation="elu")(layers.UnitNormalization()(numbers))
    z = layers.Dense(64, activation="relu")(layers.Concatenate()([x, y]))
    return keras.Model({"tokens": tokens, "numbers": numbers}, layers.Dense(CLASSES)(z))


@kind("Keras 3", ids(12))
def tied_embedding() -> Any:
    """Weight tying: the embedding table is used again, transposed, before the head."""

    class Tied(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = layers.Embedding(VOCABULARY, 32)
            self.block = TransformerBlock(32, 2)
            self.head = layers.Dense(CLASSES)

        def call(self, tokens: Any) -> Any:
            x = self.block(self.embedding(tokens))
            scores = ops.matmul(x, ops.transpose(self.embedding.embeddings))
            return self.head(ops.max(scores, axis=1))

    return Tied()


@kind("Keras 3", series)
def einsum_dense_series() -> Any:
    """A keras-hub-like encoder for series of numbers, with EinsumDense projections and attention pooling."""
    inputs = keras.Input((12, 4))
    x = layers.EinsumDense("abc,cd->abd", output_shape=(None, 32), bias_axes="d")(inputs)
    y = layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 32), bias_axes="de", activation="relu")(x)
    y = layers.EinsumDense("abde,dec->abc", output_shape=(None, 32), bias_axes="c")(y)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    weights = layers.Softmax(axis=1)(layers.Dense(1)(x))
    x = layers.Dense(64, activation="tanh")(ops.sum(weights * x, axis=1))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))
