"""Turns the quantized activations of an int8 file back into float32; int8 weights and tables stay int8.

Activations lose their rounding and the limits of their ranges. Weights keep their values and scales.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.errors import UserError
from tfcompress.tflite.graph import Graph, Operator, OperatorCode, operator, reshape
from tfcompress.tflite.tensor import ABSENT, Array, Tensor, computed, constant

# fmt: off
_ELEMENTWISE = (
    "ABS", "ADD", "ADD_N", "DIV", "ELU", "EXP", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC", "MAXIMUM",
    "MINIMUM", "MUL", "NEG", "POW", "PRELU", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RSQRT", "SQRT",
    "SQUARE", "SQUARED_DIFFERENCE", "SUB", "TANH",
)
_MOVING = (
    "BATCH_TO_SPACE_ND", "BROADCAST_TO", "CONCATENATION", "DEPTH_TO_SPACE", "EXPAND_DIMS", "GATHER", "GATHER_ND",
    "MIRROR_PAD", "PACK", "PAD", "PADV2", "RESHAPE", "REVERSE_V2", "SELECT", "SELECT_V2", "SLICE",
    "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TOPK_V2",
    "TRANSPOSE", "UNPACK",
)
_REDUCING = (
    "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "L2_NORMALIZATION", "LOG_SOFTMAX", "MAX_POOL_2D", "MEAN", "REDUCE_MAX",
    "REDUCE_MIN", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SOFTMAX", "SUM", "EQUAL", "GREATER",
    "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL",
)
_PRODUCTS = (
    "BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV",
)
# fmt: on
_CONVERTIBLE = frozenset((*_ELEMENTWISE, *_MOVING, *_REDUCING, *_PRODUCTS))
"""Operators whose int8 form approximates their float32 form."""

_INTEGERS = ("int8", "uint8", "int16")
_NEAR_ONE = 2.0**-23
"""How far a factor may be from 1 that only keeps the converter from quantizing its operand; see `unquantizable`."""

HYBRID_VERSIONS = (9, 12)
"""The versions of FULLY_CONNECTED with float32 input and int8 weights that have one scale, or one per output."""


def has_quantized_activations(graph: Graph) -> bool:
    """Returns whether an operator computes with quantized activations, apart from lookups in int8 tables."""
    for one in graph.operators:
        lookup = one.kind in ("GATHER", "DEQUANTIZE") and _is_table(graph, one)
        first = one.inputs[0] if one.inputs else ABSENT
        if one.kind != "DEQUANTIZE" and not lookup and _is_quantized(first):
            return True
        if one.kind == "QUANTIZE":
            return True
    return False


def dequantize_activations(graph: Graph) -> None:
    """Turns all activations of a graph into float32. The types of its inputs and outputs do not change.

    Raises:
        UserError: an operator has no equivalent float32 form; the message names it.
    """
    floats: dict[Tensor, Tensor] = {}  # the float32 tensor for each quantized one
    made: list[Operator] = []
    for tensor in graph.inputs:
        if _is_quantized(tensor):
            floats[tensor] = computed(f"{tensor.name}_float", tensor.free_shape)
            made.append(_dequantize(tensor, floats[tensor]))
    for one in graph.operators:
        made += _as_float(graph, one, floats)
    for tensor in graph.outputs:
        if tensor in floats and tensor not in graph.inputs:
            made.append(operator("QUANTIZE", [floats[tensor]], [tensor], options=schema.QuantizeOptionsT()))
    graph.operators = tuple(made)


def _as_float(graph: Graph, one: Operator, floats: dict[Tensor, Tensor]) -> list[Operator]:
    """Returns the operators that replace one, and adds its outputs to `floats`."""
    quantized = [tensor for tensor in (*one.inputs, *one.outputs) if _is_quantized(tensor)]
    if one.kind == "QUANTIZE":
        floats[one.outputs[0]] = _float_of(one.inputs[0], floats)
        return []
    one.inputs = tuple(floats.get(tensor, tensor) for tensor in one.inputs)
    if one.kind == "DEQUANTIZE" and one.inputs[0].dtype == "float32":
        if one.outputs[0] in graph.outputs:
            return [reshape(one.inputs[0], one.outputs[0])]
        floats[one.outputs[0]] = one.inputs[0]
        return []
    if one.kind == "MUL" and not quantized and (kept := _multiplied_by_one(graph, one)) is not None:
        floats[one.outputs[0]] = kept
        return []
    if one.kind == "DEQUANTIZE" or not any(graph.numbers(tensor) is None for tensor in quantized):
        return [one]  # An operator with int8 weights and float32 activations quantizes at run time.
    if one.kind == "GATHER" and _is_table(graph, one):
        rows = one.outputs[0]
        floats[rows] = computed(f"{rows.name}_float", rows.free_shape)
        return [one, _dequantize(rows, floats[rows])]
    weights_stay = one.kind == "FULLY_CONNECTED" and one.inputs[1].dtype == "int8"
    if one.kind not in _CONVERTIBLE or any(tensor.dtype != "int8" for tensor in quantized):
        types = ", ".join(sorted({tensor.dtype for tensor in quantized}))
        raise UserError(
            f"operator {one.kind} ({one.outputs[0].name}) uses {types} and has no equivalent float32 form; pack "
            "the float32 file that this one was made from"
        )
    for place, tensor in enumerate(one.inputs):
        stays = weights_stay and place == 1
        if not stays and (values := _dequantized(tensor)) is not None:
            one.replace_input(place, constant(tensor.name, values))
    if weights_stay:
        if one.inputs[2:] and one.inputs[2] is not ABSENT and one.inputs[2].dtype != "float32":
            raise UserError(
                f"operator {one.kind} ({one.outputs[0].name}) has a bias without a scale; pack the float32 file"
            )
        _make_hybrid(one)
    for tensor in one.outputs:
        if _is_quantized(tensor):
            floats[tensor] = computed(tensor.name, tensor.free_shape)
    one.outputs = tuple(floats[tensor] if _is_quantized(tensor) else tensor for tensor in one.outputs)
    return [one]


def _dequantize(tensor: Tensor, out: Tensor) -> Operator:
    return operator("DEQUANTIZE", [tensor], [out], 2, schema.DequantizeOptionsT())


def _float_of(tensor: Tensor, floats: dict[Tensor, Tensor]) -> Tensor:
    """Returns the float32 tensor that takes the place of a quantized one; a float32 tensor is its own."""
    if tensor in floats or not _is_quantized(tensor):
        return floats.get(tensor, tensor)
    values = _dequantized(tensor)
    if values is None:
        raise UserError(
            f"operator QUANTIZE takes {tensor.dtype} {tensor.name}, which no operator computes; copy it again"
        )
    return constant(tensor.name, values)


def _dequantized(tensor: Tensor) -> Array | None:
    """Returns a quantized constant (or an int32 one with scales) as float32 numbers; None for any other tensor."""
    values, scales, points = tensor.numbers(), tensor.scales, tensor.zero_points
    if values is None or not len(scales) or values.dtype not in (np.int8, np.uint8, np.int16, np.int32):
        return None
    along = [-1 if len(scales) > 1 and place == tensor.axis else 1 for place in range(values.ndim)]
    points = points if len(points) else np.zeros(len(scales), np.int64)
    shifted = values.astype(np.float64) - points.reshape(along if values.ndim else ())
    return np.asarray(shifted * scales.reshape(along if values.ndim else ()), np.float32)


def _make_hybrid(dense: Operator) -> None:
    """Turns a dense layer into one with float32 activations and int8 weights, which quantizes at run time."""
    per_channel = len(dense.inputs[1].scales) > 1
    kept = (dense.option(name) for name in ("fusedActivationFunction", "weightsFormat", "keepNumDims"))
    dense.options = schema.FullyConnectedOptionsT(*kept, asymmetricQuantizeInputs=True)
    dense.code = OperatorCode("FULLY_CONNECTED", HYBRID_VERSIONS[per_channel], custom=False)


def _is_quantized(tensor: Tensor) -> bool:
    return tensor.dtype in _INTEGERS and len(tensor.scales) > 0


def _is_table(graph: Graph, one: Operator) -> bool:
    """Returns whether an operator looks up rows of a constant table, or dequantizes such rows or a constant."""
    if one.kind == "DEQUANTIZE":
        one = graph.producer(one.inputs[0], "GATHER") or one
    return graph.numbers(one.inputs[0]) is not None


def _multiplied_by_one(graph: Graph, product: Operator) -> Tensor | None:
    """Returns the operand of a multiplication by a number within `_NEAR_ONE` of 1; None for other products."""
    first, second = product.inputs
    number = graph.scalar(second)
    if number is None or not 0 < abs(number - 1) <= _NEAR_ONE:
        return None
    plain = not product.option("fusedActivationFunction") and product.outputs[0] not in graph.outputs
    return first if plain and first.free_shape == product.outputs[0].free_shape else None
