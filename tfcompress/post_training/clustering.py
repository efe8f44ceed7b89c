"""Clusters the weights of a whole file, layer by layer on the activations of the layers clustered before."""

from __future__ import annotations

import mmap
import tempfile
import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from tfcompress import progress
from tfcompress.errors import UserError
from tfcompress.measure.interpreter import Example
from tfcompress.packed.codebook import Codebook
from tfcompress.packed.stock_codebooks import write_codebooks
from tfcompress.post_training.floats import check_float, check_straight, unpack_weights
from tfcompress.post_training.kernels import LOOKUPS, SMALLEST_KERNEL, Kernel, find_kernels, left_alone, read_by
from tfcompress.post_training.method import Settings, kernel_codebooks, table_codebooks
from tfcompress.post_training.moments import MOST_INPUTS, counts, moments
from tfcompress.post_training.pieces import Pieces
from tfcompress.tflite.attached import attach_files, with_attached_files
from tfcompress.tflite.damage import reporting_damage
from tfcompress.tflite.graph import Content, Model, Operator
from tfcompress.tflite.reading import read
from tfcompress.tflite.tensor import Array, Tensor
from tfcompress.tflite.writing import write, write_file

FEW_EXAMPLES = 16
"""With fewer calibration examples there is a warning."""


@dataclass(frozen=True, eq=False)
class Clustered:
    """A file with clustered weights.

    Attributes:
        model: its metadata hold the codebooks with scales, for `pack`.
        codebooks: of the clustered weights by the names of their tensors; `indices` have the tensor's shape.
        skipped: why other weights were left as they are, by name.
    """

    model: Model
    codebooks: dict[str, Codebook]
    skipped: dict[str, str]

    @cached_property
    def content(self) -> bytes:
        """The bytes of a stock file."""
        return with_attached_files(self.model.content, write(self.model))

    def save(self, path: Path) -> None:
        """Writes the stock file, with fewer copies in memory than `content` takes."""
        write_file(self.model, path)
        attach_files(self.model.content, path)


def cluster(
    source: Content | Model,
    settings: Settings | Mapping[str, Settings] | None = None,
    examples: Sequence[Example] | None = None,
) -> Clustered:
    """Clusters the weights of dense layers, of convolutions that cut patches, and of tables.

    With examples, each kernel is clustered for the inputs that it gets behind the layers clustered before it. Each
    operator runs once for each example. A kernel of several operators is clustered before the last of them.

    Args:
        source: the bytes of a float `.tflite` file, or what was read from them, which is changed.
        settings: for all kernels that have at least 1,024 weights, or by kernel; those that are not named stay as they
            are.
        examples: calibration data without labels, features without a batch axis; None clusters by k-means.

    Raises:
        UserError: the file is damaged, computes with integers or has no weights to cluster; a name is not that of a
            kernel; or the examples do not fit the file, see `Pieces`.
    """
    model = source if isinstance(source, Model) else read(source)
    with reporting_damage("the file"):
        check_float(model)
        if examples is not None:
            check_straight(model)
        unpack_weights(model)
        wanted = settings if isinstance(settings, Mapping) else None
        found = find_kernels(model)
        kernels = _chosen(found, wanted)
        skipped = {name: why for graph in model.graphs for name, why in left_alone(graph).items()}
        if wanted is None:
            few = f"it has fewer than {SMALLEST_KERNEL:,} weights"
            skipped |= {one.name: few for one in found if one not in kernels}
    one = Settings() if settings is None else settings
    by_name = one if isinstance(one, Mapping) else {kernel.name: one for kernel in kernels}
    seen = ((kernel, None) for kernel in kernels) if examples is None else _statistics(model, kernels, examples)
    books: dict[str, Codebook] = {}
    with progress.bar("clustering", len(kernels)) as shown:
        for kernel, inputs in seen:
            asked = by_name[kernel.name]
            [book] = codebooks(kernel, inputs, asked, [asked.clusters])
            books[kernel.name] = book
            kernel.set_values(book.values())
            _release(model.content)
            shown.advance(note=kernel.name)
    write_codebooks(model, books)
    return Clustered(model, books, skipped)


def _release(content: Content) -> None:
    """Lets go of a mapped file, whose old weights would take memory beside the new ones; what is read comes back."""
    if isinstance(content, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        content.madvise(mmap.MADV_DONTNEED)


def _chosen(kernels: list[Kernel], wanted: Collection[str] | None) -> list[Kernel]:
    """Returns the kernels with the wanted names, by default the large ones."""
    if wanted is None:
        kernels = [kernel for kernel in kernels if kernel.tensor.elements >= SMALLEST_KERNEL]
    else:
        known = {kernel.name: kernel for kernel in kernels}
        for name in wanted:
            if name not in known:
                raise UserError(f"the file has no kernel {name!r} that can be clustered; it has {', '.join(known)}")
        kernels = [kernel for kernel in kernels if kernel.name in wanted]
    if not kernels:
        raise UserError(
            f"there is nothing to cluster: no dense layer, patch embedding or table has {SMALLEST_KERNEL:,} constant "
            "float32 weights or more; give a file of a float transformer"
        )
    for kernel in kernels:
        if not np.isfinite(kernel.matrix).all():
            raise UserError(f"the weights of {kernel.name} are not finite numbers; train the model again")
    return kernels


def codebooks(kernel: Kernel, seen: Array | None, settings: Settings, clusters: Sequence[int]) -> Iterator[Codebook]:
    """Clusters a kernel for the inputs that it has `seen`, see `statistics`, for each of some numbers of clusters."""
    if kernel.kind == "table":
        yield from table_codebooks(kernel.matrix, seen, settings, clusters)
    else:
        for book in kernel_codebooks(kernel.matrix, seen, settings, clusters):
            yield replace(book, indices=book.indices.reshape(kernel.tensor.shape))


def _statistics(
    model: Model, kernels: Sequence[Kernel], examples: Sequence[Example]
) -> Iterator[tuple[Kernel, Array | None]]:
    """Yields `statistics` on examples, with temporary files."""
    if len(examples) < FEW_EXAMPLES:
        warnings.warn(
            f"calibration on {len(examples)} of at least {FEW_EXAMPLES} examples says little about a layer's inputs; "
            "give a few hundred",
            UserWarning,
            stacklevel=2,
        )
    with tempfile.TemporaryDirectory(prefix="tfcompress-") as folder:
        yield from statistics(Pieces(model, examples, Path(folder)), model, kernels)


def statistics(pieces: Pieces, model: Model, kernels: Sequence[Kernel]) -> Iterator[tuple[Kernel, Array | None]]:
    """Runs the first graph up to one kernel after another, and yields each with the statistics of its input.

    What is done to the kernel before the next one is asked for holds for all that follows. Until then the cut is before
    the last of its operators.

    Args:
        pieces: at the beginning of the graph.
        model: the same.
        kernels: of the first graph.

    Returns:
        Each kernel with its input's second moments, or how often the rows of a table are used, or None if it has too
        many inputs.
    """
    # A table that is a dense layer's kernel as well is clustered for that layer's inputs.
    readers = {
        operator: kernel
        for kernel in kernels
        for operator in kernel.operators
        if kernel.kind == "table" or operator.kind not in LOOKUPS
    }
    left = Counter(readers.values())
    sums: dict[Kernel, Array | None] = {}
    operators = sorted(readers, key=model.graphs[0].operators.index)
    while operators:
        pieces.run_to(operators[0])
        tensor = read_by(operators[0])
        alike: dict[object, list[Operator]] = {}
        for operator in operators:
            if read_by(operator) is tensor:
                alike.setdefault(readers[operator].rows_key, []).append(operator)
        for together in alike.values():
            found = _measured(pieces, tensor, readers[together[0]])
            for kernel in map(readers.__getitem__, together):
                left[kernel] -= 1
                before = sums.get(kernel)
                sums[kernel] = found if before is None or found is None else before + found
                if not left[kernel]:
                    yield kernel, sums.pop(kernel)
        operators = [operator for operator in operators if read_by(operator) is not tensor]


def _measured(pieces: Pieces, tensor: Tensor, kernel: Kernel) -> Array | None:
    """Returns the second moments `(inputs, inputs)` of a kernel's input, or how often each row of a table is used."""
    size = len(kernel.matrix) if kernel.kind == "table" else kernel.matrix.shape[1]
    rows = pieces.rows(tensor, kernel.rows)
    if kernel.kind == "table":
        return counts(rows, size, kernel.name)
    if size <= MOST_INPUTS:
        return moments(rows, size, kernel.name)
    warnings.warn(
        f"{kernel.name} has {size:,} inputs, of which at most {MOST_INPUTS:,} can correct each other's errors; it is "
        "clustered by k-means",
        UserWarning,
        stacklevel=2,
    )
    return None
