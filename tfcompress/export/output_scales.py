"""Clustered kernels with a scale per output, which a file shows only together with their codebooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tfcompress.packed.codebook import Codebook, find_codebook
from tfcompress.packed.stock_codebooks import write_codebooks
from tfcompress.post_training.kernels import find_kernels
from tfcompress.tflite.attached import with_attached_files
from tfcompress.tflite.graph import Content
from tfcompress.tflite.reading import read
from tfcompress.tflite.writing import write
from tfcompress.traits import FloatArray, unscaled

_TOLERANCE = 1e-5
_LARGEST = 127
"""The largest centroid: rounding the centroids to int8 then needs no scale of its own."""


def with_output_scales(
    content: Content, kernels: Mapping[str, FloatArray], scales: Mapping[str, tuple[float, ...]]
) -> bytes:
    """Returns a file that names the centroids and scales of its kernels, so that `pack` finds them.

    Each weight becomes exactly the product of its centroid and its scale.

    Args:
        content: of a float32 `.tflite` file that holds kernels as they were trained, up to one factor each.
        kernels: `(…, inputs, outputs)`, by the names of their layers.
        scales: one per output, by the names of those layers that have some.
    """
    model = read(content)
    books: dict[str, Codebook] = {}
    known = [book for name, one in scales.items() if (book := _codebook(kernels[name], one)) is not None]
    for kernel in find_kernels(model):
        for book in known:
            factor = _factor(kernel.matrix, book)
            if factor is not None:
                books[kernel.name] = found = replace(book, scales=book.scales * factor)
                kernel.set_values(found.values())
                break
    write_codebooks(model, books)
    return with_attached_files(content, write(model))


def _codebook(kernel: FloatArray, scales: tuple[float, ...]) -> Codebook | None:
    """Returns the codebook of a kernel as a file stores it, `(outputs, inputs)`."""
    by_output = np.ascontiguousarray(unscaled(kernel, scales).reshape(-1, len(scales)).T)
    book = find_codebook(by_output) if by_output.any() else None
    if book is None:
        return None
    unit = np.abs(book.centroids).max() / _LARGEST
    return replace(book, centroids=book.centroids / unit, scales=np.asarray(scales, np.float32) * unit)


def _factor(stored: FloatArray, book: Codebook) -> np.float32 | None:
    """Returns the factor by which stored weights are larger than a codebook's, or None if they are others."""
    if stored.shape != book.indices.shape:
        return None
    expected = book.values()
    factor = np.float32(np.abs(stored).max() / np.abs(expected).max())
    return factor if np.allclose(stored, factor * expected, rtol=0, atol=_TOLERANCE * np.abs(stored).max()) else None
