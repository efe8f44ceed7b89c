"""Verifies, kernel by kernel, that a `.tflite` file keeps the traits that the techniques promised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

from tfcompress import traits
from tfcompress.errors import UserError
from tfcompress.export.float16 import SMALLEST_FLOAT16
from tfcompress.export.folding import folded_factors
from tfcompress.export.formats import ConverterFormat
from tfcompress.export.stored_kernels import as_stored, half_a_step
from tfcompress.packed import file_weights
from tfcompress.packed.file_weights import WeightTensor
from tfcompress.traits import FloatArray, KernelTraits, Traits

_STORED_AS: dict[ConverterFormat, str] = {"float32": "float32", "float16": "float16", "dynamic": "int8", "int8": "int8"}
_FLOAT16_EPSILON = 2.0**-10
_SMALLEST_DYNAMIC = 1024
"""In `dynamic`, the converter keeps weight tensors with fewer elements in float32."""


@dataclass(frozen=True)
class VerifiedTensor:
    """How a file stores one kernel of the model.

    Attributes:
        layer: its name in the model.
        tensor: its name in the file.
        format: `float32`, `float16` or `int8`.
        shape: as stored: `(outputs, …, inputs)`, or `(rows, width)` of a table.
        distinct: the number of distinct stored values, before they were multiplied by scales per output.
        sparsity: the share of stored values that are 0.
        table: whether it is the table of an Embedding.
        bytes: its size in the file.
    """

    layer: str
    tensor: str
    format: str
    shape: tuple[int, ...]
    distinct: int
    sparsity: float
    table: bool
    bytes: int


def verify(content: bytes, model: tf_keras.Model, promised: Traits, format: ConverterFormat) -> list[VerifiedTensor]:
    """Finds each kernel of the model in a file and checks its traits there.

    A kernel is recognised by its values, not by its name: a tensor must hold them to within half a quantization step.

    Args:
        content: of the `.tflite` file.
        model: the model that it was converted from.
        promised: the traits of each kernel, by name.
        format: the format that the model was converted to.

    Returns:
        One entry per kernel. A kernel without promised traits that the converter changed is left out.

    Raises:
        BrokenTraitError: a kernel lost its clusters, zeros or quantization on the way into the file.
        UserError: a kernel with promised traits is not in the file, or not in the graphs of all its signatures.
    """
    candidates = file_weights.weights(content)
    kernels = traits.kernels(model)
    holders = {name: next((t for t in candidates if _holds(t, kernel)), None) for name, kernel in kernels.items()}
    # Factors per output or input take much longer to find, so they are looked for only in what is left.
    others = [t for t in candidates if not any(t is holder for holder in holders.values())]
    verified = []
    for name, kernel in kernels.items():
        expected = promised.get(name, KernelTraits())
        tensor = holders[name] or next((t for t in others if _holds_folded(t, kernel)), None)
        if tensor is None and expected == KernelTraits():
            continue
        if tensor is None:
            raise UserError(
                f"{name}: no weight tensor in the {format} file holds this kernel; the outputs do not depend on it, or "
                f"the converter merged it with another one; leave it out with layers.{name.partition('/')[0]}: false"
            )
        if not tensor.shared:
            raise UserError(
                f"{name}: the converter stored this kernel differently in the {format} graphs of several lengths; "
                "leave export.lengths out"
            )
        _check_format(name, tensor, format, expected, dense=kernel.ndim < 3)
        stored = tensor.values
        if not tensor.table:  # In a packed file, the kernel of a convolution has two axes.
            stored = np.moveaxis(stored.reshape(np.moveaxis(kernel, -1, 0).shape), 0, -1)
        traits.check(f"{tensor.name} ({name})", stored, expected, kernel)
        found = VerifiedTensor(
            layer=name,
            tensor=tensor.name,
            format=tensor.format,
            shape=tensor.values.shape,
            distinct=traits.distinct_values(stored, expected.scales),
            sparsity=float(np.mean(stored == 0)),
            table=tensor.table,
            bytes=tensor.bytes,
        )
        verified.append(found)
    return verified


def _holds(tensor: WeightTensor, kernel: FloatArray) -> bool:
    """Returns whether a tensor holds the values of a kernel `(…, inputs, outputs)`, up to rounding and one factor.

    The factor allows for a multiplication, such as attention's 1/√d, that the converter folded into the weights.
    """
    expected = as_stored(kernel, tensor.values.shape, tensor.table)
    if expected is None:
        return False
    found = tensor.dequantized()
    # The largest weight defines the scale, so it is stored exactly. No factor makes zeros of other weights.
    factor = np.abs(found).max() / np.abs(expected).max() if found.any() and expected.any() else 1
    return bool(np.all(np.abs(found - factor * expected) <= _rounding(tensor, found)))


def _holds_folded(tensor: WeightTensor, kernel: FloatArray) -> bool:
    """Returns whether a tensor holds a kernel, up to rounding and what `tfcompress.export.folding` finds in it."""
    expected = None if tensor.table else as_stored(kernel, tensor.values.shape)
    if expected is None:
        return False
    found = tensor.dequantized()
    return folded_factors(found, expected, 2 * _rounding(tensor, found)) is not None


def _rounding(tensor: WeightTensor, found: FloatArray) -> npt.NDArray[np.floating[Any]]:
    """Returns by how much the stored values may differ from those that were rounded."""
    if tensor.format == "int8":
        return half_a_step(tensor.scales, found.ndim)
    return np.abs(found) * (_FLOAT16_EPSILON if tensor.format == "float16" else 1e-5) + 1e-7


def _check_format(
    name: str, tensor: WeightTensor, format: ConverterFormat, promised: KernelTraits, dense: bool
) -> None:
    wanted = _STORED_AS[format]
    if format == "int8" and not promised.quantized:
        wanted = "float32"
    smallest = {"dynamic": _SMALLEST_DYNAMIC, "float16": SMALLEST_FLOAT16}.get(format, 0)
    if tensor.values.size < smallest and tensor.format in ("float32", wanted):
        return
    if tensor.format != wanted:
        raise traits.BrokenTraitError(f"{tensor.name} ({name}): stored as {tensor.format} instead of {wanted}")
    # A convolution with float activations needs one scale per output, which is the same for all until factors differ.
    if promised.quantized and dense and len(tensor.scales) != 1:
        raise traits.BrokenTraitError(f"{tensor.name} ({name}): {len(tensor.scales)} scales instead of one")
