"""Int8 convolutions whose clusters stay clusters, because all of their outputs have the same scale."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfcompress.export.stored_kernels import as_stored, half_a_step
from tfcompress.tflite.graph import Content
from tfcompress.tflite.reading import read
from tfcompress.tflite.tensor import Tensor, constant
from tfcompress.tflite.writing import write
from tfcompress.traits import FloatArray

_LARGEST = 127


def share_scales(content: Content, kernels: Mapping[str, FloatArray]) -> bytes:
    """Returns a file in which the scales of an int8 convolution are equal, rounded anew from its trained kernel.

    litert-quantizer gives each output of a convolution a scale of its own, in which one cluster becomes many int8
    values. One scale for the whole tensor, LiteRT would compute wrongly in such files.

    Args:
        content: of a `dynamic` `.tflite` file.
        kernels: the kernels whose clusters have to stay, `(…, inputs, outputs)`, by the names of their layers.
    """
    model = read(content)
    for operator in model.operators():
        if operator.kind != "CONV_2D":
            continue
        stored = operator.inputs[1]
        for kernel in kernels.values():
            trained = as_stored(kernel, stored.shape)
            if trained is not None and len(stored.scales) > 1 and kernel.any() and _holds(stored, trained):
                scale = np.float32(np.abs(trained).max() / _LARGEST)
                values = np.round(trained / scale).astype(np.int8)
                operator.replace_input(1, constant(stored.name, values, np.full(len(stored.scales), scale)))
                break
    return write(model)


def _holds(stored: Tensor, trained: FloatArray) -> bool:
    scales = stored.scales.reshape(-1, *(1,) * (trained.ndim - 1))
    return bool(np.all(np.abs(stored.values() * scales - trained) <= half_a_step(stored.scales, trained.ndim)))
