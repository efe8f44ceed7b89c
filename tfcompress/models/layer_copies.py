"""Copies of single layers: what they become in tf_keras so that techniques can treat them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.models import stock
from tfcompress.models.activations import equal_activation
from tfcompress.models.attention_copy import AttentionCopy
from tfcompress.models.expand import Call
from tfcompress.models.layers import MeanOfTokens
from tfcompress.models.modes import TrainingSide
from tfcompress.models.operations import ByMode, Masked
from tfcompress.models.rule import Rule, call_with_weights
from tfcompress.models.vit import cutters

if TYPE_CHECKING:
    from tfcompress.models.emission import Builder

layers = tf_keras.layers


class LayerCopy(Protocol):
    """What replaces a layer; the same for all its calls."""

    def call(self, call: Call) -> Rule:
        """Returns what replaces one call."""


def copy_of(builder: Builder, call: Call) -> LayerCopy:
    """Returns what replaces the layer of a call.

    Raises:
        NoEqualError: tf_keras has no equal.
    """
    layer = call.layer
    if isinstance(layer, TrainingSide):
        return _BothModes(ByMode(builder.part(layer.trace), len(call.outputs), name=builder.name(layer.name)))
    name, kind = builder.name_of(layer, call.path), type(layer).__name__
    if kind == "MultiHeadAttention":
        return AttentionCopy(builder, layer, name)
    if kind == "Conv2D" and _cuts_patches(layer, builder.probe.shape(call.inputs[0])):
        return _Chain(_patch_layers(builder, layer, name, builder.probe.shape(call.inputs[0])))
    if kind == "Dense" and equal_activation(layer.activation) is tf_keras.activations.softmax:
        dense = stock.copy(layer, name)
        dense.activation = tf_keras.activations.linear
        softmax = layers.Activation("softmax", name=builder.name(f"{name}_softmax"))
        return _Chain([(dense, stock.weights(layer)), (softmax, [])])
    if kind == "EinsumDense":
        chain = _dense_of_einsum(builder, layer, name, builder.probe.shape(call.inputs[0]))
        if chain is not None:
            return _Chain(chain)
    if kind == "GlobalAveragePooling1D" and _mask(call) is not None:
        return _MaskedMean(MeanOfTokens(name=name))
    if kind in stock.RECURRENT:
        return _Recurrent(stock.copy(layer, name), stock.weights(layer))
    return _Chain([(stock.copy(layer, name), stock.weights(layer))])


class _Chain:
    """Layers that are called one after the other."""

    def __init__(self, parts: Sequence[tuple[tf_keras.layers.Layer, list[Any]]]) -> None:
        self._parts = parts

    def call(self, call: Call) -> Rule:
        first = _first(call)
        inputs = tf.nest.flatten(first)

        def make(tensors: list[Any]) -> Any:
            x = tf.nest.pack_sequence_as(first, tensors)
            for layer, weights in self._parts:
                x = call_with_weights(layer, weights, x, call.training)
            return x

        return inputs, make


class _BothModes:
    """Has one call."""

    def __init__(self, layer: ByMode) -> None:
        self._layer = layer

    def call(self, call: Call) -> Rule:
        return [*call.arguments["inference"], *call.arguments["given"]], self._layer


class _MaskedMean:
    def __init__(self, layer: MeanOfTokens) -> None:
        self._layer = layer

    def call(self, call: Call) -> Rule:
        mask = _mask(call)
        assert mask is not None
        return [_first(call), mask], lambda tensors: self._layer(tensors)


class _Recurrent:
    """A recurrent layer, within a `Masked` one for the calls that have a mask."""

    def __init__(self, layer: tf_keras.layers.Layer, weights: list[Any]) -> None:
        self._layer, self._weights = layer, weights
        self._masked: Masked | None = None

    def call(self, call: Call) -> Rule:
        mask, states = _mask(call), tf.nest.flatten(call.arguments.get("initial_state", []))
        inputs = [_first(call), *([] if mask is None else [mask]), *states]

        def make(tensors: list[Any]) -> Any:
            if mask is None:
                inputs = tensors if states else tensors[0]
                return call_with_weights(self._layer, self._weights, inputs, call.training)
            if self._masked is None:
                name = self._layer.name
                self._layer._name = f"{name}_recurrent"
                self._masked = Masked(self._layer, name=name)
            return call_with_weights(self._masked, self._weights, tensors, call.training)

        return inputs, make


def _first(call: Call) -> Any:
    """Returns the layer's input, a tensor or a structure of tensors."""
    return next(value for value in call.arguments.values() if any(map(tf.is_tensor, tf.nest.flatten(value))))


def _mask(call: Call) -> tf.Tensor | None:
    """Returns the mask of a layer's input that it was passed, or that came with the input."""
    given = call.arguments.get("mask")
    return given if tf.is_tensor(given) else next(iter(call.masks.values()), None)


def _cuts_patches(layer: Any, image: tuple[int | None, ...]) -> bool:
    """Returns whether the windows of a convolution cover the image without overlap."""
    patch = layer.kernel_size[0]
    return bool(
        patch > 1
        and tuple(layer.kernel_size) == tuple(layer.strides) == (patch, patch)
        and tuple(layer.dilation_rate) == (1, 1)
        and layer.groups == 1
        and layer.data_format == "channels_last"
        and equal_activation(layer.activation) is tf_keras.activations.linear
        and None not in image[1:3]
        and (image[1] or 0) % patch == (image[2] or 0) % patch == 0
    )


def _patch_layers(
    builder: Builder, layer: Any, name: str, image: tuple[Any, ...]
) -> list[tuple[tf_keras.layers.Layer, list[Any]]]:
    """Returns layers that cut patches and embed each by a Dense layer, as `models.vit.patchify` does."""
    patch, width = layer.kernel_size[0], layer.filters
    cut = cutters(image, patch, lambda part: builder.name(f"{name}_{part}"))
    kernel, *bias = stock.weights(layer)
    dense = layers.Dense(width, use_bias=layer.use_bias, name=name, trainable=layer.trainable)
    grid = layers.Reshape((image[1] // patch, image[2] // patch, width), name=builder.name(f"{name}_grid"))
    return [*((part, []) for part in cut), (dense, [kernel.reshape(-1, width), *bias]), (grid, [])]


def _dense_of_einsum(
    builder: Builder, layer: Any, name: str, shape: tuple[int | None, ...]
) -> list[tuple[tf_keras.layers.Layer, list[Any]]] | None:
    """Returns a Dense layer between reshapes for an EinsumDense that multiplies the last axes by a matrix, or None."""
    kernel, *bias = stock.weights(layer)
    equation = layer.equation.replace(" ", "").replace("...", "")
    if "..." in layer.equation and layer.equation.count("...") != 2:
        return None
    (left, right), result = equation.partition("->")[0].split(","), equation.partition("->")[2]
    summed = [axis for axis in right if axis not in result]
    count = len(summed)
    kept = right[count:]
    before = left[: len(left) - count]
    if not count or right[:count] != left[len(left) - count :] or result != before + kept or set(before) & set(right):
        return None
    inner, outer = kernel.shape[:count], kernel.shape[count:]
    if bias and bias[0].shape != outer:
        return None
    width = int(np.prod(outer))
    activation = tf_keras.activations.serialize(equal_activation(layer.activation))
    dense = layers.Dense(width, activation, use_bias=bool(bias), name=name, trainable=layer.trainable)
    weights = [kernel.reshape(-1, width), *(b.reshape(-1) for b in bias)]
    chain = [(dense, weights)]
    free = [side for side in shape[1 : len(shape) - count] if side is not None]
    if count > 1:
        joined = (*free, int(np.prod(inner)))
        chain.insert(0, (layers.Reshape(joined, name=builder.name(f"{name}_join")), []))
    if len(outer) != 1:
        chain.append((layers.Reshape((*free, *outer), name=builder.name(f"{name}_split")), []))
    return chain
