"""Proof that a flatbuffer holds what the techniques promised, tensor by tensor, and gives what the model gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tf_keras

from tfcompress import traits
from tfcompress.errors import UserError
from tfcompress.export.converter import Format
from tfcompress.packed import file_weights
from tfcompress.packed.file_weights import WeightTensor
from tfcompress.traits import FloatArray, KernelTraits, Traits

_STORED_AS = {"float32": "float32", "float16": "float16", "dynamic": "int8", "int8": "int8"}
_FLOAT16_EPSILON = 2.0**-10
_SMALLEST_DYNAMIC = 1024
"""The converter leaves weight tensors of fewer elements float in `dynamic`."""


@dataclass(frozen=True)
class VerifiedTensor:
    """What was found in the flatbuffer for one kernel of the model.

    Attributes:
        layer: name in the model.
        tensor: name in the file.
        format: storage type.
        shape: as stored, `(outputs, …, inputs)`, of a table `(rows, width)`.
        distinct: distinct stored values.
        sparsity: share of stored zeros.
        table: whether it is the table of an Embedding.
        bytes: in the file.
    """

    layer: str
    tensor: str
    format: str
    shape: tuple[int, ...]
    distinct: int
    sparsity: float
    table: bool
    bytes: int


def verify(content: bytes, model: tf_keras.Model, promised: Traits, format: Format) -> list[VerifiedTensor]:
    """Finds each kernel of the model in the flatbuffer and checks its traits there.

    A kernel is recognised by its values, not by its name: the tensor must hold them, to within half a step of its
    quantization.

    Returns:
        What was found for each kernel; one without promised traits that the converter changed is left out.

    Raises:
        BrokenTraitError: a kernel lost its clusters, zeros or quantization on the way into the file.
        UserError: a kernel with promised traits is not in the file.
    """
    candidates = file_weights.weights(content)
    verified = []
    for name, kernel in traits.kernels(model).items():
        tensor = next((t for t in candidates if _holds(t, kernel)), None)
        if tensor is None and promised.get(name, KernelTraits()) == KernelTraits():
            continue  # The converter folds a BatchNormalization behind it, channel by channel, into a kernel.
        if tensor is None:
            raise UserError(f"{name}: no weight tensor in the {format} file holds this kernel; please report it")
        _check_format(name, tensor, format, promised.get(name, KernelTraits()))
        stored = tensor.values if tensor.table else np.moveaxis(tensor.values, 0, -1)
        traits.check(f"{tensor.name} ({name})", stored, promised.get(name, KernelTraits()), kernel)
        found = VerifiedTensor(
            layer=name,
            tensor=tensor.name,
            format=tensor.format,
            shape=tensor.values.shape,
            distinct=traits.distinct_values(stored),
            sparsity=float(np.mean(stored == 0)),
            table=tensor.table,
            bytes=tensor.bytes,
        )
        verified.append(found)
    return verified


def _holds(tensor: WeightTensor, kernel: FloatArray) -> bool:
    """Tells whether the tensor's values are those of a kernel `(…, inputs, outputs)`, up to rounding and one factor.

    The factor is there because the converter folds a multiplication that follows, such as attention's 1/√d, into the
    weights.
    """
    expected = kernel if tensor.table else np.moveaxis(kernel, -1, 0)
    if tensor.values.size != expected.size or tensor.values.shape[0] != expected.shape[0]:
        return False
    found = tensor.dequantized().reshape(expected.shape)
    # The largest weight is stored exactly: it defines the scale.
    factor = np.abs(found).max() / max(np.abs(expected).max(), np.finfo(np.float32).tiny)
    if tensor.format == "int8":
        tolerance = tensor.scales.reshape(-1, *(1,) * (expected.ndim - 1)) * 0.51
    else:
        tolerance = np.abs(found) * (_FLOAT16_EPSILON if tensor.format == "float16" else 1e-5) + 1e-7
    return bool(np.all(np.abs(found - factor * expected) <= tolerance))


def _check_format(name: str, tensor: WeightTensor, format: Format, promised: KernelTraits) -> None:
    wanted = _STORED_AS[format]
    if format == "int8" and not promised.quantized:
        wanted = "float32"
    if format == "dynamic" and tensor.values.size < _SMALLEST_DYNAMIC:
        return
    if tensor.format != wanted:
        raise traits.BrokenTraitError(f"{tensor.name} ({name}): stored as {tensor.format}, {wanted} was asked for")
    if promised.quantized and len(tensor.scales) != 1:
        raise traits.BrokenTraitError(f"{tensor.name} ({name}): {len(tensor.scales)} scales, one was asked for")
