"""Makes the activations of an int8 file float32 again; its int8 weights and tables stay as they are.

What was quantized beforehand loses its rounding and the ends of its ranges; weights keep their values and scales.
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
_SAME = frozenset((*_ELEMENTWISE, *_MOVING, *_REDUCING, *_PRODUCTS))
"""Operators whose int8 form approximates their float32 form."""

_INTEGERS = ("int8", "uint8", "int16")
_NEAR_ONE = 2.0**-23
"""Distance from 1 of factors that only keep a converter from quantizing what is before them; see `unquantizable`."""

HYBRID = (9, 12)
"""Versions of FULLY_CONNECTED with float32 input and int8 weights: with one scale, and with one per output."""


def has_quantized_activations(graph: Graph) -> bool:
    """Returns whether something is computed from int8 tensors, apart from lookups in int8 tables."""
    for one in graph.operators:
        lookup = one.kind in ("GATHER", "DEQUANTIZE") and _is_table(graph, one)
        first = one.inputs[0] if one.inputs else ABSENT
        if one.kind != "DEQUANTIZE" and not lookup and _is_quantized(first):
            return True
        if one.kind == "QUANTIZE":
            return True
    return False


def make_float(graph: Graph) -> None:
    """Makes all activations of a graph float32; the graph's own inputs and outputs stay what they are.

    Raises:
        UserError: the graph has an operator whose int8 form means something else; the message names it.
    """
    instead: dict[Tensor, Tensor] = {}  # a float32 tensor for each quantized one
    made: list[Operator] = []
    for tensor in graph.inputs:
        if _is_quantized(tensor):
            instead[tensor] = computed(f"{tensor.name}_float", tensor.free_shape)
            made.append(_dequantize(tensor, instead[tensor]))
    for one in graph.operators:
        made += _as_float(graph, one, instead)
    for tensor in graph.outputs:
        if tensor in instead and tensor not in graph.inputs:
            made.append(operator("QUANTIZE", [instead[tensor]], [tensor], options=schema.QuantizeOptionsT()))
    graph.operators = tuple(made)


def _as_float(graph: Graph, one: Operator, instead: dict[Tensor, Tensor]) -> list[Operator]:
    quantized = [tensor for tensor in (*one.inputs, *one.outputs) if _is_quantized(tensor)]
    if one.kind == "QUANTIZE":
        instead[one.outputs[0]] = _float_of(one.inputs[0], instead)
        return []
    one.inputs = tuple(instead.get(tensor, tensor) for tensor in one.inputs)
    if one.kind == "DEQUANTIZE" and one.inputs[0].dtype == "float32":
        if one.outputs[0] in graph.outputs:
            return [reshape(one.inputs[0], one.outputs[0])]
        instead[one.outputs[0]] = one.inputs[0]
        return []
    if one.kind == "MUL" and not quantized and (kept := _multiplied_by_one(graph, one)) is not None:
        instead[one.outputs[0]] = kept
        return []
    if one.kind == "DEQUANTIZE" or not any(graph.numbers(tensor) is None for tensor in quantized):
        return [one]  # What reads int8 weights beside float32 quantizes at run time.
    if one.kind == "GATHER" and _is_table(graph, one):
        rows = one.outputs[0]
        instead[rows] = computed(f"{rows.name}_float", rows.free_shape)
        return [one, _dequantize(rows, instead[rows])]
    weights_stay = one.kind == "FULLY_CONNECTED" and one.inputs[1].dtype == "int8"
    if one.kind not in _SAME or any(tensor.dtype != "int8" for tensor in quantized):
        types = ", ".join(sorted({tensor.dtype for tensor in quantized}))
        raise UserError(
            f"operator {one.kind} ({one.outputs[0].name}) takes or gives {types} and has no float32 form that means "
            "the same; pack the float32 file that this one was made from"
        )
    for place, tensor in enumerate(one.inputs):
        stays = weights_stay and place == 1
        if not stays and (values := _dequantized(tensor)) is not None:
            one.replace_input(place, constant(tensor.name, values))
    if weights_stay:
        if one.inputs[2:] and one.inputs[2] is not ABSENT and one.inputs[2].dtype != "float32":
            raise UserError(f"operator {one.kind} ({one.outputs[0].name}) has a bias without a scale")
        _make_hybrid(one)
    for tensor in one.outputs:
        if _is_quantized(tensor):
            instead[tensor] = computed(tensor.name, tensor.free_shape)
    one.outputs = tuple(instead[tensor] if _is_quantized(tensor) else tensor for tensor in one.outputs)
    return [one]


def _dequantize(tensor: Tensor, out: Tensor) -> Operator:
    return operator("DEQUANTIZE", [tensor], [out], 2, schema.DequantizeOptionsT())


def _float_of(tensor: Tensor, instead: dict[Tensor, Tensor]) -> Tensor:
    """Returns a float32 tensor for one that is float32 or quantized."""
    if tensor in instead or not _is_quantized(tensor):
        return instead.get(tensor, tensor)
    values = _dequantized(tensor)
    if values is None:
        raise UserError(f"operator QUANTIZE takes {tensor.dtype} {tensor.name}, which nothing makes")
    return constant(tensor.name, values)


def _dequantized(tensor: Tensor) -> Array | None:
    """Returns the float32 numbers that a quantized constant stands for, also an int32 one with scales; else None."""
    values, scales, points = tensor.numbers(), tensor.scales, tensor.zero_points
    if values is None or not len(scales) or values.dtype not in (np.int8, np.uint8, np.int16, np.int32):
        return None
    along = [-1 if len(scales) > 1 and place == tensor.axis else 1 for place in range(values.ndim)]
    points = points if len(points) else np.zeros(len(scales), np.int64)
    shifted = values.astype(np.float64) - points.reshape(along if values.ndim else ())
    return np.asarray(shifted * scales.reshape(along if values.ndim else ()), np.float32)


def _make_hybrid(dense: Operator) -> None:
    """Makes a dense layer one with float32 activations and int8 weights, which quantizes at run time."""
    per_channel = len(dense.inputs[1].scales) > 1
    kept = (dense.option(name) for name in ("fusedActivationFunction", "weightsFormat", "keepNumDims"))
    dense.options = schema.FullyConnectedOptionsT(*kept, asymmetricQuantizeInputs=True)
    dense.code = OperatorCode("FULLY_CONNECTED", HYBRID[per_channel], custom=False)


def _is_quantized(tensor: Tensor) -> bool:
    return tensor.dtype in _INTEGERS and len(tensor.scales) > 0


def _is_table(graph: Graph, one: Operator) -> bool:
    """Returns whether an operator looks up rows of a constant table, or reads such rows or a constant."""
    if one.kind == "DEQUANTIZE":
        one = graph.producer(one.inputs[0], "GATHER") or one
    return graph.numbers(one.inputs[0]) is not None


def _multiplied_by_one(graph: Graph, product: Operator) -> Tensor | None:
    """Returns what is multiplied, if the number is the one next to 1."""
    first, second = product.inputs
    number = graph.scalar(second)
    if number is None or not 0 < abs(number - 1) <= _NEAR_ONE:
        return None
    plain = not product.option("fusedActivationFunction") and product.outputs[0] not in graph.outputs
    return first if plain and first.free_shape == product.outputs[0].free_shape else None
