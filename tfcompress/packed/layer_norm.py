"""Finds LayerNorms, which stock files compute with means, multiplications and other operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from tfcompress.packed.options import LayerNormOptions
from tfcompress.tflite.graph import Graph, Operator, custom_operator
from tfcompress.tflite.tensor import Tensor, constant

Formula = str | tuple["Formula", ...] | list["Formula"]
"""A variable, an operator followed by its operands, or a list of alternatives."""

_MEAN: Formula = ("MEAN", "x")
_CENTRED: Formula = ("SUB", "x", _MEAN)
_VARIANCE: Formula = [
    ("MEAN", ("SQUARED_DIFFERENCE", "x", _MEAN)),
    ("MEAN", ("SQUARE", _CENTRED)),
    ("MEAN", ("MUL", _CENTRED, _CENTRED)),
]
_INVERSE: Formula = ("RSQRT", ("ADD", _VARIANCE, "epsilon"))
_SCALE: Formula = [("MUL", _INVERSE, "gamma"), _INVERSE]
_NORMALIZED: Formula = [("MUL", _CENTRED, _INVERSE), ("DIV", _CENTRED, ("SQRT", ("ADD", _VARIANCE, "epsilon")))]

# tf_keras with an epsilon of 1e-3 or more turns rows into the channels of an image and uses batch normalization.
_CHANNELS: Formula = ("rows last", ("split rows", "x"))
_OF_CHANNELS: Formula = ("MEAN of channels", _CHANNELS)
_SPREAD: Formula = ("MEAN of channels", ("SQUARED_DIFFERENCE", _CHANNELS, _OF_CHANNELS))
_FACTOR: Formula = ("RSQRT", ("ADD", _SPREAD, "epsilon"))
_FACTORS: Formula = [_FACTOR, ("MUL", "one", _FACTOR)]
_SHIFT: Formula = ("SUB", "zero", ("MUL", _OF_CHANNELS, _FACTORS))
_BY_CHANNELS: Formula = ("join rows", ("rows second", ("ADD", ("MUL", _CHANNELS, _FACTORS), _SHIFT)))

_PLAIN: Formula = [_NORMALIZED, _BY_CHANNELS]
_SCALED: Formula = [("MUL", _PLAIN, "gamma"), ("MUL", _CENTRED, _SCALE), _PLAIN]
_NORM: Formula = [
    ("ADD", ("MUL", "x", _SCALE), ("SUB", "beta", ("MUL", _MEAN, _SCALE))),  # TensorFlow
    ("SUB", ("MUL", "x", _SCALE), ("MUL", _MEAN, _SCALE)),
    ("ADD", ("MUL", "x", _SCALE), ("ADD", ("MUL", ("NEG", _MEAN), _SCALE), "beta")),  # Keras 3
    ("ADD", ("MUL", "x", _SCALE), ("MUL", ("NEG", _MEAN), _SCALE)),
    ("ADD", _SCALED, "beta"),
    _SCALED,
]
_COMMUTATIVE = ("ADD", "MUL", "SQUARED_DIFFERENCE")
_ROOTS = ("ADD", "SUB", "MUL", "DIV", "RESHAPE")


def find_layer_norms(graph: Graph) -> list[tuple[Operator, Operator]]:
    """Returns the last operator of each LayerNorm, and the operator that replaces it."""
    found: list[tuple[Operator, Operator]] = []
    inside: set[Operator] = set()
    for root in reversed(graph.operators):
        if root.kind not in _ROOTS or root in inside:
            continue
        match = _Match(graph)
        if match.fits(_NORM, root.outputs[0]) and (norm := _layer_norm(graph, match, root)) is not None:
            found.append((root, norm))
            inside |= match.operators
    return found[::-1]


@dataclass
class _Match:
    """The variables and operators that have been matched to a formula so far."""

    graph: Graph
    variables: dict[str, Tensor] = field(default_factory=dict)
    operators: set[Operator] = field(default_factory=set)

    def fits(self, formula: Formula, tensor: Tensor) -> bool:
        """Returns whether a formula computes a tensor, and keeps what was matched if it does."""
        if isinstance(formula, str):
            return self._is_variable(formula, tensor)
        if isinstance(formula, list):
            return any(self._attempt(one, tensor) for one in formula)
        made = self.graph.producer(tensor)
        kind, operands = str(formula[0]), formula[1:]
        if made is None or made.option("fusedActivationFunction"):
            return False
        if kind in _SPECIAL:
            stock, is_special = _SPECIAL[kind]
            fits = made.kind == stock and is_special(self.graph, made) and self._all(operands, made.inputs[:1])
        else:
            fits = made.kind == kind and self._all(operands, made.inputs)
            if not fits and kind in _COMMUTATIVE and made.kind == kind:
                fits = self._all(operands[::-1], made.inputs)
        if fits:
            self.operators.add(made)
        return fits

    def _all(self, formulas: tuple[Formula, ...], tensors: tuple[Tensor, ...]) -> bool:
        before = dict(self.variables), set(self.operators)
        if len(formulas) == len(tensors) and all(map(self.fits, formulas, tensors)):
            return True
        self.variables, self.operators = before
        return False

    def _attempt(self, formula: Formula, tensor: Tensor) -> bool:
        before = dict(self.variables), set(self.operators)
        if self.fits(formula, tensor):
            return True
        self.variables, self.operators = before
        return False

    def _is_variable(self, name: str, tensor: Tensor) -> bool:
        if name == "epsilon":
            known = self.graph.scalar(tensor) is not None
        elif name in ("one", "zero"):
            known = self._is_full_of(tensor, float(name == "one"))
        elif name == "x":
            known = self.graph.numbers(tensor) is None and tensor.dtype == "float32"
        else:
            known = self.graph.numbers(tensor) is not None
        return known and self.variables.setdefault(name, tensor) is tensor

    def _is_full_of(self, tensor: Tensor, number: float) -> bool:
        filled = self.graph.producer(tensor, "FILL")
        values = self.graph.numbers(tensor if filled is None else filled.inputs[1])
        return values is not None and bool((values == number).all())


def _layer_norm(graph: Graph, match: _Match, root: Operator) -> Operator | None:
    x, out = match.variables["x"], root.outputs[0]
    width = x.free_shape[-1] if x.free_shape else -1
    epsilon = graph.scalar(match.variables["epsilon"])
    if width < 1 or x.free_shape != out.free_shape or epsilon is None or not 0 <= epsilon < np.inf:
        return None
    parameters = []
    for name, neutral in (("gamma", 1), ("beta", 0)):
        tensor = match.variables.get(name)
        values = np.full(width, neutral, np.float32) if tensor is None else graph.numbers(tensor)
        if values is None or values.dtype != np.float32 or values.shape[-1:] != (width,) or values.size != width:
            return None
        if tensor is None or tensor.free_shape != (width,) or graph.producer(tensor) is not None:
            tensor = constant(f"{out.name}/{name}", values.reshape(width))
        parameters.append(tensor)
    options = LayerNormOptions(epsilon)
    return custom_operator(options.name, [x, *parameters], [out], options.pack())


def _axes(graph: Graph, one: Operator) -> list[int] | None:
    """Returns the axes that an operator reduces or permutes; None if they are not constant."""
    axes = graph.numbers(one.inputs[1])
    return None if axes is None else axes.ravel().tolist()


def _is_over_last(graph: Graph, mean: Operator) -> bool:
    return bool(mean.option("keepDims")) and _axes(graph, mean) in ([len(mean.inputs[0].free_shape) - 1], [-1])


def _splits_rows(_: Graph, reshape: Operator) -> bool:
    """Returns whether a RESHAPE turns (…, width) into (1, rows, width, 1)."""
    given, made = reshape.inputs[0].free_shape, reshape.outputs[0].free_shape
    return len(made) == 4 and made[0] == made[3] == 1 and made[2] == given[-1]


def _joins_rows(_: Graph, reshape: Operator) -> bool:
    given, made = reshape.inputs[0].free_shape, reshape.outputs[0].free_shape
    return len(given) == 4 and given[0] == given[3] == 1 and made[-1] == given[2]


_SPECIAL: dict[str, tuple[str, Callable[[Graph, Operator], bool]]] = {
    "MEAN": ("MEAN", _is_over_last),
    "MEAN of channels": ("MEAN", lambda graph, mean: _axes(graph, mean) == [0, 1, 2]),
    "split rows": ("RESHAPE", _splits_rows),
    "join rows": ("RESHAPE", _joins_rows),
    "rows last": ("TRANSPOSE", lambda graph, transpose: _axes(graph, transpose) == [0, 2, 3, 1]),
    "rows second": ("TRANSPOSE", lambda graph, transpose: _axes(graph, transpose) == [0, 3, 1, 2]),
}
"""For names in formulas that are not kinds of operators: the kind, and a condition. Only the first input is matched."""
