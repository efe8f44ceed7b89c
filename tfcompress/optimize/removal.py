"""Removal of the attention heads and feed-forward neurons that matter least to the loss.

Importance is the first-order Taylor expansion of the loss with a mask on each head and neuron (Michel et al., arXiv
1905.10650; Molchanov et al., arXiv 1611.06440). The units that stay take over what they can from the others: the matrix
that reads them is fitted again by least squares (He et al., arXiv 1707.06168).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
import tf_keras
from pydantic import Field

from tfcompress.errors import UserError
from tfcompress.models.anatomy import Anatomy
from tfcompress.optimize.least_squares import Array, penalised
from tfcompress.optimize.resizing import resized
from tfcompress.optimize.technique import Context, Technique, copy_model
from tfcompress.progress import track
from tfcompress.traits import Traits

layers = tf_keras.layers

_BATCH = 32


class Remove(Technique):
    """Removes heads from each attention and neurons from each feed-forward pair: smaller Dense layers, a faster file.

    A pair after the last block, such as pooler and head, stays as it is.
    """

    name: ClassVar[str] = "remove"

    heads: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="share of the heads to remove, rounded down; one always stays",
    )
    neurons: float = Field(0.5, ge=0, lt=1, description="share of the neurons to remove, rounded down")
    examples: int = Field(512, ge=1, description="number of validation examples on which importance is measured")

    def check(self, model: tf_keras.Model) -> None:
        parts = _parts(model)
        if not parts:
            raise UserError(
                f"remove: model {model.name} has neither an attention nor a feed-forward pair of Dense layers; choose "
                "a transformer such as those of tfcompress.models"
            )
        if not any(self._removed(part) for part in parts):
            raise UserError(
                f"remove: heads: {self.heads} and neurons: {self.neurons} take nothing out of model {model.name}, "
                f"whose largest part has {max(part.units for part in parts)}; set larger shares"
            )

    @property
    def learns_labels(self) -> bool:
        return True  # Importance is what the loss says.

    def prepare(self, model: tf_keras.Model, context: Context) -> tf_keras.Model:
        parts = [part for part in _parts(model) if self._removed(part)]
        configs: dict[str, dict[str, Any]] = {}
        weights: dict[str, list[Array]] = {}
        for part, seen in zip(parts, _observe(model, parts, context, self.examples), strict=True):
            order = np.argsort(-seen.importance, kind="stable")
            units = np.sort(order[: part.units - self._removed(part)])
            for name in part.before:
                before = model.get_layer(name)
                kept = _features(units, before.units // part.units)
                configs[name] = {"units": len(kept)}
                weights[name] = [w[..., kept] for w in before.get_weights()]
            kept = _features(units, len(seen.mean) // part.units)
            weights[part.after] = _refitted(model.get_layer(part.after), seen, kept)
            if part.attention:
                configs[part.attention] = {"num_heads": len(units)}
        return resized(model, configs, weights)

    def promises(self, model: tf_keras.Model, traits: Traits) -> Traits:
        return {}

    def _removed(self, part: _Part) -> int:
        share = self.heads if part.attention else self.neurons
        return int(part.units * share + 1e-9)  # 0.29 · 100 is 28.999…


@dataclass(frozen=True)
class _Part:
    """Layer names of an attention or a feed-forward pair.

    Attributes:
        before: the Dense layers that lose outputs.
        watched: the layer after them, on whose outputs, grouped by head or neuron, importance is measured.
        after: the Dense layer that loses inputs.
        attention: empty for a feed-forward pair.
        units: number of heads or neurons.
    """

    before: tuple[str, ...]
    watched: str
    after: str
    attention: str
    units: int


@dataclass
class _Statistics:
    """Statistics of a part's features: the importance of each unit, and mean and covariance of the features."""

    importance: Array
    mean: Array
    covariance: Array


def _parts(model: tf_keras.Model) -> list[_Part]:
    anatomy = Anatomy(model)
    parts = [
        _Part((a.query, a.key, a.value), a.attention, a.output, a.attention, model.get_layer(a.attention).num_heads)
        for a in anatomy.attentions
    ]
    for pair in anatomy.feed_forwards:
        if (
            model.get_layer(pair.contract).output.shape.rank > 2
        ):  # Otherwise it reads one vector per example: the pooler.
            parts.append(_Part((pair.expand,), pair.activated, pair.contract, "", model.get_layer(pair.expand).units))
    # A layer whose output is also read elsewhere must keep its size.
    return [p for p in parts if all(len(anatomy.readers(model.get_layer(name))) == 1 for name in p.before)]


def _observe(model: tf_keras.Model, parts: Sequence[_Part], context: Context, examples: int) -> list[_Statistics]:
    copy = copy_model(model)
    copy.trainable = True  # Gradients do not reach a model that is frozen as a whole.
    output = context.objective.joined(copy).output
    watching = tf_keras.Model(copy.inputs, [output, *(copy.get_layer(part.watched).output for part in parts)])
    loss = context.objective.loss_of(model)
    units = [part.units for part in parts]
    step = tf.function(partial(_step, watching, loss, units, Anatomy(model).mask), reduce_retracing=True)
    batches = context.data.examples("validation").take(examples).batch(_BATCH)
    totals: Any = None
    steps = -(-min(examples, context.data.size("validation")) // _BATCH)
    for features, labels in track(batches, "measuring the importance of heads and neurons", steps):
        sums = tf.nest.map_structure(lambda x: x.numpy().astype(np.float64), step(features, labels))
        totals = sums if totals is None else tf.nest.map_structure(np.add, totals, sums)
    return [_statistics(*part) for part in totals]


def _step(
    model: tf_keras.Model, loss: Any, units: Sequence[int], mask: str | None, features: Any, labels: tf.Tensor
) -> list[tuple[tf.Tensor, ...]]:
    """Returns for each part, summed over a batch: importance, number of tokens, features and their products."""
    with tf.GradientTape() as tape:
        output, *states = model(features, training=False)
        total = tf.reduce_sum(loss.call(labels, output))
    sums = []
    for state, gradient, count in zip(states, tape.gradient(total, states), units, strict=True):
        effect = tf.reduce_sum(state * gradient, axis=1)
        by_unit = tf.reduce_sum(tf.reshape(effect, [-1, count, state.shape[-1] // count]), axis=2)
        rows = tf.reshape(state, [-1, state.shape[-1]])
        if mask is not None:
            rows = tf.boolean_mask(state, features[mask] > 0)
        moments = tf.shape(rows)[0], tf.reduce_sum(rows, 0), tf.matmul(rows, rows, transpose_a=True)
        sums.append((tf.reduce_sum(tf.abs(by_unit), 0), *moments))
    return sums


def _statistics(importance: Array, count: Array, total: Array, products: Array) -> _Statistics:
    mean = total / count
    return _Statistics(importance, mean, products / count - np.outer(mean, mean))


def _features(units: Array, size: int) -> Array:
    """Returns the indices of the features that belong to units of `size` features each."""
    places: Array = (units[:, None] * size + np.arange(size)).ravel()
    return places


def _refitted(layer: tf_keras.layers.Dense, seen: _Statistics, kept: Array) -> list[Array]:
    """Returns the kernel and bias on the kept inputs that best reproduce the layer's outputs on all inputs."""
    kernel, *bias = layer.get_weights()
    fitted = np.linalg.solve(penalised(seen.covariance[np.ix_(kept, kept)]), seen.covariance[kept] @ kernel)
    if not bias:
        return [fitted.astype(np.float32)]
    return [fitted.astype(np.float32), (bias[0] + seen.mean @ kernel - seen.mean[kept] @ fitted).astype(np.float32)]
