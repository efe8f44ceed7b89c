"""What clustering single kernels does to the outputs of a file, and how many bytes it leaves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfcompress.errors import UserError
from tfcompress.measure.divergence import divergence
from tfcompress.measure.interpreter import Example
from tfcompress.packed.codebook import Codebook
from tfcompress.packed.layout import bits_for
from tfcompress.post_training.clustering import codebook, statistics
from tfcompress.post_training.floats import unpack_weights
from tfcompress.post_training.kernels import find_kernels
from tfcompress.post_training.method import Settings
from tfcompress.post_training.pieces import Pieces
from tfcompress.tflite.graph import Content, Graph
from tfcompress.tflite.reading import read
from tfcompress.tflite.tensor import Array, Tensor


@dataclass(frozen=True)
class Damage:
    """What a kernel costs that is clustered alone.

    Attributes:
        divergence: mean Kullback-Leibler divergence of the outputs from those of the file as it was, in nats.
        bytes: of the packed kernel: its indices, its centroids and its scales.
    """

    divergence: float
    bytes: int


def damages(
    source: Content, examples: Sequence[Example], wanted: Mapping[str, Mapping[int, Settings]], measured: int
) -> Iterator[tuple[str, int, Damage]]:
    """Clusters one kernel at a time, for its inputs in the file as it was, and runs what is behind it.

    Args:
        source: the bytes of a float `.tflite` file that `cluster` takes.
        examples: calibration data without labels, features without a batch axis.
        wanted: settings by the name of the kernel and a key.
        measured: on how many examples the outputs are compared, the first of all.

    Yields:
        The name of the kernel, the key of the settings and the damage.

    Raises:
        UserError: the examples do not fit the file, or its outputs are no scores of two classes or more; see `scores`.
    """
    model = read(source)
    unpack_weights(model)
    kernels = [kernel for kernel in find_kernels(model) if wanted.get(kernel.name)]
    output = scores(model.graphs[0])
    with tempfile.TemporaryDirectory(prefix="tfcompress-") as first, tempfile.TemporaryDirectory() as second:
        beginning = Pieces(model, examples[:measured], Path(first))
        expected = beginning.results(output, measured)
        pieces = Pieces(model, examples, Path(second))
        for kernel, found in statistics(pieces, model, kernels):
            original = kernel.tensor.values().copy()
            # A kernel that several operators read is yielded at the last of them.
            start = pieces if len(kernel.operators) == 1 else beginning
            for key, settings in wanted[kernel.name].items():
                book = codebook(kernel, found, settings)
                kernel.set_values(book.values())
                lost = average_divergence(start.results(output, measured), expected)
                kernel.set_values(original)
                yield kernel.name, key, Damage(lost, packed_bytes(book))


def results(source: Content, examples: Sequence[Example]) -> Array:
    """Returns the `scores` of a file for examples, `(n, …)`."""
    model = read(source)
    with tempfile.TemporaryDirectory(prefix="tfcompress-") as folder:
        return Pieces(model, examples, Path(folder)).results(scores(model.graphs[0]), len(examples))


def scores(graph: Graph) -> Tensor:
    """Returns the output whose divergence counts: the first of rank 2 with real numbers, or else the nearest to that.

    Raises:
        UserError: its last axis has one number, which has no divergence.
    """
    output = min(graph.outputs, key=lambda one: (one.dtype != "float32", len(one.shape) != 2))
    if output.dtype != "float32" or not output.shape or output.shape[-1] < 2:
        raise UserError(
            f"output {output.name} has the type {output.dtype} and the shape {output.shape}; the divergence of outputs "
            "needs float32 scores of two classes or more"
        )
    return output


def average_divergence(found: Array, expected: Array) -> float:
    """Returns the mean divergence over all but the last axis, in nats; infinity if the outputs are not finite."""
    if not np.isfinite(found).all():
        return float("inf")
    classes = found.shape[-1]
    return max(0.0, float(divergence(found.reshape(-1, classes), expected.reshape(-1, classes)).mean()))


def packed_bytes(book: Codebook) -> int:
    """Returns the bytes of a kernel in a packed file, without what rounds them up."""
    bits = bits_for(len(book.centroids))
    return -(-book.indices.size * bits // 8) + book.centroids.nbytes + book.scales.nbytes
