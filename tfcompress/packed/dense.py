"""Replaces dense layers and embedding tables that have clustered weights by operators that read packed indices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tfcompress.packed import layout
from tfcompress.packed.codebook import (
    MAX_CENTROIDS,
    Codebook,
    ScaledCentroids,
    find_codebook,
    find_scaled_codebook,
)
from tfcompress.packed.options import ALIGNMENT, Activation, Computing, DenseOptions, Flags, TableOptions
from tfcompress.packed.patches import cut_patches
from tfcompress.tflite.graph import Graph, Operator, custom_operator, reshape
from tfcompress.tflite.tensor import ABSENT, Array, Tensor, computed, constant

_FUSED = {0: Activation.NONE, 1: Activation.RELU, 4: Activation.TANH}
"""Activations by their number in the schema's ActivationFunctionType."""

_TABLES_BYTES = 80
"""What the tables of a tensor and its buffer take in a file, without the tensor's name."""


def absorb_biases(graph: Graph) -> None:
    """Turns an ADD of one number per output into the bias of the dense layer before it, even across a RESHAPE."""
    for add in graph.operators:
        if add.kind != "ADD" or len(add.inputs) != 2:
            continue
        for y, numbers in (add.inputs, add.inputs[::-1]):
            dense, between = graph.producer(y), None
            if dense is not None and dense.kind == "RESHAPE" and graph.only_consumer(y) is not None:
                between, dense = dense, graph.producer(dense.inputs[0])
            bias = graph.numbers(numbers)
            if bias is not None and dense is not None and _can_absorb(graph, dense, y, bias):
                dense.inputs = (*dense.inputs[:2], constant(numbers.name, bias.ravel()))
                (between or dense).outputs = add.outputs
                if fused := add.option("fusedActivationFunction"):
                    dense.set_option("fusedActivationFunction", fused)
                graph.replace([(add, [])])
                break


def _can_absorb(graph: Graph, dense: Operator, y: Tensor, bias: Array) -> bool:
    """Returns whether an ADD of `bias` to `y`, a dense layer's output in any shape, can become its bias."""
    if dense.kind != "FULLY_CONNECTED" or dense.option("fusedActivationFunction") or bias.dtype != np.float32:
        return False
    free = len(dense.inputs) < 3 or dense.inputs[2] is ABSENT
    if not free or any(graph.only_consumer(tensor) is None for tensor in (y, dense.outputs[0])):
        return False
    lengths = tuple(size for place, size in enumerate(bias.shape) if size > 1 or any(n > 1 for n in bias.shape[:place]))
    same = y.free_shape[len(y.free_shape) - len(lengths) :] == lengths
    return same and bias.size == dense.inputs[1].free_shape[0] and bias.size > 1


@dataclass(frozen=True)
class SkippedWeights:
    """The name of weights that were not packed, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True)
class _Weights:
    """The weights of an operator: float32 without scales, or int8 with one scale, or one per output or row."""

    tensor: Tensor
    values: Array
    scales: npt.NDArray[np.float32]
    hybrid: bool  # int8 and not dequantized: the stock operator quantizes its input at run time


@dataclass(frozen=True)
class _PackedConstants:
    """The constants of packed weights, with `ABSENT` for a part that they lack. Tables have no `sums`."""

    bits: int
    flags: Flags
    indices: Tensor
    codebook: Tensor
    scale: Tensor
    sums: Tensor
    original: Tensor


@dataclass
class WeightPacker:
    """Packs the weights of a graph.

    Attributes:
        graph: the graph to pack.
        computing: the type to compute in; None chooses it by the weights of each layer.
        allow_larger: also pack weights that take more bytes packed, unless they need 8 bits each.
        codebooks: the codebooks that are known, by the name of the weights.
        skipped: the weights that were not packed so far.
    """

    graph: Graph
    computing: Computing | None
    allow_larger: bool
    codebooks: Mapping[str, ScaledCentroids]
    skipped: list[SkippedWeights] = field(default_factory=list)
    _packed: dict[tuple[Tensor, Computing | None], _PackedConstants | None] = field(default_factory=dict)

    def pack_dense_layers(self) -> list[tuple[Operator, list[Operator]]]:
        """Returns each FULLY_CONNECTED or CONV_2D that can be packed, and the operators that replace it."""
        found = []
        for operator in self.graph.operators:
            if operator.kind in ("FULLY_CONNECTED", "CONV_2D") and (packed := self._dense(operator)):
                found.append((operator, packed))
        return found

    def pack_tables(self) -> list[tuple[Operator, list[Operator]]]:
        """Returns each lookup that can be packed, or the DEQUANTIZE after it, and the operators that replace it."""
        found = []
        for operator in self.graph.operators:
            if operator.kind in ("GATHER", "EMBEDDING_LOOKUP") and (packed := self._table(operator)):
                found.append(packed)
        return found

    def _dense(self, operator: Operator) -> list[Operator]:
        activation = _FUSED.get(int(operator.option("fusedActivationFunction")))
        x, bias = operator.inputs[0], operator.inputs[2] if len(operator.inputs) > 2 else ABSENT
        made: list[Operator] = []
        if convolves := operator.kind == "CONV_2D":
            cut = cut_patches(operator)
            if cut is None:
                return []
            made, x = cut
        weights = self._weights(operator.inputs[1], 4 if convolves else 2)
        if weights is None or x.dtype != "float32" or len(operator.outputs) != 1:
            return []
        name, out = weights.tensor.name, operator.outputs[0]
        biases = self.graph.numbers(bias)
        if activation is None or operator.option("weightsFormat"):
            return self._skip(name, "its fused activation or weight format cannot be packed")
        if out.free_shape.count(-1) > 1:
            return self._skip(name, "its output has more than one free length")
        if bias is not ABSENT and (biases is None or biases.dtype != np.float32 or biases.size != len(weights.values)):
            return self._skip(name, "its bias is not a float32 constant")
        computing = self.computing
        if computing is None:
            computing = Computing.INT8 if weights.hybrid else Computing.FLOAT32
        packed = self._constants(weights, computing)
        if packed is None:
            return []
        outputs, inputs = weights.values.shape
        if biases is not None and (bias.free_shape != (outputs,) or self.graph.producer(bias) is not None):
            bias = constant(bias.name, biases.reshape(outputs))
        if x.free_shape[-1:] != (inputs,):
            flat = computed(f"{x.name}_rows", (*out.free_shape[:-1], inputs))
            made.append(reshape(x, flat))
            x = flat
        rows = (*x.free_shape[:-1], outputs)
        target = out if rows == out.free_shape else computed(f"{out.name}_rows", rows)
        own = DenseOptions(inputs, outputs, packed.bits, computing, activation, flags=packed.flags)
        constants = (packed.indices, packed.codebook, packed.scale, packed.sums, bias, packed.original)
        made.append(custom_operator(own.name, [x, *constants], [target], own.pack()))
        if target is not out:
            made.append(reshape(target, out))
        return made

    def _table(self, lookup: Operator) -> tuple[Operator, list[Operator]] | None:
        last: Operator | None = lookup
        gathers = lookup.kind == "GATHER"
        table, ids = lookup.inputs[:2] if gathers else lookup.inputs[1::-1]
        weights = self._weights(table)
        if weights is None or lookup.option("axis") or lookup.option("batchDims"):
            return None
        if ids.dtype != "int32":
            self._skip(weights.tensor.name, f"its ids are {ids.dtype}, not int32")
            return None
        if len(weights.scales) and gathers:
            last = self.graph.only_consumer(lookup.outputs[0])
            if last is None or last.kind != "DEQUANTIZE" or len(weights.scales) > 1:
                self._skip(weights.tensor.name, "its rows are read as int8, or each row has its own scale")
                return None
        packed = self._constants(weights, None)
        if packed is None or last is None:
            return None
        rows, width = weights.values.shape
        own = TableOptions(rows, width, packed.bits, packed.flags)
        inputs = [ids, packed.indices, packed.codebook, packed.scale, packed.original]
        return last, [custom_operator(own.name, inputs, [last.outputs[0]], own.pack())]

    def _weights(self, tensor: Tensor, rank: int = 2) -> _Weights | None:
        """Returns the constant weights that a tensor stands for; None if there are none or they cannot be packed.

        Of more than two axes, those behind the first are joined.
        """
        hybrid = True
        unpacked = self.graph.producer(tensor, "DEQUANTIZE")
        if unpacked is not None and unpacked.inputs[0].dtype == "int8":
            tensor, hybrid = unpacked.inputs[0], False
        values = self.graph.numbers(tensor)
        if values is None or values.ndim != rank or not values.size or values.dtype not in (np.float32, np.int8):
            return None
        values = values.reshape(len(values), -1)
        if values.dtype == np.float32:
            return _Weights(tensor, values, np.zeros(0, np.float32), False)
        scales = tensor.scales
        if len(scales) not in (1, len(values)) or tensor.zero_points.any() or (len(scales) > 1 and tensor.axis):
            self._skip(tensor.name, "a packed file cannot hold its scales or zero points")
            return None
        return _Weights(tensor, values, scales, hybrid)

    def _constants(self, weights: _Weights, computing: Computing | None) -> _PackedConstants | None:
        """Returns the constants of packed weights, the same for all readers. Without `computing` they are a table's."""
        key = weights.tensor, computing
        if key not in self._packed:
            self._packed[key] = self._make_constants(weights, computing)
        return self._packed[key]

    def _make_constants(self, weights: _Weights, computing: Computing | None) -> _PackedConstants | None:
        name = weights.tensor.name
        known = self.codebooks.get(name)
        book = None if known is None else find_scaled_codebook(weights.values, known)
        book = book or find_codebook(weights.values)
        if book is None:
            why = f"it has more than {MAX_CENTROIDS} distinct values"
            self._skip(name, why if known is None else f"{why}, and its codebook with scales does not give them")
            return None
        bits = layout.bits_for(len(book.centroids))
        table = computing is None
        indices = layout.pack_rows(book.indices, bits) if table else layout.pack_matrix(book.indices, bits)
        parts: dict[str, Array] = {"codebook": book.centroids}
        if scales := [one for one in (weights.scales, book.scales) if len(one)]:
            parts["scale"] = scales[0]
        if computing == Computing.INT8 and not len(weights.scales):
            parts = _rounded(book)
        flags = Flags.SCALES if len(book.scales) or (table and len(weights.scales) > 1) else Flags.NONE
        if computing == Computing.INT8:
            parts["sums"] = parts["codebook"].astype(np.int32)[book.indices].sum(1, dtype=np.int32)
        size = _stored_bytes(name, indices, *parts.values())
        if size >= _stored_bytes(name, weights.values) and not (self.allow_larger and bits < 8):
            distinct = f"its {len(book.centroids)} distinct values need {bits} bits each"
            self._skip(name, f"{distinct} and {size:,} bytes in all, no fewer than now")
            return None

        def part(which: str) -> Tensor:
            return constant(f"{name}/{which}", parts[which]) if which in parts else ABSENT

        return _PackedConstants(
            bits, flags, constant(name, indices), *map(part, ("codebook", "scale", "sums", "original"))
        )

    def _skip(self, name: str, reason: str) -> list[Operator]:
        """Notes why weights are not packed, and returns no operators."""
        skipped = SkippedWeights(name, reason)
        if skipped not in self.skipped:
            self.skipped.append(skipped)
        return []


def _stored_bytes(name: str, *constants: Array) -> int:
    """Returns about how many bytes constants take in a packed file, with their tensors and buffers."""
    return sum(-(-values.nbytes // ALIGNMENT) * ALIGNMENT + len(name) + _TABLES_BYTES for values in constants)


def _rounded(book: Codebook) -> dict[str, Array]:
    """Returns the constants of float32 weights that are multiplied as int8: the centroids over the step size, rounded.

    With scales, the step size is a power of two, because the scales and the centroids, which are kept, absorb it. It is
    1 if the centroids reach 127, as those of `tfcompress cluster` do.
    """
    if not len(book.scales):
        step = _scale(book)
        scale, original = np.array([step], np.float32), book.centroids
    else:
        largest = max(np.abs(book.centroids).max(), np.finfo(np.float32).tiny)
        step = np.exp2(np.ceil(np.log2(largest / np.float32(127.49))))
        scale, original = book.scales * step, book.centroids / step
    return {"codebook": np.round(book.centroids / step).astype(np.int8), "scale": scale, "original": original}


def _scale(book: Codebook) -> np.float32:
    """Returns the int8 step size with the least squared error over the matrix that clips no centroid."""
    largest = np.abs(book.centroids).max()
    if largest < 127 * np.finfo(np.float32).tiny:
        return np.finfo(np.float32).tiny
    uses = np.bincount(book.indices.ravel(), minlength=len(book.centroids))
    steps = (largest / np.linspace(127.49, 96, 1024)).astype(np.float32)[:, None]
    lost = uses * (book.centroids - np.round(book.centroids / steps) * steps) ** 2
    return np.float32(steps[lost.sum(1).argmin(), 0])
