"""MobileBERT (Sun et al., arXiv 2004.02984), built from layers that tfmot supports; a baseline for halved models."""

from __future__ import annotations

from dataclasses import dataclass

import tf_keras

from tfcompress.models.bert import Pooling, dense, embedding, text_classifier
from tfcompress.models.layers import NoNorm, ScaledDotProductAttention, Trigram

layers = tf_keras.layers


@dataclass(frozen=True)
class MobileBertConfig:
    """The architecture of a MobileBERT; the defaults are as published. Lengths are in tokens, widths in features.

    Attributes:
        vocabulary: number of tokens in the vocabulary.
        sequence_length: fixed input length, and number of positions.
        width: width between the blocks.
        depth: number of blocks.
        heads: attention heads per block; must divide `bottleneck`.
        bottleneck: width inside the blocks, including attention.
        embedding: width of the token embedding; three neighbouring embeddings are projected to one vector of `width`.
        mlp: width inside the feed-forward networks.
        feedforwards: number of feed-forward networks per block.
        segments: number of segments; 0 means no segment embedding and no input `segment_ids`.
        pooling: see `BertConfig`.
    """

    vocabulary: int = 30522
    sequence_length: int = 128
    width: int = 512
    depth: int = 24
    heads: int = 4
    bottleneck: int = 128
    embedding: int = 128
    mlp: int = 512
    feedforwards: int = 4
    segments: int = 2
    pooling: Pooling = "tanh"


def mobilebert(
    config: MobileBertConfig, classes: int, dropout: float = 0.0, name: str = "mobilebert"
) -> tf_keras.Model:
    """Builds a functional MobileBERT classifier from `bert.INPUTS` to float32 logits `(batch, classes)`.

    As in the paper it has NoNorm, ReLU, and one bottleneck that queries and keys share; values read the full width.
    """

    def embed(token_ids: tf_keras.KerasTensor) -> tf_keras.KerasTensor:
        x = embedding(config.vocabulary, config.embedding, "token_embedding")(token_ids)
        return dense(config.width, "embedding_projection")(Trigram(name="trigram")(x))

    return text_classifier(config, embed, NoNorm(name="embedding_norm"), _block, classes, dropout, name)


def _block(
    x: tf_keras.KerasTensor, bias: tf_keras.KerasTensor, config: MobileBertConfig, dropout: float, name: str
) -> tf_keras.KerasTensor:
    """Adds a block to `(batch, tokens, width)`: bottleneck, attention, feed-forward networks and expansion."""
    narrow = config.bottleneck
    h = NoNorm(name=f"{name}_bottleneck_norm")(dense(narrow, f"{name}_bottleneck")(x))
    shared = NoNorm(name=f"{name}_shared_norm")(dense(narrow, f"{name}_shared")(x))
    query, key = (dense(narrow, f"{name}_{part}")(shared) for part in ("query", "key"))
    value = dense(narrow, f"{name}_value")(x)
    context = ScaledDotProductAttention(config.heads, dropout, name=f"{name}_attention")([query, key, value, bias])
    h = _add_norm(h, dense(narrow, f"{name}_output")(context), f"{name}_output")
    for network in range(config.feedforwards):
        prefix = f"{name}_mlp{network}"
        wide = dense(config.mlp, f"{prefix}_in", "relu")(h)
        h = _add_norm(h, dense(narrow, f"{prefix}_out")(wide), prefix)
    h = dense(config.width, f"{name}_expand")(h)
    if dropout:
        h = layers.Dropout(dropout, name=f"{name}_dropout")(h)
    return _add_norm(x, h, f"{name}_expand")


def _add_norm(x: tf_keras.KerasTensor, h: tf_keras.KerasTensor, name: str) -> tf_keras.KerasTensor:
    return NoNorm(name=f"{name}_norm")(layers.Add(name=f"{name}_add")([x, h]))
