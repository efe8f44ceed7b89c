"""Which weights pruning keeps: exactly the share that was asked for, and none that was zero."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow_model_optimization.python.core.sparsity.keras.pruning_impl import Pruning
from tensorflow_model_optimization.python.core.sparsity.keras.pruning_wrapper import PruneLowMagnitude

from tfcompress.traits import FloatArray


def kept(weights: FloatArray | tf.Tensor, sparsity: float | tf.Tensor, pattern: str = "unstructured") -> tf.Tensor:
    """Returns which weights of a kernel stay, by magnitude; among equal ones, the first stay.

    Args:
        weights: `(…, inputs, outputs)`, of any shape if they are pruned one by one.
        sparsity: the share of weights, or of blocks, that do not stay; at least one stays. `M:N` implies its own.
        pattern: see `tfcompress.traits.KernelTraits`.

    Returns:
        bool, of the kernel's shape.
    """
    magnitudes = tf.abs(tf.convert_to_tensor(weights))
    if ":" in pattern:
        zeros, group = (int(number) for number in pattern.split(":"))
        return _kept_of_groups(magnitudes, group - zeros, group)
    if "x" in pattern:
        rows, columns = (int(side) for side in pattern.split("x"))
        return _kept_blocks(magnitudes, sparsity, rows, columns)
    return _largest(magnitudes, sparsity)


def _largest(magnitudes: tf.Tensor, sparsity: float | tf.Tensor) -> tf.Tensor:
    """Returns where the largest are. A comparison with a threshold would keep all that are equal to it."""
    size = tf.size(magnitudes)
    share = 1 - tf.cast(sparsity, tf.float64)
    number = tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float64) * share), tf.int32), 1)
    places = tf.math.top_k(tf.reshape(magnitudes, [-1]), number).indices
    flat = tf.scatter_nd(places[:, tf.newaxis], tf.ones_like(places), [size])
    return tf.reshape(flat > 0, magnitudes.shape)


def _kept_of_groups(magnitudes: tf.Tensor, number: int, group: int) -> tf.Tensor:
    """Returns where the largest `number` of each `group` consecutive inputs are."""
    rank = magnitudes.shape.rank
    swapped = [*range(rank - 2), rank - 1, rank - 2]
    inputs_last = tf.transpose(magnitudes, swapped)
    places = tf.math.top_k(tf.reshape(inputs_last, [-1, group]), number).indices
    flat = tf.reduce_any(tf.one_hot(places, group, on_value=True, off_value=False, dtype=tf.bool), axis=1)
    return tf.transpose(tf.reshape(flat, inputs_last.shape), swapped)


def _kept_blocks(magnitudes: tf.Tensor, sparsity: float | tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """Returns where the blocks with the largest mean are; those at the edges can be incomplete."""
    inputs, outputs = magnitudes.shape
    down, across = -(-inputs // rows), -(-outputs // columns)

    def sums(values: tf.Tensor) -> tf.Tensor:
        padded = tf.pad(values, [(0, down * rows - inputs), (0, across * columns - outputs)])
        return tf.reduce_sum(tf.reshape(padded, (down, rows, across, columns)), axis=(1, 3))

    blocks = _largest(sums(magnitudes) / sums(tf.ones_like(magnitudes)), sparsity)
    return tf.repeat(tf.repeat(blocks, rows, axis=0), columns, axis=1)[:inputs, :outputs]


class ExactPruning(PruneLowMagnitude):
    """tfmot's wrapper, except that zeros stay zero and that ties do not add to what is kept.

    A kernel without any other value is the exception: it was initialized so, and is trained before it is pruned.
    """

    def __init__(self, layer: Any, pattern: str, **options: Any) -> None:
        super().__init__(layer, **options)
        self._pattern = pattern

    def build(self, input_shape: tf.TensorShape) -> None:
        super().build(input_shape)
        for kernel, mask, _ in self.pruning_vars:
            others = kernel.numpy() != 0
            if others.any():
                mask.assign(others)
        self.pruning_obj = _ExactMasks(
            lambda: self.pruning_step, self.pruning_vars, self.pruning_schedule, self._pattern
        )


class _ExactMasks(Pruning):
    """The masks of one layer, from which weights only disappear."""

    def __init__(self, step: Any, pruned: Any, schedule: Any, pattern: str) -> None:
        super().__init__(step, pruned, schedule, (1, 1), "AVG", sparsity_m_by_n=(2, 4) if ":" in pattern else None)
        self._pattern = pattern

    def _maybe_update_block_mask(self, weights: tf.Variable) -> tuple[tf.Tensor, tf.Tensor]:
        ((_, mask, _),) = self._pruning_vars
        sparsity = self._pruning_schedule(self._step_fn())[1]
        remaining = tf.cast(kept(weights * mask, sparsity, self._pattern), mask.dtype) * mask
        return tf.zeros((), mask.dtype), remaining
