"""Finding LayerNorms among multiplications and means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfcompress.packed.net import Net, option
from tfcompress.packed.options import NormOptions

Formula = str | tuple["Formula", ...] | list["Formula"]
"""A variable, or an operator before its operands, or a list of formulas of which one is meant."""

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

# tf_keras with an epsilon from 1e-3 on: rows become channels of a picture, which a batch normalization can take.
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
    ("ADD", ("MUL", "x", _SCALE), ("SUB", "beta", ("MUL", _MEAN, _SCALE))),  # TensorFlow's
    ("SUB", ("MUL", "x", _SCALE), ("MUL", _MEAN, _SCALE)),
    ("ADD", ("MUL", "x", _SCALE), ("ADD", ("MUL", ("NEG", _MEAN), _SCALE), "beta")),  # Keras 3's
    ("ADD", ("MUL", "x", _SCALE), ("MUL", ("NEG", _MEAN), _SCALE)),
    ("ADD", _SCALED, "beta"),
    _SCALED,
]
_COMMUTATIVE = ("ADD", "MUL", "SQUARED_DIFFERENCE")
_ROOTS = ("ADD", "SUB", "MUL", "DIV", "RESHAPE")


def find_norms(net: Net) -> list[tuple[Any, Any]]:
    """Returns the last operator of each LayerNorm, and what stands in its place."""
    found: list[tuple[Any, Any]] = []
    inside: set[int] = set()
    for root in reversed(net.operators):
        if net.kind(root) not in _ROOTS or id(root) in inside:
            continue
        match = _Match(net)
        if match.fits(_NORM, root.outputs[0]) and (norm := _norm(net, match, root)) is not None:
            found.append((root, norm))
            inside |= match.operators
    return found[::-1]


@dataclass
class _Match:
    """Variables by name and operators of a formula, as far as it has been found."""

    net: Net
    variables: dict[str, int] = field(default_factory=dict)
    operators: set[int] = field(default_factory=set)

    def fits(self, formula: Formula, tensor: int) -> bool:
        if isinstance(formula, str):
            return self._is_variable(formula, tensor)
        if isinstance(formula, list):
            return any(self._attempt(one, tensor) for one in formula)
        made = self.net.producer(tensor)
        kind, operands = str(formula[0]), formula[1:]
        if made is None or option(made, "fusedActivationFunction"):
            return False
        if kind in _SPECIAL:
            stock, is_special = _SPECIAL[kind]
            fits = self.net.kind(made) == stock and is_special(self.net, made) and self._all(operands, made.inputs[:1])
        else:
            fits = self.net.kind(made) == kind and self._all(operands, made.inputs)
            if not fits and kind in _COMMUTATIVE and self.net.kind(made) == kind:
                fits = self._all(operands[::-1], made.inputs)
        if fits:
            self.operators.add(id(made))
        return fits

    def _all(self, formulas: tuple[Formula, ...], tensors: list[int]) -> bool:
        before = dict(self.variables), set(self.operators)
        if len(formulas) == len(tensors) and all(map(self.fits, formulas, tensors)):
            return True
        self.variables, self.operators = before
        return False

    def _attempt(self, formula: Formula, tensor: int) -> bool:
        before = dict(self.variables), set(self.operators)
        if self.fits(formula, tensor):
            return True
        self.variables, self.operators = before
        return False

    def _is_variable(self, name: str, tensor: int) -> bool:
        if name == "epsilon":
            known = self.net.scalar(tensor) is not None
        elif name in ("one", "zero"):
            known = self._is_full_of(tensor, float(name == "one"))
        elif name == "x":
            known = self.net.constant(tensor) is None and self.net.type(tensor) == "float32"
        else:
            known = self.net.constant(tensor) is not None
        return known and self.variables.setdefault(name, tensor) == tensor

    def _is_full_of(self, tensor: int, number: float) -> bool:
        filled = self.net.producer(tensor)
        values = self.net.constant(filled.inputs[1] if self.net.kind(filled) == "FILL" else tensor)
        return values is not None and bool((values == number).all())


def _norm(net: Net, match: _Match, root: Any) -> Any:
    x, out = match.variables["x"], root.outputs[0]
    width = net.shape(x)[-1] if net.shape(x) else -1
    epsilon = net.scalar(match.variables["epsilon"])
    if width < 1 or net.shape(x) != net.shape(out) or epsilon is None or not 0 <= epsilon < np.inf:
        return None
    parameters = []
    for name, neutral in (("gamma", 1), ("beta", 0)):
        tensor = match.variables.get(name)
        values = np.full(width, neutral, np.float32) if tensor is None else net.constant(tensor)
        if values is None or values.dtype != np.float32 or values.shape[-1:] != (width,) or values.size != width:
            return None
        if tensor is None or net.shape(tensor) != (width,) or net.producer(tensor) is not None:
            tensor = net.add_constant(f"{net.name(out)}/{name}", values.reshape(width))
        parameters.append(tensor)
    return net.make_custom(NormOptions(epsilon), [x, *parameters], [out])


def _axes(net: Net, operator: Any) -> list[int] | None:
    """Returns the axes that an operator sums or exchanges, if they are constant."""
    axes = net.constant(operator.inputs[1])
    return None if axes is None else axes.ravel().tolist()


def _over_last(net: Net, mean: Any) -> bool:
    return bool(option(mean, "keepDims")) and _axes(net, mean) in ([len(net.shape(mean.inputs[0])) - 1], [-1])


def _splits_rows(net: Net, reshape: Any) -> bool:
    """Tells whether a RESHAPE makes (…, width) to (1, rows, width, 1)."""
    given, made = net.shape(reshape.inputs[0]), net.shape(reshape.outputs[0])
    return len(made) == 4 and made[0] == made[3] == 1 and made[2] == given[-1]


def _joins_rows(net: Net, reshape: Any) -> bool:
    given, made = net.shape(reshape.inputs[0]), net.shape(reshape.outputs[0])
    return len(given) == 4 and given[0] == given[3] == 1 and made[-1] == given[2]


_SPECIAL: dict[str, tuple[str, Callable[[Net, Any], bool]]] = {
    "MEAN": ("MEAN", _over_last),
    "MEAN of channels": ("MEAN", lambda net, mean: _axes(net, mean) == [0, 1, 2]),
    "split rows": ("RESHAPE", _splits_rows),
    "join rows": ("RESHAPE", _joins_rows),
    "rows last": ("TRANSPOSE", lambda net, transpose: _axes(net, transpose) == [0, 2, 3, 1]),
    "rows second": ("TRANSPOSE", lambda net, transpose: _axes(net, transpose) == [0, 3, 1, 2]),
}
"""What is asked of an operator beside its kind; only its first input is looked at."""
