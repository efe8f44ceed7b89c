"""Keras's own layers that are copied as they are, from Keras 3 or tf_keras, into tf_keras."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError, first_line
from tfcompress.models.activations import equal_activation
from tfcompress.models.layers import CUSTOM_OBJECTS
from tfcompress.models.signature import library

_WITH_KERNEL = {
    "Dense", "EinsumDense", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D",
    "SeparableConv2D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose",
}  # fmt: skip
"""Layers that compute without their activation, which then follows as operations if tf_keras does not know it."""

RECURRENT = {"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional"}

_OTHERS = {
    "Embedding", "BatchNormalization", "LayerNormalization", "GroupNormalization", "UnitNormalization", "Activation",
    "ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum",
    "Concatenate", "Dot", "Flatten", "Reshape", "Permute", "RepeatVector", "Dropout", "GaussianNoise",
    "GaussianDropout", "AlphaDropout", "ActivityRegularization", "MultiHeadAttention", "Attention",
    "AdditiveAttention", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Rescaling", "Normalization", "Resizing",
    "CenterCrop", "RandomBrightness", "RandomContrast", "RandomCrop", "RandomFlip", "RandomRotation",
    "RandomTranslation", "RandomZoom", "RandomHeight", "RandomWidth", "ThresholdedReLU", "LocallyConnected1D",
    "LocallyConnected2D",
}  # fmt: skip
_PER_RANK = {
    "AveragePooling", "MaxPooling", "GlobalAveragePooling", "GlobalMaxPooling", "Cropping", "ZeroPadding",
    "UpSampling", "SpatialDropout",
}  # fmt: skip

_NAMES = {*_WITH_KERNEL, *RECURRENT, *_OTHERS, *(f"{name}{rank}D" for name in _PER_RANK for rank in (1, 2, 3))}

_CELLS = {"LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells"}

_TAKE_MASKS = {*RECURRENT, "BatchNormalization", "MultiHeadAttention"}
"""Layers whose copies honour a mask. Other layers that use one are taken apart if they get one."""

_RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
"""Arguments that tf_keras calls otherwise than Keras 3, by class."""

_BESIDES = {"zero_output_for_mask"}
"""Arguments that tf_keras takes without naming them in a signature."""

_ONLY_AT_FIRST = ("_initializer",)
"""Endings of arguments that do not matter once a layer has weights."""


class NoEqualError(Exception):
    """tf_keras has no layer that computes the same."""


def is_stock(layer: Any, keras: ModuleType, arguments: Mapping[str, Any], masks: Mapping[str, Any]) -> bool:
    """Returns whether a call of a layer can be copied as one call of a tf_keras layer or of our own.

    Args:
        layer: of Keras 3 or tf_keras.
        keras: the library that it belongs to.
        arguments: of the call, by name.
        masks: their implicit masks, by name.
    """
    if type(layer) in CUSTOM_OBJECTS.values():
        return True
    name = type(layer).__name__
    if name not in _NAMES or type(layer) is not getattr(keras.layers, name, None):
        return False
    masked = bool(masks) or arguments.get("mask") is not None
    if masked and "mask" in inspect.signature(layer.call).parameters and name not in _TAKE_MASKS:
        return name == "GlobalAveragePooling1D" and not layer.keepdims and layer.data_format == "channels_last"
    if name == "MultiHeadAttention":
        return _is_plain_attention(layer, arguments)
    if name in RECURRENT:
        return _has_stock_cells(layer, keras)
    if name == "Activation":
        return equal_activation(layer.activation) is not None
    if name in ("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"):
        return not masked
    return True


def _is_plain_attention(layer: Any, arguments: Mapping[str, Any]) -> bool:
    """Returns whether an attention is one over the tokens of `(batch, tokens, width)`, and returns no scores."""
    query, mask = arguments.get("query"), arguments.get("attention_mask")
    axes = layer.get_config().get("attention_axes")
    output = layer.get_config().get("output_shape")
    return (
        axes in (None, 1, (1,), [1])
        and not (isinstance(output, (list, tuple)) and len(output) > 1)
        and not arguments.get("return_attention_scores")
        and getattr(query, "shape", tf.TensorShape(None)).rank == 3
        and (mask is None or (tf.is_tensor(mask) and mask.shape.rank in (2, 3)))
    )


def _has_stock_cells(layer: Any, keras: ModuleType) -> bool:
    if type(layer).__name__ == "Bidirectional":
        return all(
            type(inner).__name__ in RECURRENT
            and type(inner) is getattr(keras.layers, type(inner).__name__)
            and _has_stock_cells(inner, keras)
            for inner in (layer.forward_layer, layer.backward_layer)
        )
    cells = getattr(layer.cell, "cells", [layer.cell])
    known = type(layer).__name__ != "RNN" or all(
        type(cell).__name__ in _CELLS and type(cell) is getattr(keras.layers, type(cell).__name__) for cell in cells
    )
    functions = [getattr(cell, name, None) for cell in cells for name in ("activation", "recurrent_activation")]
    return known and all(equal_activation(function) is not None for function in functions if function is not None)


def expansion(layer: Any, masks: Mapping[str, Any]) -> Callable[..., Any] | None:
    """Returns what a layer computes by means of others, or None if its own code says that well."""
    inner = getattr(layer, "layer", None)
    if type(layer).__name__ != "TimeDistributed" or inner is None:
        return None
    per_token = type(inner).__name__ in ("Dense", "Activation", "Dropout", "ReLU")

    def call(inputs: Any, **options: Any) -> Any:
        options.pop("mask", None)
        if per_token:
            outputs = inner(inputs, **options)
        else:
            outputs = inner(tf.reshape(inputs, [-1, *inputs.shape[2:]]), **options)
            outputs = tf.reshape(outputs, [-1, inputs.shape[1], *outputs.shape[1:]])
        for mask in masks.values():
            outputs._keras_mask = mask
        return outputs

    return call


@contextmanager
def unrolled(layer: Any) -> Iterator[None]:
    """Lets a recurrent layer with a user's own cell, for example, spell its steps out: no loop can be copied."""
    parts = [layer, getattr(layer, "forward_layer", None), getattr(layer, "backward_layer", None)]
    before = {id(part): part.unroll for part in parts if hasattr(part, "unroll")}
    try:
        for part in parts:
            if id(part) in before:
                part.unroll = True
        yield
    finally:
        for part in parts:
            if id(part) in before:
                part.unroll = before[id(part)]


@contextmanager
def activation_apart(layer: Any) -> Iterator[Any]:
    """Yields None, or an activation that tf_keras does not know, without which the layer computes meanwhile."""
    activation = getattr(layer, "activation", None)
    if type(layer).__name__ not in _WITH_KERNEL or activation is None or equal_activation(activation) is not None:
        yield None
        return
    layer.activation = library_of(layer).activations.linear
    try:
        yield activation
    finally:
        layer.activation = activation


def library_of(layer: Any) -> ModuleType:
    """Returns the module `tf_keras` or `keras` that a layer belongs to."""
    return sys.modules["tf_keras" if isinstance(layer, tf_keras.layers.Layer) else "keras"]


@contextmanager
def in_float32(model: Any) -> Iterator[None]:
    """Lets the layers of a model compute in float32 that do not, such as those of a mixed-precision policy.

    Weights and constants of other types that a layer keeps are float32 constants meanwhile.

    Raises:
        UserError: a layer has quantized weights.
    """
    keras = library(model)
    changed: list[tuple[Any, Any]] = []
    for layer in model._flatten_layers():
        policy = layer._dtype_policy
        if getattr(policy, "quantization_mode", None) is not None:
            raise UserError(
                f"layer {layer.name} is quantized ({policy.name}); pass the model from before `model.quantize`"
            )
        if layer.compute_dtype in ("float16", "bfloat16", "float64"):
            changed.append((layer, policy))
    own = tf_keras.mixed_precision.Policy if keras is tf_keras else keras.dtype_policies.DTypePolicy
    weights = [(layer, key, value) for layer, _ in changed for key, value in vars(layer).items() if _is_half(value)]
    try:
        for layer, _ in changed:
            layer._dtype_policy = own("float32")
            _cast(layer, "float32")
        for layer, key, value in weights:
            with tf.init_scope():
                vars(layer)[key] = tf.constant(np.asarray(value), tf.float32)
        yield
    finally:
        for layer, key, value in weights:
            vars(layer)[key] = value
        for layer, policy in changed:
            layer._dtype_policy = policy
            _cast(layer, policy.compute_dtype)


def _is_half(value: Any) -> bool:
    """Returns whether a value is a variable or a tensor of real numbers that are not float32."""
    known = isinstance(value, (tf.Variable, tf.Tensor)) or type(value).__name__ == "Variable"
    return known and tf.as_dtype(value.dtype).is_floating and tf.as_dtype(value.dtype) != tf.float32


def _cast(layer: Any, dtype: str) -> None:
    if hasattr(layer, "_compute_dtype_object"):  # tf_keras casts inputs to this
        layer._compute_dtype_object = tf.as_dtype(dtype)


def copy(layer: Any, name: str) -> tf_keras.layers.Layer:
    """Returns a tf_keras layer that computes the same as a layer, once it is built and has its weights.

    Raises:
        NoEqualError: there is none, or the layer cannot be copied.
    """
    try:
        config = layer.get_config()
        if isinstance(layer, tf_keras.layers.Layer):
            kind, config = type(layer), dict(config)
        else:
            kind, config = _of_keras_3(layer, dict(config))
        activation = getattr(layer, "activation", None)
        if "activation" in config and callable(activation):
            config["activation"] = tf_keras.activations.serialize(
                equal_activation(activation) or tf_keras.activations.linear
            )
        if kind is tf_keras.layers.Embedding:
            config["mask_zero"] = False  # masks are handed on as inputs
        if kind is tf_keras.layers.Normalization:
            config |= {key: np.squeeze(np.asarray(getattr(layer, key))).tolist() for key in ("mean", "variance")}
        if "dtype" in config and not isinstance(config["dtype"], str):
            config["dtype"] = "float32"
        if str(config.get("dtype")) in ("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"):
            config["dtype"] = "float32"
        return kind.from_config({**config, "name": name, "trainable": layer.trainable})
    except (NotImplementedError, TypeError, ValueError, AttributeError) as error:
        raise NoEqualError(first_line(error)) from error


def weights(layer: Any) -> list[Any]:
    """Returns the weights of a layer in the order in which its copy takes them."""
    if type(layer).__name__ == "Normalization":
        return []
    return [np.asarray(weight) for weight in layer.weights]


def _of_keras_3(layer: Any, config: dict[str, Any]) -> tuple[type, dict[str, Any]]:
    """Returns the tf_keras class of a Keras 3 layer, and the layer's configuration as that class takes it."""
    name = type(layer).__name__
    kind = getattr(tf_keras.layers, name)
    for old, new in _RENAMED.get(name, {}).items():
        config[new] = config.pop(old)
    accepted = _parameters(kind)
    defaults = _parameters(type(layer))
    kept: dict[str, Any] = {}
    for key, value in config.items():
        if key.endswith(_ONLY_AT_FIRST) or key in ("seed", "dtype", "name", "trainable", "build_config"):
            continue
        if key.endswith(("_regularizer", "_constraint")):
            value = _same_named(tf_keras.regularizers if "_reg" in key else tf_keras.constraints, getattr(layer, key))
        elif key in ("layer", "backward_layer", "cell"):
            inner = getattr(layer, {"layer": "forward_layer"}.get(key, key))
            value = None if inner is None else _serialized(copy(inner, inner.name))
        elif key == "cells":
            value = [_serialized(copy(cell, cell.name)) for cell in layer.cells]
        elif key == "recurrent_activation":
            value = tf_keras.activations.serialize(equal_activation(layer.recurrent_activation))
        if key in accepted or key in _BESIDES:
            kept[key] = value
        elif value not in (None, defaults.get(key), "channels_last", False):
            raise NoEqualError(f"tf_keras knows no {key}={value!r}")
    return kind, kept


def _serialized(layer: tf_keras.layers.Layer) -> dict[str, Any]:
    config: dict[str, Any] = tf_keras.layers.serialize(layer)
    return config


def _same_named(module: ModuleType, used: Any) -> Any:
    """Returns the regularizer or constraint of tf_keras of the same name and settings, or None."""
    found = None if used is None else getattr(module, type(used).__name__, None)
    return None if found is None else found(**used.get_config())


def _parameters(kind: type) -> dict[str, Any]:
    """Returns the parameters of a class and its bases with their defaults."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if "__init__" in vars(base):
            for parameter in inspect.signature(vars(base)["__init__"]).parameters.values():
                found.setdefault(parameter.name, parameter.default)
    return found
