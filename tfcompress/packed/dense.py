"""Dense layers and token tables of few distinct weights, as operators that read packed indices."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tfcompress.packed import layout
from tfcompress.packed.codebook import MOST, Codebook, find_codebook
from tfcompress.packed.net import Array, Net, option
from tfcompress.packed.options import FLOAT32, INT8, NONE, RELU, TANH, DenseOptions, TableOptions

_FUSED = {0: NONE, 1: RELU, 4: TANH}
"""Activations by the schema's ActivationFunctionType."""


def take_biases(net: Net) -> None:
    """Makes an ADD of one number an output behind a dense layer that layer's bias, also behind a RESHAPE into heads."""
    for add in list(net.operators):
        if net.kind(add) != "ADD" or len(add.inputs) != 2:
            continue
        for y, number in (add.inputs, add.inputs[::-1]):
            dense, between = net.producer(y), None
            if net.kind(dense) == "RESHAPE" and net.only_consumer(y) is not None:
                between, dense = dense, net.producer(dense.inputs[0])
            bias = net.constant(number)
            if bias is not None and _takes_bias(net, dense, y, bias):
                dense.inputs = [*dense.inputs[:2], net.add_constant(net.name(number), bias.ravel())]
                last = between or dense
                last.outputs = add.outputs
                if fused := option(add, "fusedActivationFunction"):
                    dense.builtinOptions = copy.copy(dense.builtinOptions)
                    dense.builtinOptions.fusedActivationFunction = fused
                net.replace([(add, [])])
                break


def _takes_bias(net: Net, dense: Any, y: int, bias: Array) -> bool:
    """Tells whether `bias`, added to `y`, which is a dense layer's output in some shape, is one number an output."""
    if net.kind(dense) != "FULLY_CONNECTED" or option(dense, "fusedActivationFunction") or bias.dtype != np.float32:
        return False
    free = len(dense.inputs) < 3 or dense.inputs[2] < 0
    if not free or any(net.only_consumer(tensor) is None for tensor in (y, dense.outputs[0])):
        return False
    lengths = [size for place, size in enumerate(bias.shape) if size > 1 or any(n > 1 for n in bias.shape[:place])]
    same = list(net.shape(y)[len(net.shape(y)) - len(lengths) :]) == lengths
    return same and bias.size == net.shape(dense.inputs[1])[0] and bias.size > 1


@dataclass(frozen=True)
class Left:
    """Weights that stay as they are, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class _Weights:
    """Weights of an operator in the file: float32 without scales, or int8 with one or one an output."""

    tensor: int
    values: Array
    scales: npt.NDArray[np.float32]
    hybrid: bool  # int8 without a DEQUANTIZE in front: the stock operator quantizes its input


@dataclass
class Packer:
    """Packs the weights of a graph.

    Attributes:
        net: that it is in.
        computing: asked for; None leaves it to each layer's weights.
        left: what was not packed.
    """

    net: Net
    computing: int | None
    left: list[Left] = field(default_factory=list)
    _packed: dict[tuple[int, int], tuple[int, list[int]] | None] = field(default_factory=dict)

    def dense_layers(self) -> list[tuple[Any, list[Any]]]:
        """Returns FULLY_CONNECTED operators, and what stands in their places."""
        found = []
        for operator in self.net.operators:
            if self.net.kind(operator) == "FULLY_CONNECTED" and (packed := self._dense(operator)):
                found.append((operator, packed))
        return found

    def tables(self) -> list[tuple[Any, list[Any]]]:
        """Returns GATHER operators, or DEQUANTIZE operators behind them, and what stands in their places."""
        found = []
        for operator in self.net.operators:
            if self.net.kind(operator) == "GATHER" and (packed := self._table(operator)):
                found.append(packed)
        return found

    def _dense(self, operator: Any) -> list[Any]:
        net, activation = self.net, option(operator, "fusedActivationFunction")
        x, bias = operator.inputs[0], operator.inputs[2] if len(operator.inputs) > 2 else -1
        weights = self._weights(operator.inputs[1])
        if weights is None or net.type(x) != "float32" or len(operator.outputs) != 1:
            return []
        name = net.name(weights.tensor)
        biases = net.constant(bias)
        if activation not in _FUSED or option(operator, "weightsFormat"):
            return self._leave(name, "its fused activation or format of weights is none that can be packed")
        if net.shape(operator.outputs[0]).count(-1) > 1:
            return self._leave(name, "it has more than one free axis")
        if bias >= 0 and (biases is None or biases.dtype != np.float32 or biases.size != len(weights.values)):
            return self._leave(name, "its bias is no float32 constant")
        computing = self.computing if self.computing is not None else INT8 if weights.hybrid else FLOAT32
        packed = self._constants(weights, computing)
        if packed is None:
            return []
        bits, constants = packed
        outputs, inputs = weights.values.shape
        if biases is not None and (net.shape(bias) != (outputs,) or net.producer(bias) is not None):
            bias = net.add_constant(net.name(bias), biases.reshape(outputs))
        made, out = [], operator.outputs[0]
        if net.shape(x)[-1:] != (inputs,):
            flat = net.add_tensor(f"{net.name(x)}_rows", (*net.shape(out)[:-1], inputs))
            made.append(net.reshape(x, flat))
            x = flat
        rows = (*net.shape(x)[:-1], outputs)
        target = out if rows == net.shape(out) else net.add_tensor(f"{net.name(out)}_rows", rows)
        own = DenseOptions(inputs, outputs, bits, computing, _FUSED[activation])
        made.append(net.make_custom(own, [x, *constants[:4], bias, constants[4]], [target]))
        if target != out:
            made.append(net.reshape(target, out))
        return made

    def _table(self, gather: Any) -> tuple[Any, list[Any]] | None:
        net, last = self.net, gather
        table, ids = gather.inputs[:2]
        weights = self._weights(table)
        if weights is None or option(gather, "axis") or option(gather, "batchDims"):
            return None
        if net.type(ids) != "int32":
            self._leave(net.name(weights.tensor), f"its ids are {net.type(ids)}, not int32")
            return None
        if len(weights.scales):
            last = net.only_consumer(gather.outputs[0])
            if net.kind(last) != "DEQUANTIZE" or len(weights.scales) > 1:
                self._leave(net.name(weights.tensor), "its rows are read as int8, or have a scale each")
                return None
        packed = self._constants(weights, None)
        if packed is None:
            return None
        bits, constants = packed
        rows, width = weights.values.shape
        options = TableOptions(rows, width, bits)
        inputs = [ids, *constants[:3], constants[4]]
        return last, [net.make_custom(options, inputs, [last.outputs[0]])]

    def _weights(self, tensor: int) -> _Weights | None:
        """Returns constant weights; None of what is no weights at all."""
        net, hybrid = self.net, True
        maker = net.producer(tensor)
        if net.kind(maker) == "DEQUANTIZE" and net.type(maker.inputs[0]) == "int8":
            tensor, hybrid = maker.inputs[0], False
        values = net.constant(tensor)
        if values is None or values.ndim != 2 or not values.size or values.dtype not in (np.float32, np.int8):
            return None
        if values.dtype == np.float32:
            return _Weights(tensor, values, np.zeros(0, np.float32), False)
        scales, points, axis = net.scales(tensor)
        if len(scales) not in (1, len(values)) or points.any() or (len(scales) > 1 and axis):
            self._leave(net.name(tensor), "its scales or zero points are none that a packed file can hold")
            return None
        return _Weights(tensor, values, scales, hybrid)

    def _constants(self, weights: _Weights, computing: int | None) -> tuple[int, list[int]] | None:
        """Returns bits, and the tensors indices, codebook, scale, sums, original; of a table if nothing computes."""
        key = weights.tensor, -1 if computing is None else computing
        if key not in self._packed:
            self._packed[key] = self._make_constants(weights, computing)
        return self._packed[key]

    def _make_constants(self, weights: _Weights, computing: int | None) -> tuple[int, list[int]] | None:
        net, name = self.net, self.net.name(weights.tensor)
        book = find_codebook(weights.values)
        if book is None:
            self._leave(name, f"it has more than {MOST} distinct values")
            return None
        bits = layout.bits_for(len(book.centroids))
        table = computing is None
        indices = layout.pack_rows(book.indices, bits) if table else layout.pack_matrix(book.indices, bits)
        size = indices.nbytes + book.centroids.nbytes
        # TFLite's versions round the input of an int8 layer differently: a small one is worth a few bytes more.
        if size >= weights.values.nbytes and not (weights.hybrid and bits < 8):
            distinct = f"its {len(book.centroids)} distinct values need {bits} bits"
            self._leave(name, f"{distinct} and {size:,} bytes, not fewer than it has")
            return None
        constants: dict[str, Array] = {"codebook": book.centroids}
        if len(weights.scales):
            constants["scale"] = weights.scales
        elif computing == INT8:
            scale = _scale(book)
            rounded = np.round(book.centroids / scale).astype(np.int8)
            constants = {"codebook": rounded, "scale": np.array([scale], np.float32), "original": book.centroids}
        if computing == INT8:
            constants["sums"] = constants["codebook"].astype(np.int32)[book.indices].sum(1, dtype=np.int32)
        places = [net.add_constant(name, indices)]
        for part in ("codebook", "scale", "sums", "original"):
            places.append(net.add_constant(f"{name}/{part}", constants[part]) if part in constants else -1)
        return bits, places

    def _leave(self, name: str, reason: str) -> list[Any]:
        left = Left(name, reason)
        if left not in self.left:
            self.left.append(left)
        return []


def _scale(book: Codebook) -> np.float32:
    """The step between int8 numbers that costs the matrix the least squared error, none of its centroids cut off."""
    largest = np.abs(book.centroids).max()
    if largest < 127 * np.finfo(np.float32).tiny:
        return np.finfo(np.float32).tiny
    uses = np.bincount(book.indices.ravel(), minlength=len(book.centroids))
    steps = (largest / np.linspace(127.49, 96, 1024)).astype(np.float32)[:, None]
    lost = uses * (book.centroids - np.round(book.centroids / steps) * steps) ** 2
    return np.float32(steps[lost.sum(1).argmin(), 0])
