"""Making the activations of an int8 file float32 again, with its int8 weights and tables left as they are.

What was quantized beforehand loses its rounding and the ends of its ranges; weights keep their values and scales.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.errors import UserError
from tfcompress.packed.net import Array, Net, option

_ELEMENTWISE = (
    *("ABS", "ADD", "ADD_N", "DIV", "ELU", "EXP", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC", "MAXIMUM"),
    *(
        "MINIMUM",
        "MUL",
        "NEG",
        "POW",
        "PRELU",
        "RELU",
        "RELU6",
        "RELU_0_TO_1",
        "RELU_N1_TO_1",
        "RSQRT",
        "SQRT",
        "SQUARE",
    ),
    *("SQUARED_DIFFERENCE", "SUB", "TANH"),
)
_MOVING = (
    *("BATCH_TO_SPACE_ND", "BROADCAST_TO", "CONCATENATION", "DEPTH_TO_SPACE", "EXPAND_DIMS", "GATHER", "GATHER_ND"),
    *(
        "MIRROR_PAD",
        "PACK",
        "PAD",
        "PADV2",
        "RESHAPE",
        "REVERSE_V2",
        "SELECT",
        "SELECT_V2",
        "SLICE",
        "SPACE_TO_BATCH_ND",
    ),
    *("SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE", "TOPK_V2", "TRANSPOSE", "UNPACK"),
)
_REDUCING = (
    *("ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "L2_NORMALIZATION", "LOG_SOFTMAX", "MAX_POOL_2D", "MEAN", "REDUCE_MAX"),
    *("REDUCE_MIN", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SOFTMAX", "SUM"),
    *("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL"),
)
_PRODUCTS = ("BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
_SAME = frozenset((*_ELEMENTWISE, *_MOVING, *_REDUCING, *_PRODUCTS))
"""Operators whose float32 form is what their int8 form is an approximation of."""

_INTEGERS = ("int8", "uint8", "int16")
_NEAR_ONE = 2.0**-23
"""Of factors that only stand there to keep a converter from quantizing what is before them; see `unquantizable`."""


def has_quantized_activations(net: Net) -> bool:
    """Tells whether something is computed from int8 tensors, beside lookups in int8 tables."""
    for operator in net.operators:
        kind, first = net.kind(operator), (operator.inputs or [-1])[0]
        lookup = kind in ("GATHER", "DEQUANTIZE") and _is_table(net, operator)
        if kind != "DEQUANTIZE" and not lookup and first >= 0 and _is_quantized(net, first):
            return True
        if kind == "QUANTIZE":
            return True
    return False


def make_float(net: Net) -> None:
    """Makes all activations of a graph float32; the graph's own inputs and outputs stay what they are.

    Raises:
        UserError: the graph has an operator whose int8 form means something else; the message names it.
    """
    graph = net.graph
    instead: dict[int, int] = {}  # a float32 tensor for each quantized one
    made: list[Any] = []
    for tensor in graph.inputs:
        if _is_quantized(net, tensor):
            instead[tensor] = net.add_tensor(f"{net.name(tensor)}_float", net.shape(tensor))
            made.append(net.make("DEQUANTIZE", [tensor], [instead[tensor]], 2, schema.DequantizeOptionsT()))
    for operator in list(net.operators):
        made += _as_float(net, operator, instead)
    for tensor in graph.outputs:
        if tensor in instead and tensor not in graph.inputs:
            made.append(net.make("QUANTIZE", [instead[tensor]], [tensor], 1, schema.QuantizeOptionsT()))
    graph.operators = made
    net.changed()


def _as_float(net: Net, operator: Any, instead: dict[int, int]) -> list[Any]:
    kind = net.kind(operator)
    quantized = [tensor for tensor in (*operator.inputs, *operator.outputs) if _is_quantized(net, tensor)]
    operator.inputs = [instead.get(tensor, tensor) if kind != "QUANTIZE" else tensor for tensor in operator.inputs]
    if kind == "QUANTIZE":
        source, target = operator.inputs[0], operator.outputs[0]
        instead[target] = _float_of(net, source, instead)
        return []
    if kind == "DEQUANTIZE" and net.type(operator.inputs[0]) == "float32":
        if operator.outputs[0] in net.graph.outputs:
            return [net.reshape(operator.inputs[0], operator.outputs[0])]
        instead[operator.outputs[0]] = operator.inputs[0]
        return []
    if kind == "MUL" and not quantized and (kept := _multiplied_by_one(net, operator)) is not None:
        instead[operator.outputs[0]] = kept
        return []
    if kind == "DEQUANTIZE" or not any(net.constant(tensor) is None for tensor in quantized):
        return [operator]  # What reads int8 weights beside float32 quantizes at run time.
    if kind == "GATHER" and _is_table(net, operator):
        rows = operator.outputs[0]
        instead[rows] = net.add_tensor(f"{net.name(rows)}_float", net.shape(rows))
        return [operator, net.make("DEQUANTIZE", [rows], [instead[rows]], 2, schema.DequantizeOptionsT())]
    weights_stay = kind == "FULLY_CONNECTED" and net.type(operator.inputs[1]) == "int8"
    if kind not in _SAME or any(net.type(tensor) != "int8" for tensor in quantized):
        types = ", ".join(sorted({net.type(tensor) for tensor in quantized}))
        raise UserError(
            f"operator {kind} ({net.name(operator.outputs[0])}) takes or gives {types} and has no float32 form that "
            "means the same; pack the float32 file that this one was made from"
        )
    for place, tensor in enumerate(operator.inputs):
        stays = weights_stay and place == 1
        if tensor >= 0 and not stays and (values := dequantized(net, tensor)) is not None:
            operator.inputs[place] = net.add_constant(net.name(tensor), values)
    if weights_stay:
        if operator.inputs[2:] and operator.inputs[2] >= 0 and net.type(operator.inputs[2]) != "float32":
            raise UserError(f"operator {kind} ({net.name(operator.outputs[0])}) has a bias without a scale")
        _make_hybrid(net, operator)
    for place, tensor in enumerate(operator.outputs):
        if _is_quantized(net, tensor):
            instead[tensor] = net.add_tensor(net.name(tensor), net.shape(tensor))
            operator.outputs[place] = instead[tensor]
    return [operator]


def _float_of(net: Net, tensor: int, instead: dict[int, int]) -> int:
    """Returns a float32 tensor for one that is float32 or quantized."""
    if tensor in instead or not _is_quantized(net, tensor):
        return instead.get(tensor, tensor)
    values = dequantized(net, tensor)
    if values is None:
        raise UserError(f"operator QUANTIZE takes {net.type(tensor)} {net.name(tensor)}, which nothing makes")
    return net.add_constant(net.name(tensor), values)


def dequantized(net: Net, tensor: int) -> Array | None:
    """Returns what a quantized constant stands for, float32; also an int32 one with scales. None of all else."""
    values = net.constant(tensor)
    scales, points, axis = net.scales(tensor)
    if values is None or not len(scales) or values.dtype not in (np.int8, np.uint8, np.int16, np.int32):
        return None
    along = [-1 if len(scales) > 1 and place == axis else 1 for place in range(values.ndim)]
    points = points if len(points) else np.zeros(len(scales), np.int64)
    shifted = values.astype(np.float64) - points.reshape(along if values.ndim else ())
    return np.asarray(shifted * scales.reshape(along if values.ndim else ()), np.float32)


def _make_hybrid(net: Net, operator: Any) -> None:
    """Makes a dense layer one with float32 activations and int8 weights, which quantizes at run time."""
    per_channel = len(net.scales(operator.inputs[1])[0]) > 1
    kept = (option(operator, name) for name in ("fusedActivationFunction", "weightsFormat", "keepNumDims"))
    options = schema.FullyConnectedOptionsT(*kept, asymmetricQuantizeInputs=True)
    hybrid = net.make("FULLY_CONNECTED", operator.inputs, operator.outputs, HYBRID[per_channel], options)
    operator.opcodeIndex, operator.builtinOptions = hybrid.opcodeIndex, options


HYBRID = (9, 12)
"""Versions of FULLY_CONNECTED with float32 input and int8 weights, with one scale and with one an output."""


def _is_quantized(net: Net, tensor: int) -> bool:
    return tensor >= 0 and net.type(tensor) in _INTEGERS and len(net.scales(tensor)[0]) > 0


def _is_table(net: Net, operator: Any) -> bool:
    """Tells whether an operator looks rows of a constant table up, or reads such rows or a constant."""
    maker = net.producer(operator.inputs[0])
    if net.kind(operator) == "DEQUANTIZE" and net.kind(maker) == "GATHER":
        operator = maker
    return operator.inputs[0] >= 0 and net.constant(operator.inputs[0]) is not None


def _multiplied_by_one(net: Net, operator: Any) -> int | None:
    """Returns what is multiplied, if the number is the one next to 1."""
    first, second = operator.inputs
    number = net.scalar(second)
    if number is None or not 0 < abs(number - 1) <= _NEAR_ONE:
        return None
    plain = not option(operator, "fusedActivationFunction") and operator.outputs[0] not in net.graph.outputs
    return first if plain and net.shape(first) == net.shape(operator.outputs[0]) else None
