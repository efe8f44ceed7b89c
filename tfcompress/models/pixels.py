"""The pixels that a picture model takes, by the layers that scale them at its beginning."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

from tfcompress.models.operations import Operation
from tfcompress.pixel_range import BYTES, SIGNED, UNIT, PixelRange

_SCALING = {
    "Rescaling", "Normalization", "Resizing", "CenterCrop", "RandomFlip", "RandomCrop", "RandomRotation", "RandomZoom",
    "RandomTranslation", "RandomContrast", "RandomBrightness", "RandomHeight", "RandomWidth", "Activation", "Dropout",
    "GaussianNoise",
}  # fmt: skip
"""Layers after which a picture is still one, perhaps with other values."""

_SCALING_OPERATIONS = {
    "Add", "AddV2", "Sub", "Mul", "RealDiv", "Cast", "Identity", "ReverseV2", "ResizeBilinear", "ResizeNearestNeighbor",
}  # fmt: skip

_SMALLEST, _LARGEST = 0.3, 20.0
"""How far apart black and white are where a model begins to compute."""


def pixel_range_of(model: tf_keras.Model) -> PixelRange | None:
    """Returns the values of black and white that a model scales to small numbers around zero.

    Args:
        model: a functional tf_keras model.

    Returns:
        One of `UNIT`, `BYTES` and `SIGNED`, or None if none or several of them fit, or no layer scales its input.
    """
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        return None
    last = model.inputs[0].node.layer
    while True:
        readers = [layer for layer in model.layers if _reads(layer, last)]
        if len(readers) != 1 or not _scales(readers[0]):
            break
        last = readers[0]
    if last is model.inputs[0].node.layer:
        return None
    scaled = tf_keras.Model(model.input, last.output)
    black, white = (_of_grey(scaled, value) for value in (0.0, 1.0))
    if np.allclose(black, 0, atol=1e-4) and np.allclose(white, 1, atol=1e-4):
        return None
    fitting = [known for known in (UNIT, BYTES, SIGNED) if _fits(known, black, white - black)]
    return fitting[0] if len(fitting) == 1 else None


def _reads(layer: tf_keras.layers.Layer, source: tf_keras.layers.Layer) -> bool:
    return any(x.node.layer is source for node in layer.inbound_nodes for x in node.keras_inputs)


def _scales(layer: tf_keras.layers.Layer) -> bool:
    if isinstance(layer, Operation):
        return layer.operation in _SCALING_OPERATIONS and not isinstance(layer.input, list)
    kind = type(layer)
    own = kind.__module__.partition(".")[0] == "tf_keras" and kind.__name__ in _SCALING
    return own and getattr(layer, "activation", None) in (None, tf_keras.activations.linear)


def _of_grey(scaled: tf_keras.Model, value: float) -> npt.NDArray[Any]:
    """Returns the mean of each channel for a picture of one colour."""
    picture = np.full((1, *scaled.input_shape[1:]), value, scaled.inputs[0].dtype.as_numpy_dtype)
    means: npt.NDArray[Any] = np.asarray(scaled(picture, training=False)).mean((0, 1, 2))
    return means


def _fits(pixels: PixelRange, offset: npt.NDArray[Any], factor: npt.NDArray[Any]) -> bool:
    """Returns whether black and white become small numbers, on both sides of zero or not far from it."""
    ends = np.sort([offset + factor * pixels[0], offset + factor * pixels[1]], axis=0)
    spread = ends[1] - ends[0]
    near_zero = (ends[0] - spread <= 0) & (ends[1] + spread >= 0)
    return bool(np.all(near_zero & (spread >= _SMALLEST) & (spread <= _LARGEST)))
