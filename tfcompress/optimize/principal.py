"""The half of a teacher that a halved student keeps: directions of its stream, heads or parts of heads, and neurons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.anatomy import Anatomy, Attention
from tfcompress.optimize.least_squares import Array

Moments = dict[str, tuple[Array, Array]]
"""By layer name, the mean of the layer's output features and their covariance, or for neurons their variance."""


class Kept:
    """What the student keeps, decided from the teacher's moments.

    Attributes:
        basis: maps the teacher's stream to the student's, `(width, width / 2)`.
        mean: of the teacher's stream, `(width,)` by layer name.
        heads: by the attention's name, the three maps `(width, width / 2)` from its query, key and value to the
            student's.
        neurons: by the name of a feed-forward's first layer, the indices of the neurons that stay.
    """

    def __init__(self, anatomy: Anatomy, moments: Moments) -> None:
        model, stream = anatomy.model, anatomy.stream
        self.basis = _basis([moments[name] for name in stream], centred=not anatomy.post_norm)
        self.mean = {name: moments[name][0] for name in stream}
        self.heads = {part.attention: _head_maps(model, part, moments) for part in anatomy.attentions}
        self.neurons: dict[str, npt.NDArray[np.intp]] = {}
        for pair in anatomy.feed_forwards:
            strength = moments[pair.activated][1] * (model.get_layer(pair.contract).kernel.numpy() ** 2).sum(1)
            self.neurons[pair.expand] = np.sort(np.argsort(-strength)[: len(strength) // 2])


def moments(
    anatomy: Anatomy, inputs: dict[str, Array], chunks: Sequence[slice], rows: Callable[[Array, slice], Array]
) -> Moments:
    """Measures the moments of a teacher's states over examples, in chunks; `rows` drops padding."""
    parts = anatomy.attentions
    full = {*anatomy.stream, *(x for part in parts for x in (part.query, part.key, part.value, part.attention))}
    wanted = full | {pair.activated for pair in anatomy.feed_forwards}
    model = anatomy.model
    watch = tf_keras.Model(model.inputs, {name: model.get_layer(name).output for name in wanted})
    count: dict[str, int] = dict.fromkeys(wanted, 0)
    sums: dict[str, Any] = dict.fromkeys(wanted, 0.0)
    squares: dict[str, Any] = dict.fromkeys(wanted, 0.0)
    for chunk in chunks:
        for name, value in watch([inputs[x][chunk] for x in model.input_names], training=False).items():
            x = rows(value.numpy(), chunk)
            count[name] += len(x)
            sums[name] = sums[name] + x.sum(0, dtype=np.float64)
            squares[name] = squares[name] + (x.T @ x if name in full else (x * x).sum(0, dtype=np.float64))
    found = {}
    for name in wanted:
        mean = sums[name] / count[name]
        spread = np.outer(mean, mean) if name in full else mean**2
        found[name] = (mean, squares[name] / count[name] - spread)
    return found


def _basis(moments: Sequence[tuple[Array, Array]], centred: bool) -> Array:
    """Returns the student's basis `(width, width / 2)`: orthonormal columns that keep most of the stream's variance.

    They are orthogonal to the student's all-ones direction, which the centring of LayerNorm removes, so there is one
    component fewer than features.
    """
    width = len(moments[0][0])
    total = np.zeros((width, width))
    for mean, covariance in moments:
        spread = covariance + (np.outer(mean, mean) if centred else 0)
        total += spread / np.trace(spread)
    if centred:
        centring = np.eye(width) - 1.0 / width
        total = centring @ total @ centring
    components = np.linalg.eigh(total)[1][:, ::-1][:, : width // 2 - 1]
    ones = np.ones((width // 2, 1))
    across = np.linalg.qr(np.hstack([ones, np.eye(width // 2)[:, 1:]]))[0][:, 1:]
    basis: Array = components @ across.T
    return basis


def _head_maps(model: tf_keras.Model, part: Attention, moments: Moments) -> tuple[Array, Array, Array]:
    """Returns the maps from the teacher's query, key and value `(…, width)` to the student's `(…, width / 2)`."""
    heads = model.get_layer(part.attention).num_heads
    output = model.get_layer(part.output).kernel.numpy()
    size = len(output) // heads
    blocks = [slice(head * size, (head + 1) * size) for head in range(heads)]
    if heads % 2 == 0:
        covariance = moments[part.attention][1]
        energy = [np.trace(output[block].T @ covariance[block, block] @ output[block]) for block in blocks]
        kept = np.sort(np.argsort(energy)[::-1][: heads // 2])
        pick = np.eye(len(output), dtype=np.float32)[:, np.concatenate([np.r_[blocks[head]] for head in kept])]
        return pick, pick, pick
    if size % 2:
        raise UserError(f"halve: {part.attention} has {heads} heads of {size} features; neither number is even")
    maps = [np.zeros((len(output), len(output) // 2), np.float32) for _ in range(3)]
    for head, block in enumerate(blocks):
        place = (block, slice(head * size // 2, (head + 1) * size // 2))
        of_query, of_key, of_value = (_root(moments[name], block) for name in (part.query, part.key, part.value))
        # Balanced truncation: keep the half of the directions that carries most of query · key.
        left, strength, right = np.linalg.svd(of_query.T @ of_key)
        half = slice(0, size // 2)
        scale = strength[half] ** -0.5
        maps[0][place] = of_key @ right.T[:, half] * scale * 0.5**0.5  # √d in attention's divisor shrinks by √2.
        maps[1][place] = of_query @ left[:, half] * scale
        carried = np.linalg.svd(of_value.T @ output[block])[0][:, half]
        maps[2][place] = np.linalg.solve(of_value.T, carried)
    return maps[0], maps[1], maps[2]


def _root(moments: tuple[Array, Array], block: slice) -> Array:
    """Returns the L in L Lᵀ = E[x xᵀ] for some of the features."""
    mean, covariance = moments[0][block], moments[1][block, block]
    second = covariance + np.outer(mean, mean)
    size = len(second)
    root: Array = np.linalg.cholesky(second + np.eye(size) * (1e-6 * np.trace(second) / size + 1e-12))
    return root
