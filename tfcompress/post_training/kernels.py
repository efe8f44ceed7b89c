"""Finds the weights of a float graph that can be clustered: of dense layers, of patches and of tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tfcompress.names import distinct_names
from tfcompress.packed.patches import cut_patches
from tfcompress.tflite.graph import Graph, Model, Operator
from tfcompress.tflite.tensor import Array, Tensor

FloatArray = npt.NDArray[np.float32]

SMALLEST_KERNEL = 1024
"""Kernels with fewer weights are left alone unless they are asked for: a codebook would take what they save."""

LOOKUPS = ("GATHER", "EMBEDDING_LOOKUP")
"""Operators that look up rows of a table."""

_WEIGHTS = {"FULLY_CONNECTED": 1, "CONV_2D": 1, "GATHER": 0, "EMBEDDING_LOOKUP": 1}
"""The index of the input that holds the weights, by kind of operator. Another of its first two is what they read."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights that can be clustered.

    Attributes:
        name: of the tensor; no two kernels have the same.
        tensor: the constant, float32 `(outputs, inputs)` of a dense layer, `(outputs, height, width, channels)` of a
            convolution, or `(rows, width)` of a table.
        operators: those that read it, in the order in which they run.
        kind: a convolution cuts patches that do not overlap, so that it is a dense layer of patches. A table that is
            also the kernel of a dense layer counts as one.
    """

    name: str
    tensor: Tensor
    operators: tuple[Operator, ...]
    kind: Literal["dense", "convolution", "table"]

    @property
    def matrix(self) -> FloatArray:
        """The weights as `(outputs, inputs)`, or as `(rows, width)` of a table."""
        values = self.tensor.values()
        return values.reshape(len(values), -1)

    def set_values(self, values: FloatArray) -> None:
        """Gives the constant new values, also for whatever else shares its buffer."""
        assert self.tensor.buffer is not None
        self.tensor.buffer.data = values.reshape(-1).view(np.uint8)

    @property
    def rows_key(self) -> object:
        """Equal for kernels for which `rows` returns the same."""
        return self.kind, *self.tensor.shape[self.kind != "table" :]

    def rows(self, values: Array) -> Array:
        """Returns the rows `(rows, inputs)` of an operator's input that the weights are multiplied by, or the ids."""
        if self.kind == "convolution":
            return _patches(values, *self.tensor.shape[1:3])
        return values.reshape(-1) if self.kind == "table" else values.reshape(-1, self.tensor.shape[1])


def read_by(operator: Operator) -> Tensor:
    """Returns what an operator multiplies its weights by, or the ids that it looks up in its table."""
    return operator.inputs[1 - _WEIGHTS[operator.kind]]


def find_kernels(model: Model) -> list[Kernel]:
    """Returns the kernels of a file with float32 weights, in the order in which they are used first.

    Kernels get distinct names. In a graph, tensors that share a buffer and a shape become one. Of kernels that share a
    buffer all the same, as those of several signatures do, the first is returned, and those of its shape get its name.
    """
    readers: dict[Tensor, list[Operator]] = {}
    for graph in model.graphs:
        _merge_shared(graph)
        for operator in graph.operators:
            place = _WEIGHTS.get(operator.kind)
            if place is not None and _why_not(graph, operator, operator.inputs[place]) is None:
                readers.setdefault(operator.inputs[place], []).append(operator)
    first = {tensor.buffer: tensor for tensor in reversed(readers)}
    tensors = [tensor for tensor in readers if first[tensor.buffer] is tensor]
    for tensor, name in zip(tensors, distinct_names([one.name for one in tensors], "kernel"), strict=True):
        tensor.name = name
    for tensor in readers:
        if tensor.shape == first[tensor.buffer].shape:
            tensor.name = first[tensor.buffer].name
    return [Kernel(tensor.name, tensor, tuple(readers[tensor]), _kind(readers[tensor])) for tensor in tensors]


def left_alone(graph: Graph) -> dict[str, str]:
    """Returns, by name, why the large float constants of a graph that are no kernels cannot be clustered."""
    found: dict[str, str] = {}
    for operator in graph.operators:
        for place, tensor in enumerate(operator.inputs):
            if tensor.dtype == "float32" and len(tensor.data) and tensor.elements >= SMALLEST_KERNEL:
                own = place == _WEIGHTS.get(operator.kind)
                reason = _why_not(graph, operator, tensor) if own else f"{operator.kind} reads it"
                if reason is not None:
                    found.setdefault(tensor.name, reason)
    return found


def _why_not(graph: Graph, operator: Operator, weights: Tensor) -> str | None:
    """Returns why the weights of an operator cannot be clustered; None if they can be."""
    if weights in graph.inputs or weights.numbers() is None or weights.dtype != "float32":
        return "it is not a float32 constant"
    if operator.kind == "FULLY_CONNECTED":
        shuffled = operator.option("weightsFormat")
        return "its weights are shuffled" if shuffled or len(weights.shape) != 2 else None
    if operator.kind == "CONV_2D":
        return None if cut_patches(operator) is not None else "its convolution does not cut patches"
    plain = len(weights.shape) == 2 and not operator.option("axis") and not operator.option("batchDims")
    return None if plain else "it is not a table of rows"


def _kind(operators: list[Operator]) -> Literal["dense", "convolution", "table"]:
    kinds = {operator.kind for operator in operators}
    if "CONV_2D" in kinds:
        return "convolution"
    return "dense" if "FULLY_CONNECTED" in kinds else "table"


def _patches(images: Array, height: int, width: int) -> Array:
    """Returns the patches `(patches, height · width · channels)` of images `(batch, height, width, channels)`."""
    batch, rows, columns, channels = images.shape
    down, across = rows // height, columns // width
    cut = images[:, : down * height, : across * width].reshape(batch, down, height, across, width, channels)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(-1, height * width * channels)


def _merge_shared(graph: Graph) -> None:
    """Makes one tensor of float constants that share a buffer and a shape."""
    first: dict[object, Tensor] = {}
    merged = {}
    for tensor in graph.tensors:
        if tensor.dtype == "float32" and len(tensor.data) and tensor not in graph.outputs:
            kept = first.setdefault((tensor.buffer, tensor.shape), tensor)
            if kept is not tensor:
                merged[tensor] = kept
    for operator in graph.operators:
        if not merged.keys().isdisjoint(operator.inputs):
            operator.inputs = tuple(merged.get(tensor, tensor) for tensor in operator.inputs)
