"""Where the numbers that a model gives must lie, by the operations of its graph."""

from __future__ import annotations

from enum import IntEnum

import tensorflow as tf
import tf_keras


class Range(IntEnum):
    """Where the numbers of a tensor lie; what is made of several tensors mostly has the highest of their ranges.

    Attributes:
        CONSTANT: they do not depend on the data.
        SUMS_TO_ONE: from 0 to 1, and those along the last axis sum to 1, as of a softmax.
        UP_TO_ONE: from 0 to 1, as of a sigmoid.
        OF_PROBABILITIES: sums, products and the like of softmaxes and sigmoids.
        UNKNOWN: the result of any other operation.
        UNBOUNDED: all real numbers, as of a Dense layer without activation.
    """

    CONSTANT = 0
    SUMS_TO_ONE = 1
    UP_TO_ONE = 2
    OF_PROBABILITIES = 3
    UNKNOWN = 4
    UNBOUNDED = 5


_HAND_ON = {
    "Identity", "IdentityN", "StopGradient", "PreventGradient", "CheckNumerics", "EnsureShape", "Snapshot", "Cast",
    "Reshape", "Squeeze", "ExpandDims", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs",
    "FakeQuantWithMinMaxVarsPerChannel",
}  # fmt: skip
"""Operations whose outputs are their first inputs, perhaps in another shape."""

_COMBINE = {
    "Add", "AddV2", "AddN", "Sub", "Mul", "RealDiv", "Mean", "Sum", "AvgPool", "ConcatV2", "Pack", "Unpack", "Split",
    "SplitV", "StridedSlice", "GatherV2", "Transpose", "Tile",
}  # fmt: skip
"""Operations whose result is unbounded if an operand is."""

_LIMIT = {"Maximum", "Minimum", "Max", "Min", "ClipByValue", "Pow", "Square", "Sqrt", "SelectV2", "Pad", "PadV2"}
"""Operations that combine probabilities to probabilities; they may limit what is unbounded."""

_PROJECT = {
    "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "Conv2D", "Conv3D", "DepthwiseConv2dNative",
    "BiasAdd", "LogSoftmax",
}  # fmt: skip
"""Operations whose result is unbounded, unless it is that of probabilities."""

_SHAPES = {"Shape", "ShapeN", "Size", "Rank"}


def range_of_output(model: tf_keras.Model) -> Range:
    """Returns where the numbers of a functional model's first output lie."""
    specs = [tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in model.inputs]

    @tf.function(input_signature=specs, autograph=False)  # type: ignore[untyped-decorator]
    def call(*inputs: tf.Tensor) -> tf.Tensor:
        return tf.nest.flatten(model(inputs[0] if len(inputs) == 1 else list(inputs), training=False))[0]

    graph = call.get_concrete_function().graph
    ranges = {x.name: Range.UNKNOWN if place < len(specs) else Range.CONSTANT for place, x in enumerate(graph.inputs)}
    for operation in graph.get_operations():  # in the order in which they were made, so after their inputs
        if operation.type != "Placeholder":
            found = _range(operation, [ranges[x.name] for x in operation.inputs])
            ranges |= {x.name: _in_shape(found, operation, x) for x in operation.outputs}
    return ranges[graph.outputs[0].name]


def _range(operation: tf.Operation, operands: list[Range]) -> Range:
    """Returns the range of an operation's outputs."""
    kind, highest = operation.type, max(operands, default=Range.CONSTANT)
    if highest is Range.CONSTANT or kind in _SHAPES:
        return Range.CONSTANT
    if kind == "Softmax":
        return Range.SUMS_TO_ONE
    if kind == "Sigmoid":
        return Range.UP_TO_ONE
    if kind in _HAND_ON:
        return operands[0]
    if kind in _PROJECT:
        return Range.UNBOUNDED if highest > Range.OF_PROBABILITIES else Range.UNKNOWN
    if kind in _COMBINE | _LIMIT and highest <= Range.OF_PROBABILITIES:
        return Range.OF_PROBABILITIES
    if kind in _COMBINE and not (kind == "RealDiv" and operands[1]):  # Dividing by a sum can normalise.
        return highest
    return Range.UNKNOWN


def _in_shape(found: Range, operation: tf.Operation, output: tf.Tensor) -> Range:
    """Returns the range of a softmax in another shape, in which other numbers are along the last axis."""
    if found is Range.SUMS_TO_ONE and operation.type in _HAND_ON:
        before, now = operation.inputs[0].shape, output.shape
        if before.rank is None or now.rank is None or now[-1:] != before[-1:]:
            return Range.UP_TO_ONE
    return found
