"""What clustering single kernels does to the outputs of a file, and how many bytes it leaves."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfcompress.errors import UserError
from tfcompress.measure.divergence import divergence
from tfcompress.measure.interpreter import Example, order_of_scores
from tfcompress.packed.codebook import Codebook
from tfcompress.packed.layout import bits_for
from tfcompress.post_training.clustering import codebooks, statistics
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
    source: Content,
    examples: Sequence[Example],
    wanted: Mapping[str, Collection[int]],
    settings: Settings,
    measured: int,
) -> Iterator[tuple[str, int, Damage]]:
    """Clusters one kernel at a time, for its inputs in the file as it was, and runs what is behind it.

    While that runs, the same kernel is clustered with the next number of bits.

    Args:
        source: the bytes of a float `.tflite` file that `cluster` takes.
        examples: calibration data without labels, features without a batch axis.
        wanted: the bits of an index, by the name of the kernel.
        settings: how to cluster; `clusters` is not used.
        measured: on how many examples the outputs are compared, the first of all.

    Yields:
        The name of the kernel, the bits and the damage.

    Raises:
        UserError: the examples do not fit the file, or its outputs are no scores of two classes or more; see `scores`.
    """
    model = read(source)
    unpack_weights(model)
    kernels = [kernel for kernel in find_kernels(model) if wanted.get(kernel.name)]
    output = scores(model.graphs[0])
    with (
        tempfile.TemporaryDirectory(prefix="tfcompress-") as first,
        tempfile.TemporaryDirectory(prefix="tfcompress-") as second,
        ThreadPoolExecutor(1) as runner,
    ):
        beginning = Pieces(model, examples[:measured], Path(first))
        expected = beginning.behind(output, measured)()
        pieces = Pieces(model, examples, Path(second))
        for kernel, found in statistics(pieces, model, kernels):
            original = kernel.tensor.values().copy()
            # A kernel that several operators read is yielded at the last of them.
            start = pieces if len(kernel.operators) == 1 else beginning
            widths = sorted(wanted[kernel.name])
            books = codebooks(kernel, found, settings, [1 << bits for bits in widths])
            running: list[tuple[int, Future[Damage]]] = []
            for bits, book in zip(widths, books, strict=True):
                kernel.set_values(book.values())
                behind = start.behind(output, measured)
                kernel.set_values(original)
                running.append((bits, runner.submit(_damage, behind, expected, packed_bytes(book))))
                if len(running) > 1:
                    before, damage = running.pop(0)
                    yield kernel.name, before, damage.result()
            for bits, damage in running:
                yield kernel.name, bits, damage.result()


def _damage(behind: Callable[[], Array], expected: Array, size: int) -> Damage:
    return Damage(average_divergence(behind(), expected), size)


def results(source: Content, examples: Sequence[Example]) -> Array:
    """Returns the `scores` of a file for examples, `(n, …)`."""
    model = read(source)
    with tempfile.TemporaryDirectory(prefix="tfcompress-") as folder:
        return Pieces(model, examples, Path(folder)).behind(scores(model.graphs[0]), len(examples))()


def scores(graph: Graph) -> Tensor:
    """Returns the output whose divergence counts, the first by `order_of_scores`.

    Raises:
        UserError: its last axis has one number, which has no divergence.
    """
    output = min(graph.outputs, key=lambda one: order_of_scores(one.dtype == "float32", one.shape))
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
