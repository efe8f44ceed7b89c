"""What single TensorFlow operations of a traced model become: a Keras layer where one computes the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.models import patterns
from tfcompress.models.layers import ClassToken, PositionEmbedding
from tfcompress.models.operations import Operation, constant_argument
from tfcompress.models.probing import Needs
from tfcompress.models.raw_operation import raw_operation
from tfcompress.models.rule import Rule, layer_rule
from tfcompress.models.vit import cutters

if TYPE_CHECKING:
    from tfcompress.models.emission import Builder

layers = tf_keras.layers

_ACTIVATIONS = {
    "Softmax": "softmax",
    "Sigmoid": "sigmoid",
    "Relu": "relu",
    "Tanh": "tanh",
    "Elu": "elu",
    "Selu": "selu",
    "Softplus": "softplus",
    "Softsign": "softsign",
}
_MERGES = {
    "AddV2": layers.Add,
    "Add": layers.Add,
    "AddN": layers.Add,
    "Mul": layers.Multiply,
    "Sub": layers.Subtract,
    "Maximum": layers.Maximum,
    "Minimum": layers.Minimum,
}
_POOLINGS = {
    ("Mean", 3, (1,)): layers.GlobalAveragePooling1D,
    ("Mean", 4, (1, 2)): layers.GlobalAveragePooling2D,
    ("Max", 3, (1,)): layers.GlobalMaxPooling1D,
    ("Max", 4, (1, 2)): layers.GlobalMaxPooling2D,
}


def rule_for(builder: Builder, tensor: tf.Tensor) -> Rule:
    """Returns what makes a tensor in the copy.

    Raises:
        UserError: the operation cannot be part of a Keras model.
    """
    for rule in _RULES:
        found = rule(builder, tensor)
        if found is not None:
            return found
    return raw_operation(builder, tensor)


def _same(tensors: list[Any]) -> Any:
    return tensors[0]


def _chained(steps: Sequence[tf_keras.layers.Layer]) -> Callable[[list[Any]], Any]:
    """Returns what calls layers one after the other."""

    def make(tensors: list[Any]) -> Any:
        x = tensors[0]
        for step in steps:
            x = step(x)
        return x

    return make


def _activation(builder: Builder, tensor: tf.Tensor) -> Rule | None:
    probe, kind = builder.probe, tensor.op.type
    if kind in _ACTIVATIONS and probe.has_batch(tensor) and tensor.dtype == tf.float32:
        name = _ACTIVATIONS[kind]
        return layer_rule(tensor.op.inputs[0], layers.Activation(name, name=builder.name_for(tensor, name)))
    if kind == "Relu6":
        return layer_rule(tensor.op.inputs[0], layers.ReLU(6.0, name=builder.name_for(tensor, "relu6")))
    if kind == "LeakyRelu":
        slope = tensor.op.get_attr("alpha")
        return layer_rule(tensor.op.inputs[0], layers.LeakyReLU(slope, name=builder.name_for(tensor, "leaky_relu")))
    found = patterns.activation(probe, tensor)
    if found is None:
        return None
    source, function = found
    return layer_rule(source, layers.Activation(function, name=builder.name_for(tensor, function.__name__)))


def _dense(builder: Builder, tensor: tf.Tensor) -> Rule | None:
    probe = builder.probe
    found = patterns.dense(probe, tensor)
    if found is None:
        return None
    kernel, bias = found.kernel, found.bias
    options = {"use_bias": bias is not None, "trainable": builder.is_trainable(found.kernel_tensor)}
    layer = builder.shared(
        (found.kernel_tensor, found.bias_tensor),
        lambda: layers.Dense(kernel.shape[1], name=builder.name_for(tensor, "dense"), **options),
    )
    return layer_rule(found.source, layer, [kernel] if bias is None else [kernel, bias])


def _position(builder: Builder, tensor: tf.Tensor) -> Rule | None:
    """An addition of learned vectors for all positions."""
    probe = builder.probe
    if tensor.op.type not in ("AddV2", "Add", "BiasAdd") or len(probe.shape(tensor)) != 3:
        return None
    for x, added in (tensor.op.inputs, reversed(tensor.op.inputs)):
        value = _weight_value(builder, added)
        if value is None or not probe.has_batch(x) or probe.shape(x) != probe.shape(tensor):
            continue
        shape = (1, *probe.shape(tensor)[1:])
        if value.shape in (shape, shape[1:]):
            layer = PositionEmbedding(
                name=builder.name(builder.name_of_weight(added)), trainable=builder.is_trainable(added)
            )
            return layer_rule(x, layer, [value.reshape(shape)])
    return None


def _class_token(builder: Builder, tensor: tf.Tensor) -> Rule | None:
    """A learned token before the others."""
    probe = builder.probe
    if tensor.op.type != "ConcatV2" or len(tensor.op.inputs) != 3 or len(probe.shape(tensor)) != 3:
        return None
    token, x, axis = tensor.op.inputs
    value = None if probe.depends_on_data(token) else probe.value_per_example(token)
    weighted = probe.needs[token.name] & Needs.WEIGHTS and probe.depends_on_data(x) and probe.has_batch(x)
    if value is None or not weighted or value.shape[1] != 1 or probe.constant(axis) not in (1, -2):
        return None
    layer = ClassToken(name=builder.name(builder.name_of_weight(token)), trainable=builder.is_trainable(token))
    return layer_rule(x, layer, [value])


def _weight_value(builder: Builder, tensor: tf.Tensor) -> Any:
    """Returns the value of a tensor of weights without its batch axis if it has one, else None."""
    probe = builder.probe
    if probe.depends_on_data(tensor) or not probe.needs[tensor.name] & Needs.WEIGHTS:
        return None
    value = probe.value(tensor)
    return probe.value_per_example(tensor) if value is None else value


def _table(builder: Builder, tensor: tf.Tensor) -> Rule | None:
    """A lookup of ids in a table of weights."""
    probe, operation = builder.probe, tensor.op
    if operation.type not in ("ResourceGather", "GatherV2"):
        return None
    table, ids = operation.inputs[0], probe.source(operation.inputs[1])
    if operation.get_attr("batch_dims") or not (probe.has_batch(ids) and probe.depends_on_data(ids)):
        return None
    if operation.type == "GatherV2" and probe.constant(operation.inputs[2]) != 0:
        return None
    value = builder.variable(table) if operation.type == "ResourceGather" else _weight_value(builder, table)
    if value is None or value.ndim != 2:
        return None
    layer = builder.shared(
        (table,),
        lambda: layers.Embedding(
            *value.shape, name=builder.name_for(tensor, "embedding"), trainable=builder.is_trainable(table)
        ),
    )
    return layer_rule(patterns.without_negative(probe, ids), layer, [value])


def _patches(builder: Builder, tensor: tf.Tensor) -> Rule | None:
    """A cut into patches that do not overlap, as `tf.image` and `keras.ops.image` express it."""
    probe, operation = builder.probe, tensor.op
    if operation.type not in ("ExtractImagePatches", "Conv2D"):
        return None
    shape = probe.shape(operation.inputs[0])
    patch = operation.get_attr("strides")[1]
    if operation.type == "ExtractImagePatches":
        cuts = operation.get_attr("ksizes") == operation.get_attr("strides") and set(operation.get_attr("rates")) == {1}
    else:
        kernel = probe.constant(operation.inputs[1])
        cuts = (
            kernel is not None
            and operation.get_attr("data_format") == b"NHWC"
            and kernel.shape == (patch, patch, shape[3], patch * patch * (shape[3] or 0))
            and np.array_equal(kernel.reshape(-1, kernel.shape[-1]), np.eye(kernel.shape[-1]))
        )
    grid = probe.shape(tensor)[1:3]
    if not cuts or patch == 1 or shape[1:3] != tuple((side or 0) * patch for side in grid):
        return None
    return [operation.inputs[0]], _chained(
        cutters(shape, patch, lambda part: builder.name_for(tensor, part), grid=True)
    )


def _merge(builder: Builder, tensor: tf.Tensor) -> Rule | None:
    probe, kind = builder.probe, _MERGES.get(tensor.op.type)
    if kind is None or tensor.dtype != tf.float32 or not probe.has_batch(tensor):
        return None
    inputs = list(tensor.op.inputs)
    if not all(probe.depends_on_data(x) and probe.shape(x) == probe.shape(tensor) for x in inputs):
        return None
    return layer_rule(inputs, kind(name=builder.name_for(tensor, kind.__name__.lower())))


def _concatenation(builder: Builder, tensor: tf.Tensor) -> Rule | None:
    probe = builder.probe
    if tensor.op.type != "ConcatV2" or not probe.has_batch(tensor):
        return None
    *parts, axis = tensor.op.inputs
    along = probe.constant(axis)
    if along is None or int(along) % len(probe.shape(tensor)) == 0:
        return None
    if not all(probe.depends_on_data(x) and probe.has_batch(x) for x in parts):
        return None
    return layer_rule(parts, layers.Concatenate(int(along), name=builder.name_for(tensor, "concatenate")))


def _movement(builder: Builder, tensor: tf.Tensor) -> Rule | None:
    """Another shape or another order of the axes."""
    probe, operation = builder.probe, tensor.op
    if operation.type == "Cast" and operation.inputs[0].dtype == tensor.dtype:
        return [operation.inputs[0]], _same
    if operation.type in ("Reshape", "Squeeze", "ExpandDims"):
        source = operation.inputs[0]
        if probe.shape(source) == probe.shape(tensor) and probe.has_batch(source):
            return [source], _same
        if probe.has_batch(source) and probe.has_batch(tensor) and len(probe.shape(tensor)) > 1:
            layer = layers.Reshape(probe.shape(tensor)[1:], name=builder.name_for(tensor, "reshape"))
            return layer_rule(source, layer)
        target = [-1 if side is None else side for side in probe.shape(tensor)]
        if target.count(-1) > 1:
            return None
        arguments = {"tensor": 0, "shape": constant_argument(np.array(target, np.int32))}
        return layer_rule(source, Operation("Reshape", arguments, {}, name=builder.name_for(tensor, "reshape")))
    if operation.type == "Transpose":
        order = probe.constant(operation.inputs[1])
        if order is not None and list(order) == list(range(len(order))):
            return [operation.inputs[0]], _same
        if order is not None and order[0] == 0 and probe.has_batch(tensor) and len(order) > 2:
            axes = tuple(int(axis) for axis in order[1:])
            return layer_rule(operation.inputs[0], layers.Permute(axes, name=builder.name_for(tensor, "permute")))
    return None


def _pooling(builder: Builder, tensor: tf.Tensor) -> Rule | None:
    probe, operation = builder.probe, tensor.op
    if operation.type not in ("Mean", "Max") or tensor.dtype != tf.float32 or not probe.has_batch(operation.inputs[0]):
        return None
    axes = probe.constant(operation.inputs[1])
    rank = len(probe.shape(operation.inputs[0]))
    along = () if axes is None else tuple(sorted(int(axis) % rank for axis in np.reshape(axes, -1)))
    kind = _POOLINGS.get((operation.type, rank, along))
    if kind is None:
        return None
    kept = bool(operation.get_attr("keep_dims"))
    return layer_rule(operation.inputs[0], kind(keepdims=kept, name=builder.name_for(tensor, operation.type.lower())))


def _one_token(builder: Builder, tensor: tf.Tensor) -> Rule | None:
    """`x[:, i]` of `(batch, tokens, width)`."""
    probe, operation = builder.probe, tensor.op
    source = operation.inputs[0] if operation.inputs else tensor
    if operation.type != "StridedSlice" or len(probe.shape(source)) != 3 or not probe.has_batch(source):
        return None
    if not probe.has_batch(tensor) or operation.get_attr("shrink_axis_mask") != 2:
        return None
    begin = probe.constant(operation.inputs[1])
    tokens, width = probe.shape(source)[1:]
    if begin is None or probe.shape(tensor) != (None, width) or operation.get_attr("new_axis_mask") or tokens is None:
        return None
    index = int(begin[1]) % tokens
    crop = layers.Cropping1D((index, tokens - 1 - index), name=builder.name_for(tensor, "token"))
    flat = layers.Reshape((width,), name=builder.name_for(tensor, "flat"))
    return [source], _chained((crop, flat))


def _signed_zero(builder: Builder, tensor: tf.Tensor) -> Rule | None:
    """What Keras 3 puts in place of -0.0 before it looks for the largest or smallest; here the zeros stay equal."""
    operation = tensor.op
    if operation.type != "SelectV2" or {x.type for x in tensor.consumers()} - {"ArgMax", "ArgMin", "Shape"}:
        return None
    instead = builder.probe.constant(operation.inputs[1])
    tiny = instead is not None and instead.dtype.kind == "f" and np.all(np.abs(instead) == np.finfo(instead.dtype).tiny)
    return ([operation.inputs[2]], _same) if tiny else None


def _multi_hot(builder: Builder, tensor: tf.Tensor) -> Rule | None:
    """Which ids an example has, or how often, as `CategoryEncoding` returns it."""
    probe, operation = builder.probe, tensor.op
    if operation.type != "DenseBincount" or not tensor.dtype.is_floating:
        return None
    ids, _, weights = operation.inputs
    depth = tensor.shape[-1]  # its own calculation limits it by the data
    if depth is None or not probe.has_batch(ids) or len(probe.shape(ids)) != 2 or 0 not in probe.shape(weights):
        return None
    values = {"depth": depth, "on_value": 1, "off_value": 0}
    arguments = {"indices": 0} | {name: constant_argument(np.array(value, np.int32)) for name, value in values.items()}
    join = "Max" if operation.get_attr("binary_output") else "Sum"
    along = {"input": 0, "axis": constant_argument(np.array(1, np.int32))}
    steps = (
        Operation("OneHot", arguments, {"axis": -1}, name=builder.name_for(tensor, "one_hot")),
        Operation(join, along, {"keep_dims": False}, name=builder.name_for(tensor, "multi_hot")),
        Operation("Cast", {"x": 0}, {"DstT": tensor.dtype.name}, name=builder.name_for(tensor, "cast")),
    )
    return [ids], _chained(steps)


_RULES = (
    _activation,
    _dense,
    _table,
    _patches,
    _position,
    _class_token,
    _merge,
    _concatenation,
    _movement,
    _pooling,
    _one_token,
    _signed_zero,
    _multi_hot,
)
