"""Rewrites a user's own tf_keras model so that every technique can handle it, with the same outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras
from tf_keras.src.engine.keras_tensor import KerasTensor

from tfcompress.errors import UserError, first_line
from tfcompress.models.layers import MaskBias, ScaledDotProductAttention
from tfcompress.models.vit import patchify

layers = tf_keras.layers

FloatArray = npt.NDArray[np.float32]

_HOW_TO_USE_KERAS_2 = (
    "build it with tf_keras, or set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported, which makes tf.keras Keras 2"
)
_TOLERANCE = 1e-4
"""Largest accepted difference between the outputs of a model and its copy, relative to the largest output."""

Call = Callable[..., KerasTensor]
"""Applies a layer, or the layers that replace it, to symbolic inputs."""


def as_functional(model: object) -> tf_keras.Model:
    """Returns a functional copy of a tf_keras model with its attention and patch embedding rewritten.

    A `MultiHeadAttention` becomes Dense query, key, value and output projections and a `ScaledDotProductAttention`; a
    Conv2D that cuts an image into patches becomes a Dense layer on patches; the softmax of a Dense layer becomes a
    separate layer. The copy has the same weights, and its outputs are compared with the original's on one input. The
    original is not modified.

    Raises:
        UserError: if the model is not a tf_keras model, is neither functional nor sequential, contains another model,
            has more than one output or a variable input shape, does not compute in float32, has a layer that cannot be
            copied, or uses attention in an unsupported way.
    """
    source = _checked(model)
    tensors = {id(x): tf_keras.Input(x.shape[1:], name=x.node.layer.name, dtype=x.dtype) for x in source.inputs}
    rewritten: dict[str, Call] = {}
    for depth in sorted(source._nodes_by_depth, reverse=True):
        for node in source._nodes_by_depth[depth]:
            if node.is_input:
                continue
            args, kwargs = tf.nest.map_structure(
                lambda value: tensors.get(id(value), value), (tuple(node.call_args), dict(node.call_kwargs))
            )
            if node.layer.name not in rewritten:
                rewritten[node.layer.name] = _rewrite(node.layer, args)
            call = rewritten[node.layer.name]
            outputs = call(*args, **kwargs)
            for old, new in zip(tf.nest.flatten(node.outputs), tf.nest.flatten(outputs), strict=True):
                tensors[id(old)] = new
    copy = tf_keras.Model([tensors[id(x)] for x in source.inputs], tensors[id(source.outputs[0])], name=source.name)
    _check_same_outputs(source, copy)
    return copy


def _checked(model: object) -> tf_keras.Model:
    """Returns the model, or raises a `UserError` if it is of a kind that cannot be rewritten."""
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if any(base.__module__.partition(".")[0] == "keras" for base in type(model).__mro__):
        raise UserError(f"the model is a {kind}, which is Keras 3; tfmot needs Keras 2: {_HOW_TO_USE_KERAS_2}")
    if not isinstance(model, tf_keras.Model):
        raise UserError(f"the model is a {kind}; pass a functional tf_keras model")
    if not (model._is_graph_network and model.inputs):
        raise UserError(
            f"the model is a {kind}, a subclassed or unbuilt model, whose layers cannot be replaced; connect its "
            "layers with tf_keras.Input and tf_keras.Model(inputs, outputs)"
        )
    if len(model.outputs) != 1:
        raise UserError(f"the model has {len(model.outputs)} outputs; it must have one, of shape (batch, classes)")
    for x in model.inputs:
        if None in x.shape[1:]:
            raise UserError(
                f"input {x.node.layer.name} has shape {tuple(x.shape)}; all dimensions but the batch must be fixed"
            )
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.InputLayer):
            continue
        if isinstance(layer, tf_keras.Model):
            raise UserError(f"layer {layer.name} is itself a model; call its layers in the outer model instead")
        if layer.compute_dtype not in ("float32", "int32", "int64", "bool", "string", None):
            raise UserError(
                f"layer {layer.name} computes in {layer.compute_dtype}; tfmot needs float32; build the model without "
                "mixed precision"
            )
    return model


def _rewrite(layer: tf_keras.layers.Layer, args: tuple[KerasTensor, ...]) -> Call:
    """Returns the replacement of a layer, which takes the same arguments and has the same weights."""
    if isinstance(layer, layers.MultiHeadAttention):
        return _attention(layer)
    if type(layer) is layers.Conv2D and _cuts_patches(layer, args[0]):
        return _patch_embedding(layer)
    if type(layer) is layers.Dense and layer.activation is tf_keras.activations.softmax:
        dense = layers.Dense.from_config({**layer.get_config(), "activation": "linear"})
        softmax = layers.Activation("softmax", name=f"{layer.name}_softmax")
        return lambda x: softmax(_with_weights(dense, layer.get_weights(), x))
    try:
        copy = type(layer).from_config(layer.get_config())
    except (NotImplementedError, TypeError, ValueError) as error:
        raise UserError(
            f"layer {layer.name} ({type(layer).__name__}) cannot be copied: {first_line(error)}; give it a "
            "get_config that returns its constructor's arguments, and register its class and functions with Keras"
        ) from error
    return lambda *inputs, **options: _with_weights(copy, layer.get_weights(), *inputs, **options)


def _with_weights(
    layer: tf_keras.layers.Layer, weights: Sequence[FloatArray], *args: KerasTensor, **kwargs: object
) -> KerasTensor:
    """Calls a layer, which builds it, and then sets its weights."""
    outputs = layer(*args, **kwargs)
    layer.set_weights(weights)
    return outputs


def _attention(layer: tf_keras.layers.MultiHeadAttention) -> Call:
    config, name = layer.get_config(), layer.name
    if config["attention_axes"] not in (None, (1,), [1]) or isinstance(config["output_shape"], (list, tuple)):
        raise UserError(f"attention {name} works on more than one axis; use inputs of shape (batch, tokens, width)")
    weights = {"/".join(w.name.split(":")[0].split("/")[-2:]): w.numpy() for w in layer.weights}

    def projection(part: str) -> Call:
        stored_as = "attention_output" if part == "output" else part
        kernel, bias = weights[f"{stored_as}/kernel"], weights.get(f"{stored_as}/bias")
        # Keras stores (width, heads, size) for query, key and value, but (heads, size, width) for the output.
        matrix = kernel.reshape(-1, kernel.shape[-1]) if part == "output" else kernel.reshape(len(kernel), -1)
        dense = layers.Dense(
            matrix.shape[1], use_bias=bias is not None, name=f"{name}_{part}", trainable=layer.trainable
        )
        return lambda x: _with_weights(dense, [matrix] if bias is None else [matrix, bias.reshape(-1)], x)

    query_of, key_of, value_of, output_of = (projection(part) for part in ("query", "key", "value", "output"))
    heads = ScaledDotProductAttention(config["num_heads"], config["dropout"], name=f"{name}_attention")
    mask_bias = MaskBias(name=f"{name}_mask_bias")

    def call(
        query: KerasTensor,
        value: KerasTensor,
        key: KerasTensor | None = None,
        attention_mask: KerasTensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> KerasTensor:
        implicit = getattr(query, "_keras_mask", None) is not None
        for used, what in (
            (return_attention_scores, "returns its attention scores"),
            (use_causal_mask, "uses a causal mask"),
            (implicit, "takes a mask from an Embedding's mask_zero"),
        ):
            if used:
                raise UserError(f"attention {name} {what}, which is not supported; pass attention_mask instead")
        inputs = [query_of(query), key_of(value if key is None else key), value_of(value)]
        if attention_mask is not None:
            inputs.append(mask_bias(attention_mask))
        return output_of(heads(inputs))

    return call


def _cuts_patches(layer: tf_keras.layers.Conv2D, image: KerasTensor) -> bool:
    """Returns whether the windows of a convolution cover the image without overlap."""
    patch = layer.kernel_size[0]
    return bool(
        patch > 1
        and layer.kernel_size == layer.strides == (patch, patch)
        and layer.dilation_rate == (1, 1)
        and layer.groups == 1
        and layer.data_format == "channels_last"
        and layer.activation is tf_keras.activations.linear
        and None not in image.shape[1:3]
        and image.shape[1] % patch == image.shape[2] % patch == 0
    )


def _patch_embedding(layer: tf_keras.layers.Conv2D) -> Call:
    def call(image: KerasTensor) -> KerasTensor:
        patch, width = layer.kernel_size[0], layer.filters
        embedded = patchify(image, patch, width, layer.name, use_bias=layer.use_bias)
        kernel, *bias = layer.get_weights()
        dense = embedded.node.layer
        dense.set_weights([kernel.reshape(-1, width), *bias])
        dense.trainable = layer.trainable
        grid = (image.shape[1] // patch, image.shape[2] // patch, width)
        return layers.Reshape(grid, name=f"{layer.name}_grid")(embedded)

    return call


def _check_same_outputs(model: tf_keras.Model, copy: tf_keras.Model) -> None:
    rng = np.random.default_rng(0)

    def values(x: KerasTensor) -> npt.NDArray[np.generic]:
        shape = (2, *x.shape[1:])
        return (
            rng.uniform(size=shape).astype(np.float32)
            if x.dtype.is_floating
            else np.ones(shape, x.dtype.as_numpy_dtype)
        )

    inputs = [values(x) for x in model.inputs]
    expected, found = (np.asarray(m(inputs[0] if len(inputs) == 1 else inputs, training=False)) for m in (model, copy))
    difference = float(np.abs(expected - found).max())
    if not difference <= _TOLERANCE * max(1e-6, float(np.abs(expected).max())):
        raise UserError(
            f"model {model.name} could not be rewritten: its outputs changed by {difference:.2g}; please report this"
        )
