"""Recognises in the operations of a traced model what a Keras layer computes: activations and Dense layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.models.activations import agree, points
from tfcompress.models.layers import approximate_gelu
from tfcompress.models.probing import Array, Needs, Probe

_ELEMENTWISE = {
    "Mul", "AddV2", "Add", "Sub", "RealDiv", "Neg", "Square", "Pow", "Sqrt", "Rsqrt", "Reciprocal", "Erf", "Erfc",
    "Tanh", "Sigmoid", "Exp", "Log", "Log1p", "Expm1", "Softplus", "Relu", "Relu6", "Maximum", "Minimum", "Abs",
}  # fmt: skip
_LARGEST = 14
"""Operations of the largest activation, such as the tanh approximation of GELU."""


def activation(probe: Probe, tensor: tf.Tensor) -> tuple[tf.Tensor, Any] | None:
    """Recognises a function of Keras of one tensor that is spelled out in operations, whatever the spelling.

    Returns:
        The tensor it is applied to, and the function; None if the operations compute something else.
    """
    if tensor.op.type not in ("Mul", "RealDiv") or tensor.dtype != tf.float32 or not probe.has_batch(tensor):
        return None
    within: list[tf.Operation] = []
    constants: dict[str, Array] = {}
    pending = {tensor.name: tensor}
    while len(within) < _LARGEST:
        last = max(pending.values(), key=lambda x: probe.order[x.op.name])
        if last.name in probe.trace.made_by or last.op.type not in _ELEMENTWISE:
            return None
        del pending[last.name]
        within.append(last.op)
        for given in last.op.inputs:
            source = probe.source(given)
            constant = probe.constant(source)
            if constant is not None and constant.size == 1:
                constants[source.name] = constant.reshape(())
            else:
                pending[source.name] = source
        if len(within) > 1 and len(pending) == 1:
            (source,) = pending.values()
            function = _known(probe, within, constants, source, tensor) if probe.depends_on_data(source) else None
            if function is not None:
                return source, function
    return None


def _known(
    probe: Probe, operations: list[tf.Operation], constants: Mapping[str, Array], source: tf.Tensor, result: tf.Tensor
) -> Any:
    values: dict[str, Any] = {source.name: tf.constant(points()), **{k: tf.constant(v) for k, v in constants.items()}}
    for operation in reversed(operations):
        names = [part.name for part in operation.op_def.input_arg]
        inputs = {n: values[probe.source(t).name] for n, t in zip(names, operation.inputs, strict=True)}
        values[operation.outputs[0].name] = getattr(tf.raw_ops, operation.type)(**inputs)
    found = np.asarray(values[result.name])
    return next((function for function, y in _values_of_known() if agree(found, y, 1e-5)), None)


@cache
def _values_of_known() -> list[tuple[Any, Array]]:
    activations = tf_keras.activations
    functions = [activations.gelu, approximate_gelu, activations.swish, activations.mish]
    return [(function, np.asarray(function(tf.constant(points())))) for function in functions]


@dataclass(frozen=True, eq=False)
class DenseFound:
    """A multiplication of a tensor with a matrix of weights.

    Attributes:
        source: the tensor `(batch, …, inputs)`.
        kernel: `(inputs, outputs)`.
        bias: `(outputs,)` or None.
        kernel_tensor: the tensor of the trace that the kernel is the value of.
    """

    source: tf.Tensor
    kernel: Array
    bias: Array | None
    kernel_tensor: tf.Tensor
    bias_tensor: tf.Tensor | None


def dense(probe: Probe, tensor: tf.Tensor) -> DenseFound | None:
    """Recognises a Dense layer without an activation in the operations that end in a tensor."""
    width = probe.shape(tensor)[-1] if probe.shape(tensor) else None
    if tensor.dtype != tf.float32 or width is None or not probe.has_batch(tensor):
        return None
    product, bias = _without_bias(probe, tensor, width)
    if not probe.depends_on_data(product) or product.name in probe.trace.made_by:
        return None
    operation = product.op
    if operation.type == "Reshape":  # of tf.tensordot, which makes a matrix of its input
        inner, inner_bias = _without_bias(probe, probe.source(operation.inputs[0]), width)
        if (
            inner.name in probe.trace.made_by
            or inner.op.type != "MatMul"
            or (bias is not None and inner_bias is not None)
        ):
            return None
        flat = _through_equal_transpose(probe, inner.op.inputs[0])
        if flat.name in probe.trace.made_by or flat.op.type != "Reshape":
            return None
        source, operation = _through_equal_transpose(probe, flat.op.inputs[0]), inner.op
        bias = inner_bias if bias is None else bias
    elif operation.type in ("MatMul", "BatchMatMulV2", "BatchMatMulV3", "BatchMatMul", "Einsum"):
        source = operation.inputs[0]
    else:
        return None
    kernel = _kernel(probe, operation)
    if kernel is None or not probe.has_batch(source) or probe.shape(source)[:-1] != probe.shape(tensor)[:-1]:
        return None
    if kernel.shape != (probe.shape(source)[-1], width):
        return None
    added = None if bias is None else probe.value(bias)
    return DenseFound(source, kernel, None if added is None else added.reshape(-1), operation.inputs[1], bias)


def _without_bias(probe: Probe, tensor: tf.Tensor, width: int) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Returns the tensor to which a bias of weights is added, and the bias; the tensor itself if there is none."""
    if tensor.name not in probe.trace.made_by and tensor.op.type in ("BiasAdd", "AddV2", "Add"):
        for x, bias in (tensor.op.inputs, tuple(reversed(tensor.op.inputs))):
            value = probe.value(bias) if probe.needs[bias.name] & Needs.WEIGHTS else None
            if value is not None and value.ndim and value.size == width == value.shape[-1]:
                return probe.source(x), bias
    return tensor, None


def _through_equal_transpose(probe: Probe, tensor: tf.Tensor) -> tf.Tensor:
    tensor = probe.source(tensor)
    if tensor.name not in probe.trace.made_by and tensor.op.type == "Transpose":
        order = probe.constant(tensor.op.inputs[1])
        if order is not None and list(order) == list(range(len(order))):
            return probe.source(tensor.op.inputs[0])
    return tensor


def _kernel(probe: Probe, operation: tf.Operation) -> Array | None:
    """Returns the matrix `(inputs, outputs)` by which an operation multiplies its first input, or None."""
    left, right = operation.inputs[0], operation.inputs[1]
    if not probe.depends_on_data(left) or not probe.needs[right.name] & Needs.WEIGHTS:
        return None
    value = probe.value(right)
    if value is None:
        return None
    if operation.type == "Einsum":
        return _kernel_of_einsum(operation.get_attr("equation").decode(), value)
    if operation.type == "MatMul":
        turned = [operation.get_attr("transpose_a"), operation.get_attr("transpose_b")]
    else:
        turned = [operation.get_attr("adj_x"), operation.get_attr("adj_y")]
    if turned[0] or value.shape[:-2].count(1) != value.ndim - 2:
        return None
    matrix = value.reshape(value.shape[-2:])
    return matrix.T.copy() if turned[1] else matrix


def _kernel_of_einsum(equation: str, value: Array) -> Array | None:
    """Returns the kernel of an equation such as `abc,cd->abd`, or None."""
    (left, right), result = equation.partition("->")[0].split(","), equation.partition("->")[2]
    if len(right) != 2 or len(set(left)) != len(left) or left[:-1] + right.replace(left[-1], "") != result:
        return None
    return value if right[0] == left[-1] else value.T.copy()


def without_negative(probe: Probe, ids: tf.Tensor) -> tf.Tensor:
    """Returns the ids for which `keras.ops.take` counts negative ones from the end of the table."""
    if ids.name in probe.trace.made_by or ids.op.type != "SelectV2":
        return ids
    condition, moved, plain = (probe.source(x) for x in ids.op.inputs)
    negative = condition.op.type == "Less" and probe.source(condition.op.inputs[0]).name == plain.name
    return plain if negative and moved.op.type in ("AddV2", "Add") else ids
