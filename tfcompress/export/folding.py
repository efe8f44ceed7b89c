"""Kernels into which the converter multiplied constants, and how they become what they were.

TensorFlow's converter multiplies the factors of a BatchNormalization, of a LayerScale or of other constants into the
kernel beside them, one per output or one per input. Zeros stay zeros, but clusters do not stay clusters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.export.stored_kernels import as_stored
from tfcompress.tflite.graph import Graph, Model, Operator, operator
from tfcompress.tflite.tensor import ABSENT, computed, constant
from tfcompress.traits import FloatArray

_TOLERANCE = 1e-5
_ALTERNATIONS = 200
"""The largest number of times that factors per output and per input are fitted in turn."""

_SAMPLE = 32
"""The number of outputs and of inputs of a kernel that are compared first."""

_LEAST_FACTOR = 1e-6
"""Smaller factors, relative to the largest, count as this one, because a bias is divided by them."""


@dataclass(frozen=True)
class Factors:
    """What a kernel was multiplied with: `kernel * outputs * inputs`.

    Attributes:
        outputs: `(outputs, 1, …)`, all 1 if there are no such factors.
        inputs: `(1, …, inputs)`, all 1 if there are no such factors.
    """

    outputs: FloatArray
    inputs: FloatArray

    @property
    def uniform(self) -> bool:
        """Whether they are one factor for the whole kernel, which leaves its clusters as they are."""
        return bool(np.ptp(self.outputs) <= _TOLERANCE * np.abs(self.outputs).max() and np.ptp(self.inputs) == 0)


def folded_factors(found: FloatArray, kernel: FloatArray, tolerance: float | FloatArray = 0.0) -> Factors | None:
    """Returns the factors with which a kernel was multiplied, or None if it is another kernel.

    Args:
        found: `(outputs, …, inputs)`, as a file holds it.
        kernel: the same as it was trained.
        tolerance: the rounding of the stored values, which may differ by output.
    """
    # A part tells most other kernels apart in a fraction of the time.
    part = (_sample(found.shape[0]), *(slice(None),) * (found.ndim - 2), _sample(found.shape[-1]))
    rounding = np.broadcast_to(tolerance, found.shape)
    if not np.any(found) or _fit(found[part], kernel[part], rounding[part]) is None:
        return None
    return _fit(found, kernel, rounding)


def _sample(size: int) -> slice:
    return slice(None, None, max(1, size // _SAMPLE))


def _fit(found: FloatArray, kernel: FloatArray, tolerance: FloatArray) -> Factors | None:
    ones = Factors(*(np.ones(_along(axis, found), np.float32) for axis in (0, found.ndim - 1)))
    outputs = _fitted(found, kernel * ones.inputs, 0)
    if _explains(found, kernel, Factors(outputs, ones.inputs), tolerance):
        return Factors(outputs, ones.inputs)
    inputs = _fitted(found, kernel * ones.outputs, found.ndim - 1)
    if _explains(found, kernel, Factors(ones.outputs, inputs), tolerance):
        return Factors(ones.outputs, inputs)
    if found.ndim != 2 or not _is_product(found, kernel, tolerance):
        return None
    factors = Factors(outputs, ones.inputs)
    for _ in range(_ALTERNATIONS):
        inputs = _fitted(found, kernel * factors.outputs, 1)
        factors = Factors(_fitted(found, kernel * inputs, 0), inputs)
        if _explains(found, kernel, factors, tolerance):
            return factors
    return None


def _along(axis: int, array: FloatArray) -> tuple[int, ...]:
    """Returns the shape of factors along one axis of an array."""
    return tuple(size if place == axis else 1 for place, size in enumerate(array.shape))


def _fitted(found: FloatArray, kernel: FloatArray, axis: int) -> FloatArray:
    """Returns the factors along an axis with which the kernel comes nearest to what was found (least squares)."""
    others = tuple(a for a in range(found.ndim) if a != axis)
    squares = np.sum(np.square(kernel, dtype=np.float64), axis=others, keepdims=True)
    products = np.sum(np.multiply(kernel, found, dtype=np.float64), axis=others, keepdims=True)
    factors: FloatArray = products / np.where(squares > 0, squares, 1)
    return factors


def _explains(found: FloatArray, kernel: FloatArray, factors: Factors, tolerance: FloatArray) -> bool:
    product = kernel * factors.outputs * factors.inputs
    limit = tolerance + _TOLERANCE * np.abs(product).max(axis=-1, keepdims=True) + np.finfo(np.float32).tiny
    return bool(np.all(np.abs(found - product) <= limit))


def _is_product(found: FloatArray, kernel: FloatArray, tolerance: FloatArray) -> bool:
    """Returns whether factors per output and per input can explain two rows and the zeros.

    It spares most kernels the fitting.
    """
    if np.any((kernel == 0) & (np.abs(found) > tolerance)):
        return False
    rows = np.argsort(-np.count_nonzero(kernel, axis=1))[:2]
    used = np.all((kernel[rows] != 0) & (found[rows] != 0), axis=0)
    if len(rows) < 2 or used.sum() < 2:
        return len(rows) == 2  # These rows do not tell.
    ratios = found[rows][:, used] / kernel[rows][:, used]
    quotients = ratios[0] / ratios[1]
    middle = np.median(quotients)
    uncertain = 0.1 + np.sum(tolerance[rows][:, used] / np.abs(found[rows][:, used]), axis=0)
    return bool(np.mean(np.abs(quotients - middle) <= uncertain * np.abs(middle)) > 0.5)


def unfold(model: Model, kernels: Mapping[str, FloatArray]) -> bool:
    """Stores float32 kernels as they were trained; returns whether anything was folded into them.

    What the converter multiplied into the kernel of a FULLY_CONNECTED or CONV_2D becomes a MUL of its own.

    Args:
        model: what the converter wrote; it is changed.
        kernels: the kernels to restore, `(…, inputs, outputs)`, by the names of their layers.
    """
    changed = False
    for graph in model.graphs:
        before: list[Operator] = []
        for dense in graph.operators:
            if dense.kind not in ("FULLY_CONNECTED", "CONV_2D"):
                continue
            stored = dense.inputs[1].numbers()
            if stored is None or stored.dtype != np.float32:
                continue
            for kernel in kernels.values():
                trained = as_stored(kernel, stored.shape)
                factors = None if trained is None else folded_factors(stored, trained)
                if trained is None or factors is None or factors.uniform:
                    continue
                dense.replace_input(1, constant(f"{dense.inputs[1].name}_trained", np.ascontiguousarray(trained)))
                if np.ptp(factors.outputs):
                    _multiply_after(graph, dense, factors.outputs.reshape(-1))
                if np.ptp(factors.inputs):
                    _multiply_before(graph, dense, factors.inputs.reshape(-1), before)
                changed = True
                break
    return changed


def _multiply_before(graph: Graph, dense: Operator, factors: FloatArray, earlier: list[Operator]) -> None:
    """Multiplies the input of an operator, by one of the `earlier` MULs if possible; a new one is added to them."""
    x, factors = dense.inputs[0], factors.astype(np.float32)
    for same in earlier:
        if same.inputs[0] is x and np.allclose(same.inputs[1].values(), factors, rtol=_TOLERANCE, atol=0):
            dense.replace_input(0, same.outputs[0])
            return
    scaled = computed(f"{x.name}_scaled_for_{dense.outputs[0].name}", x.free_shape)
    added = operator("MUL", [x, constant(f"{scaled.name}_factors", factors)], [scaled], options=schema.MulOptionsT())
    dense.replace_input(0, scaled)
    graph.insert(graph.operators.index(dense), added)
    earlier.append(added)


def _multiply_after(graph: Graph, dense: Operator, factors: FloatArray) -> None:
    least = np.float32(_LEAST_FACTOR) * np.abs(factors).max()
    factors = np.where(np.abs(factors) < least, least, factors).astype(np.float32)
    out = dense.outputs[0]
    scaled = computed(f"{out.name}_unscaled", out.free_shape)
    bias = dense.inputs[2] if len(dense.inputs) > 2 else ABSENT
    values = bias.numbers()
    if values is not None:
        dense.replace_input(2, constant(f"{bias.name}_unscaled", values / factors))
    options = schema.MulOptionsT(fusedActivationFunction=int(dense.option("fusedActivationFunction")))
    dense.set_option("fusedActivationFunction", 0)
    dense.outputs = (scaled,)
    after = operator("MUL", [scaled, constant(f"{out.name}_factors", factors)], [out], options=options)
    graph.insert(graph.operators.index(dense) + 1, after)
