"""BERT (Devlin et al., arXiv 1810.04805), built from layers that tfmot supports.

Without segments it is the encoder of DistilBERT (Sanh et al., arXiv 1910.01108) or RoBERTa (Liu et al., arXiv
1907.11692), with narrower embeddings ELECTRA (Clark et al., arXiv 2003.10555), and with relative positions MPNet (Song
et al., arXiv 2004.09297).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import tf_keras

from tfcompress.models.layers import (
    MaskBias,
    MeanOfTokens,
    PositionEmbedding,
    RelativePositionBias,
    ScaledDotProductAttention,
    approximate_gelu,
)

layers = tf_keras.layers

INPUTS = ("token_ids", "segment_ids", "padding_mask")
"""The inputs of a text model, each int32 `(batch, tokens)`, in the order that on-device text classifiers expect."""

Pooling = Literal["tanh", "relu", "gelu", "first", "mean", "tokens"]
"""How the features for the head of a text model are computed; see `BertConfig.pooling`."""


@dataclass(frozen=True)
class BertConfig:
    """The architecture of a BERT. Lengths are in tokens, widths in features.

    Attributes:
        vocabulary: number of tokens in the vocabulary.
        sequence_length: fixed input length, and number of positions.
        width: width of the hidden states.
        depth: number of encoder blocks.
        heads: attention heads per block; must divide `width`.
        mlp: width inside the feed-forward networks.
        segments: number of segments; 0 means no segment embedding and no input `segment_ids`.
        epsilon: added to the variance in every LayerNormalization.
        exact_gelu: whether GELU uses the Gaussian error function (the papers, Hugging Face) or its tanh approximation
            (keras-nlp).
        pooling: the features that the head reads. `tanh`: a Dense layer with that activation on the first token's
            state (BERT); `relu`, `gelu`: the same with ReLU (DistilBERT) or GELU (ELECTRA); `first`: the first token's
            state itself; `mean`: the mean over all real tokens (sentence encoders); `tokens`: the states of all
            tokens, of which each gets logits.
        embedding: width of the embeddings, which are projected to `width` if it is another (ELECTRA).
        relative: rows of the table of relative positions that all attentions share (MPNet); 0 means none.
    """

    vocabulary: int
    sequence_length: int
    width: int
    depth: int
    heads: int
    mlp: int
    segments: int = 2
    epsilon: float = 1e-12
    exact_gelu: bool = True
    pooling: Pooling = "tanh"
    embedding: int | None = None
    relative: int = 0


def bert(config: BertConfig, classes: int, dropout: float = 0.0, name: str = "bert") -> tf_keras.Model:
    """Builds a functional BERT classifier from `INPUTS` to float32 logits.

    They are `(batch, classes)`, or `(batch, tokens, classes)` with the pooling `tokens`.
    """
    width = config.embedding or config.width
    embed = embedding(config.vocabulary, width, "token_embedding")

    def finish(x: tf_keras.KerasTensor) -> tf_keras.KerasTensor:
        x = layers.LayerNormalization(epsilon=config.epsilon, name="embedding_norm")(x)
        return x if width == config.width else dense(config.width, "embedding_projection")(x)

    def bias(mask: tf_keras.KerasTensor) -> tf_keras.KerasTensor:
        x = mask_bias(mask)
        return RelativePositionBias(config.heads, config.relative, name="relative_bias")(x) if config.relative else x

    return text_classifier(config, embed, finish, _block, classes, dropout, name, bias)


def mask_bias(mask: tf_keras.KerasTensor) -> tf_keras.KerasTensor:
    """Returns the bias of attention scores for a mask; see `MaskBias`."""
    return MaskBias(name="mask_bias")(mask)


class TextConfig(Protocol):
    """The fields that the configs of all text models share; see `BertConfig`."""

    @property
    def sequence_length(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def segments(self) -> int: ...
    @property
    def pooling(self) -> Pooling: ...


def text_classifier(
    config: TextConfig,
    embed: Callable[[tf_keras.KerasTensor], tf_keras.KerasTensor],
    finish: Callable[[tf_keras.KerasTensor], tf_keras.KerasTensor],
    block: Callable[..., tf_keras.KerasTensor],
    classes: int,
    dropout: float,
    name: str,
    bias: Callable[[tf_keras.KerasTensor], tf_keras.KerasTensor] = mask_bias,
) -> tf_keras.Model:
    """Builds a text classifier around the given token embedding and blocks.

    Args:
        config: the architecture.
        embed: maps token ids `(batch, tokens)` to embeddings `(batch, tokens, width)`.
        finish: maps the sum of all embeddings to the first states, `(batch, tokens, width)`.
        block: maps `(states, bias, config, dropout, name)` to the next states, `(batch, tokens, width)`.
        classes: number of classes.
        dropout: dropout rate during training.
        name: name of the model.
        bias: maps the mask to the bias of the attention scores in all blocks.
    """
    inputs = text_inputs(config.sequence_length, segments=config.segments > 0)
    x = embed(inputs["token_ids"])
    if config.segments:
        segments = embedding(config.segments, x.shape[-1], "segment_embedding")(inputs["segment_ids"])
        x = layers.Add(name="embedding_add")([x, segments])
    x = finish(PositionEmbedding(name="position_embedding")(x))
    if dropout:
        x = layers.Dropout(dropout, name="embedding_dropout")(x)
    added = bias(inputs["padding_mask"])
    for number in range(config.depth):
        x = block(x, added, config, dropout, f"block_{number}")
    features = pooled(x, inputs["padding_mask"], config.pooling)
    if dropout:
        features = layers.Dropout(dropout, name="pooler_dropout")(features)
    return tf_keras.Model(list(inputs.values()), dense(classes, "head")(features), name=name)


def text_inputs(length: int, segments: bool = True) -> dict[str, tf_keras.KerasTensor]:
    """Returns the inputs of a text model by name, each int32 `(batch, length)`."""
    names = [name for name in INPUTS if segments or name != "segment_ids"]
    return {name: tf_keras.Input((length,), dtype="int32", name=name) for name in names}


def dense(units: int, name: str, activation: object = None) -> tf_keras.layers.Dense:
    """Returns a Dense layer with BERT's weight initialization."""
    initial = tf_keras.initializers.TruncatedNormal(stddev=0.02)
    return layers.Dense(units, activation=activation, kernel_initializer=initial, name=name)


def pooled(x: tf_keras.KerasTensor, mask: tf_keras.KerasTensor, pooling: Pooling) -> tf_keras.KerasTensor:
    """Pools the states `(batch, tokens, width)` to features, mostly `(batch, width)`; see `BertConfig.pooling`."""
    if pooling == "tokens":
        return x
    if pooling == "mean":
        return MeanOfTokens(name="features")([x, mask])
    x = first_token(x)
    return x if pooling == "first" else dense(x.shape[-1], "pooler", pooling)(x)


def first_token(x: tf_keras.KerasTensor, name: str = "features") -> tf_keras.KerasTensor:
    """Returns the state `(batch, width)` of the first of `(batch, tokens, width)`."""
    tokens, width = x.shape[1:]
    return layers.Reshape((width,), name=name)(layers.Cropping1D((0, tokens - 1), name="take_first_token")(x))


def embedding(rows: int, width: int, name: str) -> tf_keras.layers.Embedding:
    """Returns an Embedding layer with BERT's weight initialization."""
    initial = tf_keras.initializers.TruncatedNormal(stddev=0.02)
    return layers.Embedding(rows, width, embeddings_initializer=initial, name=name)


def _block(
    x: tf_keras.KerasTensor, bias: tf_keras.KerasTensor, config: BertConfig, dropout: float, name: str
) -> tf_keras.KerasTensor:
    """Adds a post-norm encoder block to `(batch, tokens, width)`."""
    query, key, value = (dense(config.width, f"{name}_{part}")(x) for part in ("query", "key", "value"))
    h = ScaledDotProductAttention(config.heads, dropout, name=f"{name}_attention")([query, key, value, bias])
    h = dense(config.width, f"{name}_output")(h)
    if dropout:
        h = layers.Dropout(dropout, name=f"{name}_dropout1")(h)
    x = layers.Add(name=f"{name}_add1")([x, h])
    x = layers.LayerNormalization(epsilon=config.epsilon, name=f"{name}_norm1")(x)
    h = dense(config.mlp, f"{name}_mlp1", "gelu" if config.exact_gelu else approximate_gelu)(x)
    h = dense(config.width, f"{name}_mlp2")(h)
    if dropout:
        h = layers.Dropout(dropout, name=f"{name}_dropout2")(h)
    x = layers.Add(name=f"{name}_add2")([x, h])
    return layers.LayerNormalization(epsilon=config.epsilon, name=f"{name}_norm2")(x)
