"""Halving: a transformer with half the width and half the heads, whose weights are derived from the whole one.

The idea of half the embedding and half the heads is arXiv 2501.00042's, which trains from random weights. Here the
student's states are the teacher's principal components. Layer after layer, each matrix is the least-squares fit on the
student's own states, so that later layers compensate for what earlier ones lost.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import tf_keras
from pydantic import Field

from tfcompress.errors import UserError
from tfcompress.models.anatomy import Anatomy, run_node
from tfcompress.models.layers import ClassToken, PositionEmbedding, ScaledDotProductAttention
from tfcompress.optimize.least_squares import Array, Ridge
from tfcompress.optimize.principal import Kept, moments
from tfcompress.optimize.technique import Context, Technique
from tfcompress.progress import bar
from tfcompress.traits import Traits

layers = tf_keras.layers

_MAX_TOKENS = 65_536
"""Enough for the widest matrices here, and few enough for a laptop's memory."""
_SCALES = (0.8, 1.0, 1.2, 1.5, 2.0)
_CHUNK = 128


class Halve(Technique):
    """Half the width, half the heads and half the feed-forward width, with weights derived from the whole model.

    It takes encoders in the design of this package (attention as four Dense layers around one without weights,
    residuals, LayerNorm before or after), such as `bert`, `vit`, or a user's own after `as_functional`. If the number
    of heads is odd, all heads stay and each is halved.
    """

    name: ClassVar[str] = "halve"

    examples: int = Field(
        1500, ge=16, description="number of unlabelled training examples that the weights are fitted on"
    )

    def check(self, model: tf_keras.Model) -> None:
        if len(model.outputs) > 1:
            raise UserError(
                f"halve: model {model.name} has {len(model.outputs)} outputs, and halve takes one; leave it out"
            )
        _Roles(Anatomy(model))

    def prepare(self, model: tf_keras.Model, context: Context) -> tf_keras.Model:
        roles = _Roles(Anatomy(model))
        tokens = model.get_layer(roles.anatomy.stream[0]).output_shape[1]
        examples = context.data.sample(min(self.examples, max(16, _MAX_TOKENS // tokens)), context.seed)
        inputs = examples if isinstance(examples, dict) else {model.input_names[0]: examples}
        return _Fit(roles, {name: inputs[name] for name in model.input_names}).student()

    def promises(self, model: tf_keras.Model, traits: Traits) -> Traits:
        return {}


class _Roles:
    """The role of each layer in halving, by its name.

    Attributes:
        halved: layers whose last axis is halved.
        projections: for each query, key and value layer, its attention and which of the three it is.
        embedding_norm: the LayerNormalization before a post-norm stream; None in a pre-norm model.
    """

    def __init__(self, anatomy: Anatomy) -> None:
        model = anatomy.model
        self.anatomy = anatomy
        self.output = model.output_names[0]
        self.writers = {writer.dense: writer for writer in anatomy.writers}
        self.expand = {pair.expand for pair in anatomy.feed_forwards}
        self.projections = {
            name: (part.attention, place)
            for part in anatomy.attentions
            for place, name in enumerate((part.query, part.key, part.value))
        }
        entry = model.get_layer(anatomy.stream[0])
        width = entry.output_shape[-1]
        if width % 2:
            raise UserError(
                f"halve: model {model.name} is {width} wide, an odd number, so it cannot be halved; "
                "choose a model of even width"
            )
        if len({writer.norm is None for writer in anatomy.writers}) > 1:
            raise UserError(
                f"halve: the blocks of model {model.name} end in a LayerNormalization, but they begin with "
                f"{entry.name}, a {type(entry).__name__}; choose a model whose embeddings end in one too"
            )
        while isinstance(entry, layers.Dropout):
            entry = anatomy.sources(entry)[0]
        self.embedding_norm = entry.name if isinstance(entry, layers.LayerNormalization) else None
        self.halved = self._halved()

    def _halved(self) -> set[str]:
        halved: set[str] = set()
        for node in self.anatomy.nodes:
            layer = node.layer
            known = (layers.Dense, layers.Embedding, PositionEmbedding, ClassToken, layers.LayerNormalization)
            if layer.weights and type(layer) not in known:
                raise UserError(f"halve: layer {layer.name} is a {type(layer).__name__}, which it cannot halve")
            reads_halved = any(source.name in halved for source in self.anatomy.sources(layer))
            if reads_halved or type(layer) in (layers.Dense, layers.Embedding):
                halved.add(layer.name)
        return halved - {self.output}


class _Fit:
    """Fits the student layer by layer, running it beside the teacher on the same examples."""

    def __init__(self, roles: _Roles, inputs: dict[str, Array]) -> None:
        self.roles, self.inputs = roles, inputs
        self.anatomy, self.model = roles.anatomy, roles.anatomy.model
        self.copy = tf_keras.models.clone_model(self.model, clone_function=self._half)
        self.copy._name = f"{self.model.name}_half"
        self.mask = inputs[self.anatomy.mask] > 0 if self.anatomy.mask else None
        self.teacher: dict[str, Array] = dict(inputs)
        self.own: dict[str, Array] = dict(inputs)

    def student(self) -> tf_keras.Model:
        """Returns the fitted student."""
        nodes = self.anatomy.nodes
        with bar("halving", 2 * len(nodes)) as shown:
            self.kept = Kept(self.anatomy, moments(self.anatomy, self.inputs, self._chunks(), self._rows))
            shown.advance(len(nodes))
            for position, node in enumerate(nodes):
                self._run_teacher(node.layer.name)
                layer = self.copy.get_layer(node.layer.name)
                self._fit_layer(node.layer, layer)
                self.own[layer.name] = self._run(node, self.own, layer)
                self._release(position)
                shown.advance()
        return self.copy

    def _half(self, layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        config = layer.get_config()
        if layer.name in self.roles.halved:
            if type(layer) is layers.Dense:
                config["units"] //= 2
            elif type(layer) is layers.Embedding:
                config["output_dim"] //= 2
            elif type(layer) is ScaledDotProductAttention and config["num_heads"] % 2 == 0:
                config["num_heads"] //= 2
            elif type(layer) is layers.Reshape:
                config["target_shape"] = (*config["target_shape"][:-1], config["target_shape"][-1] // 2)
        return type(layer).from_config(config)

    # The fitting of one layer.

    def _fit_layer(self, source: tf_keras.layers.Layer, layer: tf_keras.layers.Layer) -> None:
        name, roles = layer.name, self.roles
        if not layer.weights:
            return
        if name in roles.writers:
            self._fit_writer(layer)
        elif name in roles.projections:
            attention, place = roles.projections[name]
            _set(layer, *self._ridge(layer)(self._of_teacher(name) @ self.kept.heads[attention][place]))
        elif name in roles.expand or name == roles.output:
            kernel, bias = _kernel_and_bias(source)
            keep = self.kept.neurons.get(name, np.arange(len(bias)))
            before = self._of_teacher(
                self.anatomy.sources(source)[0].name
            )  # The target must not include its activation.
            _set(layer, *self._ridge(layer)(before @ kernel[:, keep] + bias[keep]))
        elif isinstance(layer, layers.LayerNormalization):
            if name in self.kept.mean or name == roles.embedding_norm:
                gamma, beta = _gain(_normalized(self._own_input(layer)), self._target(name))
                layer.set_weights([gamma, beta])
        else:  # The layers that start the stream are projected, because the stream sums their outputs first.
            layer.set_weights([_project(w, self._entry_map()) for w in source.get_weights()])

    def _ridge(self, layer: tf_keras.layers.Layer) -> Ridge:
        return Ridge(self._own_input(layer))

    def _fit_writer(self, layer: tf_keras.layers.Layer) -> None:
        """Fits what is added to the stream so that the sum is right, including the error that the stream had before."""
        writer = self.roles.writers[layer.name]
        features = self._own_input(layer)
        residual = self._rows(self.own[writer.residual])
        self._run_teacher(writer.norm or writer.add)
        target = self._target(writer.norm or writer.add)
        if writer.norm is None:
            _set(layer, *Ridge(features)(target - residual))
            return
        # LayerNorm removes the scale of the sum, which can therefore be chosen: the best of a few.
        deviation = target.std(-1, keepdims=True)
        wanted = target / deviation * deviation.mean()
        solve = Ridge(features)
        (kernel_w, bias_w), (kernel_r, bias_r) = solve(wanted), solve(residual)
        best = np.inf
        for scale in _SCALES:
            kernel, bias = scale * kernel_w - kernel_r, scale * bias_w - bias_r
            normalized = _normalized(residual + features @ kernel + bias)
            gamma, beta = _gain(normalized, target)
            error = float(((normalized * gamma + beta - target) ** 2).sum())
            if error < best:
                best = error
                _set(layer, kernel, bias)

    def _entry_map(self) -> Array:
        if self.roles.embedding_norm is None:
            return self.kept.basis
        # The LayerNorm that follows centres the features and scales them by gamma; the projection must come after that.
        gamma = self.model.get_layer(self.roles.embedding_norm).gamma.numpy()
        centring = np.eye(len(gamma)) - 1.0 / len(gamma)
        projected: Array = (centring * gamma) @ self.kept.basis
        return projected

    def _target(self, name: str) -> Array:
        """Returns the wanted stream of the student after a layer: the teacher's principal components."""
        value = self._of_teacher(name)
        if self.anatomy.post_norm:
            # A Dropout may follow the first norm.
            stream = name if name in self.kept.mean else self.anatomy.stream[0]
            value = value - self.kept.mean[stream].astype(np.float32)
        return value @ self.kept.basis.astype(np.float32)

    # Values, one row per token.

    def _of_teacher(self, name: str) -> Array:
        return self._rows(self.teacher[name])

    def _own_input(self, layer: tf_keras.layers.Layer) -> Array:
        return self._rows(self.own[self.anatomy.sources(layer)[0].name])

    def _rows(self, value: Array, chunk: slice = slice(None)) -> Array:
        if value.ndim == 2:
            return value
        return value[self.mask[chunk]] if self.mask is not None else value.reshape(-1, value.shape[-1])

    def _chunks(self) -> list[slice]:
        total = len(next(iter(self.inputs.values())))
        return [slice(start, start + _CHUNK) for start in range(0, total, _CHUNK)]

    def _run_teacher(self, until: str) -> None:
        for node in self.anatomy.nodes:
            if until in self.teacher:
                return
            if node.layer.name not in self.teacher:
                self.teacher[node.layer.name] = self._run(node, self.teacher, node.layer)

    def _run(self, node: Any, values: dict[str, Array], layer: tf_keras.layers.Layer) -> Array:
        needed = [source.name for source in self.anatomy.sources(node.layer)]
        parts = [run_node(node, {n: values[n][chunk] for n in needed}, layer).numpy() for chunk in self._chunks()]
        return np.concatenate(parts)

    def _release(self, position: int) -> None:
        """Drops the values that no later layer reads; an empty array then marks them as computed."""
        later = {s.name for node in self.anatomy.nodes[position + 1 :] for s in self.anatomy.sources(node.layer)}
        for node in self.anatomy.nodes[: position + 1]:
            if node.layer.name not in later:
                self.teacher[node.layer.name] = self.own[node.layer.name] = np.empty(0)


def _normalized(x: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    normalized: Array = centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-12)
    return normalized


def _gain(normalized: Array, target: Array) -> tuple[Array, Array]:
    """Fits gamma and beta of a LayerNorm for each feature."""
    mean, wanted = normalized.mean(0), target.mean(0)
    centred = normalized - mean
    gamma = (centred * (target - wanted)).sum(0) / ((centred * centred).sum(0) + 1e-12)
    return gamma, wanted - mean * gamma


def _project(weights: Array, matrix: Array) -> Array:
    return (weights @ matrix).astype(np.float32)


def _kernel_and_bias(layer: tf_keras.layers.Dense) -> tuple[Array, Array]:
    kernel, *bias = layer.get_weights()
    return kernel, bias[0] if bias else np.zeros(kernel.shape[-1], np.float32)


def _set(layer: tf_keras.layers.Dense, kernel: Array, bias: Array) -> None:
    layer.set_weights([kernel, bias] if layer.use_bias else [kernel])
