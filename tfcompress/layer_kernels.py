"""Which weights of a layer can be int8, and their axes as inputs and outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

_layers = tf_keras.layers

Array = npt.NDArray[Any]

_RECURRENT = (_layers.LSTM, _layers.GRU, _layers.SimpleRNN)

_KERNELS: Mapping[type, tuple[str, ...]] = {
    _layers.Dense: ("kernel",),
    _layers.Embedding: ("embeddings",),
    _layers.EinsumDense: ("kernel",),
    _layers.Conv1D: ("kernel",),
    _layers.Conv2D: ("kernel",),
    _layers.Conv2DTranspose: ("kernel",),
    _layers.DepthwiseConv2D: ("depthwise_kernel",),
    _layers.SeparableConv1D: ("depthwise_kernel", "pointwise_kernel"),
    _layers.SeparableConv2D: ("depthwise_kernel", "pointwise_kernel"),
    **dict.fromkeys(_RECURRENT, ("cell.kernel", "cell.recurrent_kernel")),
}
_CUT_BY_THE_CELL = 1
"""The `implementation` of a cell that multiplies by parts of its kernels, which the converter then leaves float."""


QUANTIZABLE = (*_KERNELS, _layers.Bidirectional)
"""The classes of layers whose kernels can be int8; wrappers of recurrent layers are others."""


def paths(layer: tf_keras.layers.Layer) -> tuple[str, ...]:
    """Returns the attributes of a layer that hold its kernels, such as `cell.kernel`; none if they cannot be int8."""
    inner: tuple[str, ...] = ()
    if isinstance(layer, _layers.Bidirectional):
        inner = ("forward_layer", "backward_layer")
    elif isinstance(layer, _layers.Wrapper) and type(layer.layer) in _RECURRENT:
        inner = ("layer",)
    if inner:
        return tuple(f"{attribute}.{path}" for attribute in inner for path in paths(getattr(layer, attribute)))
    kind = type(layer)
    if getattr(layer, "groups", 1) > 1 or (kind is _layers.EinsumDense and _einsum_axes(layer.equation) is None):
        return ()
    if kind in (_layers.LSTM, _layers.GRU) and layer.cell.implementation == _CUT_BY_THE_CELL:
        return ()
    if kind is _layers.GRU and not layer.cell.reset_after:  # It cuts its recurrent kernel in any case.
        return ("cell.kernel",)
    return _KERNELS.get(kind, ())


def names(layer: tf_keras.layers.Layer) -> list[str]:
    """Returns what the kernels of a layer are called, in the order of `paths`: the first one as the layer."""
    others = [path.replace("cell.", "").replace(".", "/") for path in paths(layer)[1:]]
    return [layer.name, *(f"{layer.name}/{path}" for path in others)][: len(paths(layer))]


def owner(layer: tf_keras.layers.Layer, path: str) -> tuple[Any, str]:
    """Returns the object that has the last attribute of a path, and that attribute's name."""
    *parts, last = path.split(".")
    found: Any = layer
    for part in parts:
        found = getattr(found, part)
    return found, last


def by_output(layer: tf_keras.layers.Layer, path: str, kernel: Array) -> Array:
    """Returns a kernel as `(…, inputs, outputs)`; an embedding table as it is, `(rows, width)`."""
    kind = type(layer)
    if kind is _layers.EinsumDense:
        axes = _einsum_axes(layer.equation)
        assert axes is not None
        inputs, outputs = axes
        size = int(np.prod([kernel.shape[axis] for axis in inputs]))
        return kernel.transpose(*inputs, *outputs).reshape(size, -1)
    if kind is _layers.Conv2DTranspose:
        return kernel.swapaxes(-1, -2)
    if path == "depthwise_kernel":
        return kernel.reshape(*kernel.shape[:-2], 1, -1)
    return kernel


def _einsum_axes(equation: str) -> tuple[list[int], list[int]] | None:
    """Returns the axes of an EinsumDense kernel that are summed over, and the others; None if some do neither."""
    features, kernel, outputs = (set(part) for part in re.split(",|->", equation))
    letters = re.split(",|->", equation)[1]
    if kernel & features & outputs or not kernel <= features | outputs:
        return None
    return [i for i, x in enumerate(letters) if x in features], [i for i, x in enumerate(letters) if x in outputs]
