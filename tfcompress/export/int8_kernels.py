"""Stores kernels that were trained as int8, but that the converter wrote in float32, as int8.

TensorFlow's converter keeps a fake-quantized kernel int8 only where the activations are fake-quantized too; others it
folds to float32. Such a kernel has few values, multiples of one scale, so storing them as int8 changes nothing. The
runtime then quantizes activations as it computes, example by example: dynamic-range quantization.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from tfcompress.export.folding import folded_factors, unfold
from tfcompress.export.stored_kernels import as_stored
from tfcompress.packed.file_weights import WEIGHT_INPUTS
from tfcompress.tflite.graph import Content, Graph, Model, Operator, OperatorCode, operator
from tfcompress.tflite.ordering import order_by_use
from tfcompress.tflite.reading import read
from tfcompress.tflite.runtimes import state_runtime
from tfcompress.tflite.tensor import Tensor, computed, constant
from tfcompress.tflite.writing import write
from tfcompress.traits import FloatArray

_HYBRID = {"FULLY_CONNECTED": 9, "CONV_2D": 5, "DEPTHWISE_CONV_2D": 6}
"""The operator version that takes float32 activations, quantized as it computes, and int8 weights as stored here."""

_CHANNELS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}
"""The axis of the outputs in operators that need one scale per output, which then are equal unless factors differ."""

_OFF_GRID = 1e-3
"""How far from a whole number a multiple of a kernel's scale may be, as float32 rounds it."""

_SAMPLE = 4096
"""The number of weights that are compared first."""


@dataclass(frozen=True, eq=False)
class Int8Kernel:
    """A kernel as its fake quantizer rounds it.

    Attributes:
        values: int8 from -127 to 127, in the shape that Keras gives the kernel.
        scale: what they are multiplied with.
    """

    values: npt.NDArray[np.int8]
    scale: np.float32

    @property
    def numbers(self) -> FloatArray:
        """Returns the rounded kernel."""
        return self.values.astype(np.float32) * self.scale


def fake_quantized(weights: Iterable[Any]) -> dict[str, Int8Kernel]:
    """Returns the kernels of a model that have a trained range, by their names.

    Args:
        weights: all variables of the model; the range of the kernel `name` is in `name_min` and `name_max`, which may
            begin with tfmot's `quant_`.
    """
    by_name = {weight.name.partition(":")[0].removeprefix("quant_"): weight for weight in weights}
    found = {}
    for name, weight in by_name.items():
        highest = by_name.get(f"{name}_max")
        if highest is not None and weight.shape.rank > 1 and highest.shape.rank == 0 and highest.numpy() > 0:
            scale = np.float32(highest.numpy() / 127)
            limit = float(highest.numpy())
            rounded = tf.quantization.fake_quant_with_min_max_vars(weight, -limit, limit, 8, narrow_range=True).numpy()
            found[name] = Int8Kernel(np.rint(rounded / scale).astype(np.int8), scale)
    return found


def store_int8(content: Content, kernels: Mapping[str, Int8Kernel]) -> bytes:
    """Returns a file in which the fake-quantized kernels that are float32 are stored as int8.

    Where the runtime has no operator for float activations and int8 weights, a DEQUANTIZE follows the int8 constant.

    Args:
        content: of a `.tflite` file, as the converter wrote it.
        kernels: from `fake_quantized`.
    """
    if not kernels:
        return bytes(content)
    model = read(content)
    changed = _store(model, kernels)
    # A kernel of a dense layer that has other factors for each output is not on one grid; they become a MUL.
    if unfold(model, {name: kernel.numbers for name, kernel in kernels.items()}):
        _store(model, kernels)
        changed = True
    if not changed:
        return bytes(content)
    order_by_use(model)
    state_runtime(model, at_least_as_before=True)
    return write(model)


def _store(model: Model, kernels: Mapping[str, Int8Kernel]) -> bool:
    """Stores the kernels that have float activations; returns whether there are any."""
    changed = False
    done: dict[Tensor, Tensor] = {}
    for graph in model.graphs:
        for user in graph.operators:
            place = WEIGHT_INPUTS.get(user.kind, len(user.inputs))
            if place >= len(user.inputs):
                continue
            float_weights = user.inputs[place]
            if float_weights not in done:
                quantized = _quantized(graph, user, float_weights, kernels)
                if quantized is None:
                    continue
                done[float_weights] = quantized
            _use(graph, user, place, done[float_weights])
            changed = True
    return changed


def _quantized(graph: Graph, user: Operator, weights: Tensor, kernels: Mapping[str, Int8Kernel]) -> Tensor | None:
    """Returns the int8 constant for an operator's weights, or None if they are no kernel with float activations."""
    unpacked = graph.producer(weights, "DEQUANTIZE")
    if unpacked is not None and unpacked.inputs[0].dtype == "int8":
        weights = unpacked.inputs[0]
    activations = {"TRANSPOSE_CONV": user.inputs[-1], "GATHER": user.outputs[0]}.get(user.kind, user.inputs[0])
    if activations.dtype != "float32":
        return None
    numbers = weights.numbers()
    if numbers is None or numbers.ndim < 2 or not np.any(numbers):
        return None
    axis = _CHANNELS.get(user.kind)
    if weights.dtype == "int8" and len(weights.scales) == 1:
        return _int8(weights, numbers, weights.scales, axis)
    if weights.dtype != "float32":
        return None
    for kernel in kernels.values():
        found = _matched(numbers, kernel, axis)
        if found is not None:
            return _int8(weights, *found, axis)
    return None


def _matched(
    numbers: FloatArray, kernel: Int8Kernel, axis: int | None
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]] | None:
    """Returns float weights as int8 with one scale, or with one per output along `axis`; None if it is no such kernel.

    One factor for all weights, such as attention's 1/√d, goes into the scale.
    """
    if numbers.size != kernel.values.size or not np.any(kernel.values):
        return None
    scale = np.abs(numbers).max() / np.abs(kernel.values.astype(np.int16)).max()
    if _is_whole(numbers.ravel()[:_SAMPLE] / scale) and _is_whole(numbers / scale):
        return np.rint(numbers / scale).astype(np.int8), np.array([scale], np.float32)
    if axis is None:
        return None
    outputs_first = np.moveaxis(numbers, axis, 0)
    # A depthwise convolution has its outputs on two axes.
    outputs_last = kernel.numbers.reshape(*kernel.values.shape[:-2], -1) if axis else kernel.numbers
    trained = as_stored(outputs_last, outputs_first.shape)
    if trained is None:
        return None
    # A weight halfway between two steps can have been rounded to the other one.
    steps = np.abs(outputs_first).max(axis=tuple(range(1, outputs_first.ndim)), keepdims=True) / 126
    factors = folded_factors(outputs_first, trained, steps)
    if factors is None or np.ptp(factors.inputs):
        return None
    factor = factors.outputs.reshape(-1)
    scales = np.where(factor == 0, 1, np.abs(factor)).astype(np.float32) * kernel.scale
    along = scales.reshape([-1 if place == axis else 1 for place in range(numbers.ndim)])
    return np.clip(np.rint(numbers / along), -127, 127).astype(np.int8), scales


def _is_whole(multiples: FloatArray) -> bool:
    return bool(np.all(np.abs(multiples - np.rint(multiples)) < _OFF_GRID))


def _int8(weights: Tensor, values: npt.NDArray[np.int8], scales: npt.NDArray[np.float32], axis: int | None) -> Tensor:
    """Returns a constant with the name of the float weights, and with one scale per output if there is an axis."""
    if axis is not None and len(scales) == 1:
        scales = np.full(values.shape[axis], scales[0], np.float32)
    made = constant(weights.name, values, scales)
    made.axis = axis or 0
    return made


def _use(graph: Graph, user: Operator, place: int, weights: Tensor) -> None:
    """Makes an operator read int8 weights."""
    if user.kind in _HYBRID:
        user.replace_input(place, weights)
        user.code = OperatorCode(user.kind, max(_HYBRID[user.kind], user.code.version), custom=False)
        if user.kind == "FULLY_CONNECTED":
            user.set_option("asymmetricQuantizeInputs", True)
        return
    at = graph.operators.index(user)
    user.replace_input(place, weights)
    if user.kind == "GATHER":
        floats, at = user.outputs[0], at + 1
        packed = computed(f"{floats.name}_int8", floats.free_shape, "int8")
        packed.scales, packed.zero_points = weights.scales, weights.zero_points
        user.outputs = (packed,)
        user.code = OperatorCode(user.kind, max(2, user.code.version), custom=False)
    else:
        floats, packed = computed(f"{weights.name}_dequantized", weights.shape), weights
        user.replace_input(place, floats)
        user.code = OperatorCode(user.kind, 1 if len(user.inputs) == 3 else 3, custom=False)
    unpack = operator("DEQUANTIZE", [packed], [floats], 2, schema.DequantizeOptionsT())
    graph.insert(at, unpack)
