"""Traits of kernels, such as sparsity: how they are measured, and how a technique's promises are checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tfcompress import layer_kernels
from tfcompress.errors import UserError

FloatArray = npt.NDArray[np.float32]

KERNELS: Mapping[type, str] = {
    tf_keras.layers.Dense: "kernel",
    tf_keras.layers.Conv2D: "kernel",
    tf_keras.layers.Embedding: "embeddings",
}
"""The exact classes of layers that techniques compress, and Keras's name for their kernel, or embedding table."""

MAX_CLUSTERS = 256
"""The largest number of distinct values of a clustered kernel, which is what an 8-bit index can address."""

MIN_SPARSITY = 0.05
"""The smallest fraction of zeros of a pruned kernel; other trained kernels have almost no exact zeros."""


_ROUNDING = 1e-6
"""By how much of the largest value those that are one may differ, since they were multiplied and divided."""


class BrokenTraitError(UserError):
    """A kernel lacks a trait that a technique promised; the message has its name and both figures."""


@dataclass(frozen=True)
class KernelTraits:
    """The traits of one kernel.

    Attributes:
        clusters: upper bound on the number of distinct values, or None if the kernel is not clustered.
        sparsity: lower bound on the fraction of zeros, 0 to 1; with a block pattern, on that of all-zero blocks.
        pattern: `unstructured`, `M:N` (M zeros in each group of N consecutive inputs) or `RxC` (blocks of R inputs × C
            outputs).
        quantized: whether the values lie on an int8 grid with one scale for the whole kernel.
        scales: what the few values are multiplied by, one number per output; empty if they are not.
    """

    clusters: int | None = None
    sparsity: float = 0.0
    pattern: str = "unstructured"
    quantized: bool = False
    scales: tuple[float, ...] = ()

    @property
    def scheme(self) -> str:
        """The quantization-aware training that preserves these traits: QAT, PQAT, CQAT or PCQAT."""
        return ("P" if self.sparsity else "") + ("C" if self.clusters else "") + "QAT"


Traits = Mapping[str, KernelTraits]
"""The traits of kernels by layer name."""


def kernels(model: tf_keras.Model) -> dict[str, FloatArray]:
    """Returns the kernels of a model's Dense, Conv2D and Embedding layers, and all that are quantized, by name.

    Kernels are `(…, inputs, outputs)`, embedding tables `(rows, width)`. A kernel has the name of its layer, without
    that of its QAT wrapper; a further kernel of the same layer is called as in `lstm/recurrent_kernel`.
    """
    return {name: kernel for _, name, kernel in _found(model)}


def variables(layer: tf_keras.layers.Layer) -> dict[str, tf.Variable]:
    """Returns the variables of a layer, wrapped or not, by the last part of their names, such as `kernel`."""
    return {variable.name.split(":")[0].split("/")[-1]: variable for variable in layer.weights}


def is_table(layer: tf_keras.layers.Layer) -> bool:
    """Returns whether the kernel of an unwrapped layer is an embedding table, whose rows are looked up."""
    return type(layer) is tf_keras.layers.Embedding


def measure(kernel: npt.NDArray[np.generic]) -> KernelTraits:
    """Measures the traits of one kernel with float or integer values.

    A kernel of one value, such as zero, has none: it was initialized so.
    """
    distinct = distinct_values(kernel)
    if distinct == 1:
        return KernelTraits()
    zeros = float(np.mean(kernel == 0))
    return KernelTraits(
        clusters=distinct if distinct <= min(MAX_CLUSTERS, kernel.size // 4) else None,
        sparsity=zeros if zeros >= MIN_SPARSITY else 0.0,
    )


def measure_model(model: tf_keras.Model) -> dict[str, KernelTraits]:
    """Measures the traits of each kernel of a model for which none are recorded.

    The sparsity of embedding tables is ignored: no technique prunes them, and rows of unused tokens may be zero.
    """
    return {
        layer.name: replace(measure(kernel), sparsity=0.0) if is_table(layer) else measure(kernel)
        for layer, _, kernel in _found(model)
    }


def sparsity(kernel: npt.NDArray[np.generic], pattern: str) -> float:
    """Returns the fraction of zeros in a kernel `(…, inputs, outputs)`, or of all-zero blocks for an `RxC` pattern."""
    zero = kernel == 0
    if "x" not in pattern:
        return float(zero.mean())
    rows, columns = (int(side) for side in pattern.split("x"))
    padding = [(0, -size % side) for size, side in zip(zero.shape, (rows, columns), strict=True)]
    padded = np.pad(zero, padding, constant_values=True)
    blocks = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
    return float(np.asarray(blocks.all(axis=(1, 3))).mean())


def unscaled(kernel: npt.NDArray[np.generic], scales: tuple[float, ...]) -> FloatArray:
    """Returns a kernel `(…, inputs, outputs)` divided by positive scales, one per output.

    Quotients that differ by rounding alone become equal. Zeros stay zero.
    """
    quotients, places = np.unique(kernel / np.asarray(scales), return_inverse=True)
    first = np.diff(quotients, prepend=-np.inf) > _ROUNDING * np.abs(quotients).max()
    found = quotients[first].astype(np.float32)
    groups = np.cumsum(first) - 1
    found[groups[quotients == 0]] = 0
    divided: FloatArray = found[groups[places]].reshape(kernel.shape)
    return divided


def distinct_values(kernel: npt.NDArray[np.generic], scales: tuple[float, ...] = ()) -> int:
    """Returns the number of distinct values in an array, before they were multiplied by scales; see `unscaled`."""
    if scales:
        return len(np.unique(unscaled(kernel, scales)))
    # numpy 2.4 sorts float16 incorrectly with AVX-512, and then counts some values twice.
    return len(np.unique(kernel.astype(np.float32) if kernel.dtype == np.float16 else kernel))


def check(name: str, kernel: npt.NDArray[np.generic], promised: KernelTraits, before: FloatArray | None = None) -> None:
    """Checks that a kernel has the promised traits.

    Args:
        name: name of the kernel in errors.
        kernel: `(…, inputs, outputs)`, float or integer.
        promised: the traits that it must have.
        before: the kernel of the previous stage; its zeros must still be zeros if sparsity is promised, unless it has
            no other values.

    Raises:
        BrokenTraitError: names the kernel, the figure found and the figure promised.
    """
    distinct = distinct_values(kernel, promised.scales)
    if promised.clusters is not None and distinct > promised.clusters:
        raise BrokenTraitError(f"{name}: {distinct} distinct values, but at most {promised.clusters} were promised")
    if not promised.sparsity:
        return
    found = sparsity(kernel, promised.pattern)
    if found < promised.sparsity - _one_unit(kernel, promised.pattern):
        raise BrokenTraitError(
            f"{name}: sparsity {found:.4f} ({promised.pattern}), but {promised.sparsity:.4f} was promised"
        )
    if ":" in promised.pattern:
        zeros, group = (int(number) for number in promised.pattern.split(":"))
        inputs = np.moveaxis(kernel == 0, -2, -1)
        short = int((inputs.reshape(-1, group).sum(axis=1) < zeros).sum())
        if short:
            raise BrokenTraitError(f"{name}: {short} groups of {group} have fewer than {zeros} zeros")
    if before is not None and np.any(before):
        revived = int(((before == 0) & (kernel != 0)).sum())
        if revived:
            raise BrokenTraitError(f"{name}: {revived} weights that were pruned are no longer zero")


def check_model(model: tf_keras.Model, promised: Traits, before: tf_keras.Model | None = None) -> None:
    """Applies `check` to every kernel of a model; `before` is the model of the previous stage."""
    earlier = kernels(before) if before is not None else {}
    for name, kernel in kernels(model).items():
        check(name, kernel, promised.get(name, KernelTraits()), earlier.get(name))


def _found(model: tf_keras.Model) -> Iterator[tuple[tf_keras.layers.Layer, str, FloatArray]]:
    """Yields each layer that has a kernel, without its QAT wrapper, with the kernel's name and the kernel."""
    for layer in model.layers:
        inner = getattr(layer, "layer", layer)
        # In a QAT model the layer's own attributes are the fake-quantized tensors.
        quantized = [variable for variable, *_ in getattr(layer, "_weight_vars", ())]
        if quantized:
            kept = zip(layer_kernels.paths(inner), layer_kernels.names(inner), quantized, strict=True)
            for path, name, variable in kept:
                yield inner, name, layer_kernels.by_output(inner, path, variable.numpy())
        elif type(inner) in KERNELS:
            yield inner, inner.name, variables(layer)[KERNELS[type(inner)]].numpy()


def _one_unit(kernel: npt.NDArray[np.generic], pattern: str) -> float:
    """Returns the fraction of one weight or block, because pruning rounds its target to a whole number of them."""
    if "x" not in pattern:
        return 1 / int(kernel.size)
    rows, columns = (int(side) for side in pattern.split("x"))
    blocks: int = -(-kernel.shape[0] // rows) * -(-kernel.shape[1] // columns)
    return 1 / blocks
