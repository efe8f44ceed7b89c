"""What the techniques have established about each kernel, measured from weights and checked against promises."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

from tfcompress.errors import UserError

FloatArray = npt.NDArray[np.float32]

KERNELS: Mapping[type, str] = {
    tf_keras.layers.Dense: "kernel",
    tf_keras.layers.Conv2D: "kernel",
    tf_keras.layers.Embedding: "embeddings",
}
"""The layers that the techniques know, by exact class, and what Keras calls their kernel; a table counts as one."""

MAX_CLUSTERS = 256
"""A kernel of at most this many distinct values counts as clustered: more than an 8-bit index can name is not."""

MIN_SPARSITY = 0.05
"""From this share of exact zeros on a kernel counts as pruned; trained kernels have next to none by chance."""


class BrokenTraitError(UserError):
    """A kernel does not have what a technique promised: which one, the figure found, the figure promised."""


@dataclass(frozen=True)
class KernelTraits:
    """What holds for one kernel.

    Attributes:
        clusters: at most so many distinct values, or None.
        sparsity: at least this share of zeros (of all-zero blocks for a block pattern), 0 to 1.
        pattern: `unstructured`, `M:N` (M zeros in each N consecutive inputs) or `RxC` blocks (inputs × outputs).
        quantized: the values lie on an int8 grid with one scale for the kernel.
    """

    clusters: int | None = None
    sparsity: float = 0.0
    pattern: str = "unstructured"
    quantized: bool = False

    @property
    def scheme(self) -> str:
        """The quantization-aware training that keeps this kernel's traits: QAT, PQAT, CQAT or PCQAT."""
        return ("P" if self.sparsity else "") + ("C" if self.clusters else "") + "QAT"


Traits = Mapping[str, KernelTraits]
"""Traits by layer name."""


def kernels(model: tf_keras.Model) -> dict[str, FloatArray]:
    """Returns the kernels of a model's Dense and Conv2D layers and its token tables `(rows, width)` by layer name.

    Those of a QAT model are found under the plain layer's name.
    """
    return {layer.name: kernel for layer, kernel in _found(model)}


def variables(layer: tf_keras.layers.Layer) -> dict[str, Any]:
    """Returns the variables of a layer, wrapped or plain, by the last part of their names: `kernel`, `output_max`."""
    return {variable.name.split(":")[0].split("/")[-1]: variable for variable in layer.weights}


def is_table(layer: tf_keras.layers.Layer) -> bool:
    """Tells whether the kernel of a plain layer is a table, whose rows are looked up."""
    return type(layer) is tf_keras.layers.Embedding


def measure(kernel: npt.NDArray[np.generic]) -> KernelTraits:
    """Measures the traits of one kernel of float or integer values."""
    distinct = distinct_values(kernel)
    zeros = float(np.mean(kernel == 0))
    return KernelTraits(
        clusters=distinct if distinct <= min(MAX_CLUSTERS, kernel.size // 4) else None,
        sparsity=zeros if MIN_SPARSITY <= zeros < 1 else 0.0,
    )


def measure_model(model: tf_keras.Model) -> dict[str, KernelTraits]:
    """Measures the traits of each kernel of a plain model that arrives without a record of them.

    Zeros of a table do not count: nothing prunes tables, and rows that no text reads may be zero.
    """
    return {
        layer.name: replace(measure(kernel), sparsity=0.0) if is_table(layer) else measure(kernel)
        for layer, kernel in _found(model)
    }


def sparsity(kernel: npt.NDArray[np.generic], pattern: str) -> float:
    """Returns the share of zeros of a kernel `(…, inputs, outputs)`, or of all-zero blocks for an `RxC` pattern."""
    zero = kernel == 0
    if "x" not in pattern:
        return float(zero.mean())
    rows, columns = (int(side) for side in pattern.split("x"))
    padding = [(0, -size % side) for size, side in zip(zero.shape, (rows, columns), strict=True)]
    padded = np.pad(zero, padding, constant_values=True)
    blocks = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
    return float(np.asarray(blocks.all(axis=(1, 3))).mean())


def distinct_values(kernel: npt.NDArray[np.generic]) -> int:
    """Returns the number of distinct values of an array."""
    # numpy 2.4 missorts float16 with AVX-512, so that it finds some values twice.
    return len(np.unique(kernel.astype(np.float32) if kernel.dtype == np.float16 else kernel))


def check(name: str, kernel: npt.NDArray[np.generic], promised: KernelTraits, before: FloatArray | None = None) -> None:
    """Checks that a kernel has the promised traits.

    Args:
        name: what the error calls the tensor.
        kernel: `(…, inputs, outputs)`, float or integer.
        promised: the traits it must have.
        before: the kernel of the stage before, whose zeros must still be zeros if sparsity is promised.

    Raises:
        BrokenTraitError: with the tensor's name, the figure found and the figure promised.
    """
    distinct = distinct_values(kernel)
    if promised.clusters is not None and distinct > promised.clusters:
        raise BrokenTraitError(f"{name}: {distinct} distinct values, at most {promised.clusters} were promised")
    if not promised.sparsity:
        return
    found = sparsity(kernel, promised.pattern)
    if found < promised.sparsity - _one_unit(kernel, promised.pattern):
        raise BrokenTraitError(
            f"{name}: sparsity {found:.4f} ({promised.pattern}), {promised.sparsity:.4f} was promised"
        )
    if ":" in promised.pattern:
        zeros, group = (int(number) for number in promised.pattern.split(":"))
        inputs = np.moveaxis(kernel == 0, -2, -1)
        short = int((inputs.reshape(-1, group).sum(axis=1) < zeros).sum())
        if short:
            raise BrokenTraitError(f"{name}: {short} groups of {group} have fewer than {zeros} zeros")
    if before is not None:
        revived = int(((before == 0) & (kernel != 0)).sum())
        if revived:
            raise BrokenTraitError(f"{name}: {revived} weights that were pruned are no longer zero")


def check_model(model: tf_keras.Model, promised: Traits, before: tf_keras.Model | None = None) -> None:
    """Checks every kernel of a model by `check`; `before` is the model of the stage before."""
    earlier = kernels(before) if before is not None else {}
    for name, kernel in kernels(model).items():
        check(name, kernel, promised.get(name, KernelTraits()), earlier.get(name))


def _found(model: tf_keras.Model) -> Iterator[tuple[tf_keras.layers.Layer, FloatArray]]:
    """Yields each layer that has a kernel, plain or taken out of its QAT wrapper, with the kernel."""
    for layer in model.layers:
        inner = getattr(layer, "layer", layer)
        if type(inner) in KERNELS:
            # Under QAT `inner.kernel` is the fake-quantized tensor, so the variable is looked up by its name.
            yield inner, variables(layer)[KERNELS[type(inner)]].numpy()


def _one_unit(kernel: npt.NDArray[np.generic], pattern: str) -> float:
    """The share of one weight, or one block: targets are rounded to whole ones."""
    if "x" not in pattern:
        return 1 / int(kernel.size)
    rows, columns = (int(side) for side in pattern.split("x"))
    blocks: int = -(-kernel.shape[0] // rows) * -(-kernel.shape[1] // columns)
    return 1 / blocks
