"""Layers of our transformers that Keras lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tfcompress.models import operations

MASK_BIAS = -40.0
"""What is added to the score of a key that must be ignored; see `MaskBias`."""

_register = tf_keras.utils.register_keras_serializable("tfcompress")


@_register
class ScaledDotProductAttention(tf_keras.layers.Layer):
    """Multi-head attention without weights: softmax(QKᵀ/√d)·V per head (Vaswani et al., arXiv 1706.03762).

    The query, key, value and output projections are separate `Dense` layers, because every technique of tfmot can wrap
    those, whereas its support for `MultiHeadAttention` is partial.

    Inputs: `[query, key, value]` or `[query, key, value, bias]`. Query and key are `(batch, tokens, heads * d)`, value
    is `(batch, tokens, heads * e)`; bias is float, is broadcast to `(batch, heads, queries, keys)` and added to the
    scores. Output: `(batch, queries, heads * e)`.

    Args:
        num_heads: number of heads; must divide the widths.
        dropout: dropout rate of the attention probabilities during training.
        keep_float: whether attention stays float in quantized models; see `unquantizable`.
    """

    def __init__(self, num_heads: int, dropout: float = 0.0, keep_float: bool = False, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.keep_float = keep_float
        self.dropout = tf_keras.layers.Dropout(dropout)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        query, key, value = (self._split(tensor) for tensor in inputs[:3])
        scores = tf.matmul(query * query.shape[-1] ** -0.5, key, transpose_b=True)
        if len(inputs) == 4:
            scores += inputs[3]
        probabilities = self.dropout(tf.nn.softmax(scores), training=training)
        context = tf.matmul(probabilities, value)
        if self.keep_float:
            context = operations.unquantizable(context)
        context = tf.transpose(context, [0, 2, 1, 3])
        return tf.reshape(context, [-1, context.shape[1], context.shape[2] * context.shape[3]])

    def _split(self, tensor: tf.Tensor) -> tf.Tensor:
        tokens, width = tensor.shape[1:]
        split = tf.reshape(tensor, [-1, tokens, self.num_heads, width // self.num_heads])
        return tf.transpose(split, [0, 2, 1, 3])

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return (*input_shape[0][:2], input_shape[2][2])

    def get_config(self) -> dict[str, object]:
        own = {"num_heads": self.num_heads, "dropout": self.dropout.rate, "keep_float": self.keep_float}
        return {**super().get_config(), **own}


@_register
class ClassToken(tf_keras.layers.Layer):
    """Prepends one learned token to `(batch, tokens, width)`."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.token = self.add_weight("token", shape=(1, 1, input_shape[-1]), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return tf.concat([tf.tile(self.token, [tf.shape(inputs)[0], 1, 1]), inputs], axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], (input_shape[1] or 0) + 1, input_shape[2])


@_register
class PositionEmbedding(tf_keras.layers.Layer):
    """Adds a learned vector to each position of `(batch, tokens, width)`; the number of tokens must be static.

    Fewer tokens than it was built for take the first positions.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.positions = self.add_weight(
            "positions", shape=(1, *input_shape[1:]), initializer=tf_keras.initializers.TruncatedNormal(stddev=0.02)
        )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        tokens = inputs.shape[1]
        return inputs + (self.positions if tokens == self.positions.shape[1] else self.positions[:, :tokens])


@_register
class MaskBias(tf_keras.layers.Layer):
    """Turns a mask (1: attend, 0: ignore) into a bias for the attention scores.

    Input: `(batch, keys)` or `(batch, queries, keys)` of any dtype. Output: float32 `(batch, 1, 1 or queries, keys)`
    with 0 or -40. That is negative enough for an attention probability of 4e-18, and small enough for the scores to
    keep their precision in int8.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        bias = (tf.cast(inputs, tf.float32) - 1.0) * -MASK_BIAS
        return bias[:, None, None, :] if inputs.shape.rank == 2 else bias[:, None]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], 1, *((1,) if len(input_shape) == 2 else ()), *input_shape[1:])


@_register
class RelativePositionBias(tf_keras.layers.Layer):
    """Adds a learned number per head to the bias of attention scores, by how far the key is from the query.

    Distances are put into buckets as in T5 (Raffel et al., arXiv 1910.10683, section 2.1): half of the buckets are for
    keys before the query. In each half, the lower half are single distances, and the others grow logarithmically up to
    `_FARTHEST` tokens.

    Input: float `(batch, 1, 1 or queries, keys)` with a static number of keys, which is that of the queries. Output:
    `(batch, heads, queries, keys)`.

    Args:
        num_heads: number of heads.
        buckets: number of buckets.
    """

    _FARTHEST = 128

    def __init__(self, num_heads: int, buckets: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.buckets = buckets

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        initial = tf_keras.initializers.TruncatedNormal(stddev=0.02)
        self.table = self.add_weight("table", shape=(self.buckets, self.num_heads), initializer=initial)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        bias = tf.gather(tf.transpose(self.table), self._bucket_of(inputs.shape[-1]), axis=1)
        return inputs + bias[None]

    def _bucket_of(self, tokens: int) -> npt.NDArray[np.int32]:
        """Returns the bucket of each key for each query, `(tokens, tokens)`."""
        offset = np.arange(tokens)[None] - np.arange(tokens)[:, None]
        half = self.buckets // 2
        single, distance = half // 2, np.abs(offset)
        growth = np.log(np.maximum(distance, single) / single) / np.log(self._FARTHEST / single)
        far = np.minimum(single + (growth * (half - single)).astype(np.int32), half - 1)
        bucket = np.where(distance < single, distance, far) + np.where(offset > 0, half, 0)
        return np.asarray(bucket, np.int32)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (input_shape[0], self.num_heads, input_shape[3], input_shape[3])

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "num_heads": self.num_heads, "buckets": self.buckets}


@_register
class MeanOfTokens(tf_keras.layers.Layer):
    """Averages the states of all real tokens.

    Inputs: `[states, mask]`, float `(batch, tokens, width)` and `(batch, tokens)` with 1 for real tokens and 0 for
    padding. Output: `(batch, width)`; zeros for a text without real tokens.

    Args:
        root: whether the sum is divided by the square root of the number of tokens instead of the number.
    """

    def __init__(self, root: bool = False, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.root = root

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        states, mask = inputs
        real = tf.cast(mask, tf.float32)[:, :, None]
        count = tf.maximum(tf.reduce_sum(real, axis=1), 1.0)
        return tf.reduce_sum(states * real, axis=1) / (tf.sqrt(count) if self.root else count)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return (input_shape[0][0], input_shape[0][2])

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "root": self.root}


@_register
class MaxOfTokens(tf_keras.layers.Layer):
    """Takes the largest value of each feature over all real tokens; for inputs and output see `MeanOfTokens`.

    A text without real tokens gives values below those of any text.
    """

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        states, mask = inputs
        return tf.reduce_max(states + (tf.cast(mask, tf.float32)[:, :, None] - 1.0) * 1e4, axis=1)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return (input_shape[0][0], input_shape[0][2])


@_register
class Trigram(tf_keras.layers.Layer):
    """Concatenates each token with its neighbours as `[right, token, left]`, for MobileBERT's embedding.

    Beyond the ends are zeros. Input: `(batch, tokens, width)` with a static number of tokens. Output:
    `(batch, tokens, 3 * width)`.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        padded = tf.pad(inputs, [[0, 0], [1, 1], [0, 0]])
        return tf.concat([padded[:, 2:], inputs, padded[:, :-2]], axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:2], 3 * (input_shape[2] or 0))


@_register
class NoNorm(tf_keras.layers.Layer):
    """Scales and shifts each feature of `(…, width)`; MobileBERT's replacement for LayerNormalization."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.gamma = self.add_weight("gamma", shape=input_shape[-1:], initializer="ones")
        self.beta = self.add_weight("beta", shape=input_shape[-1:], initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        # Not `inputs * gamma + beta`, because TFLite's converter would fold gamma into the kernels of the adjacent
        # Dense layers, row by row, and destroy their clusters.
        return inputs + (inputs * (self.gamma - 1.0) + self.beta)


@_register
class ApproximateGelu:
    """The tanh approximation of GELU, as in keras-nlp's BERT; its absolute error is at most 4.8e-4.

    It is an object, because Keras cannot load the name of a registered function from an `.h5` file.
    """

    __name__ = "gelu"
    """What tfmot knows an activation by; quantization-aware training supports this one as `gelu`."""

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.gelu(x, approximate=True)

    def get_config(self) -> dict[str, Any]:
        """Returns no settings."""
        return {}

    @classmethod
    def from_config(cls, _: dict[str, Any]) -> ApproximateGelu:
        """Returns the one object of this class, `approximate_gelu`."""
        return approximate_gelu


approximate_gelu = ApproximateGelu()

CUSTOM_OBJECTS = {
    kind.__name__: kind
    for kind in (
        ApproximateGelu,
        ScaledDotProductAttention,
        ClassToken,
        PositionEmbedding,
        MaskBias,
        RelativePositionBias,
        MeanOfTokens,
        MaxOfTokens,
        Trigram,
        NoNorm,
        *operations.LAYERS,
    )
}
"""Our classes by name, for loading functions that ignore Keras's registry."""
