"""Stock files whose weights have a scale per row, and their codebooks: what version 2 of the packed format is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.packed.graphs import K, Model, N
from tfcompress.packed.codebook import Codebook
from tfcompress.packed.packer import pack_counted
from tfcompress.packed.stock_codebooks import write_codebooks
from tfcompress.tflite.reading import read
from tfcompress.tflite.writing import write

VERSION_2 = Path(__file__).with_name("version_2")
"""Packed files of format version 2."""

ROWS, WIDTH = 50, 20
"""Of a table."""


def scaled(rows: int, width: int, seed: int = 0) -> Codebook:
    """Random weights of 64 centroids, the largest of them 127, with a scale per row."""
    rng = np.random.default_rng(seed)
    centroids = np.sort(rng.uniform(-120, 120, 63)).astype(np.float32)
    centroids = np.append(centroids, np.float32(127))
    scales = rng.uniform(1e-3, 2e-3, rows).astype(np.float32)
    return Codebook(centroids, rng.integers(0, 64, (rows, width)).astype(np.uint8), scales)


def layers(outputs: int = N, count: int = 1) -> tuple[bytes, dict[str, Codebook]]:
    """A stock file with dense layers one after another, and the codebooks of their weights, which it has, too."""
    model, books, x = Model(2, 3, K), {}, 0
    for seed in range(count):
        width = model.tensors[x].shape[-1]
        book = scaled(outputs, width, seed)
        weights = model.constant(book.values())
        books[f"c{weights}"] = book
        x = model.dense(x, (2, 3, outputs), weights)
    return with_codebooks(model.file(x), books), books


def table(book: Codebook) -> bytes:
    model = Model(2, 3, type="int32")
    weights = model.constant(book.values())
    rows = model.add("GATHER", [weights, 0], (2, 3, WIDTH), own=schema.GatherOptionsT())
    return with_codebooks(model.file(rows), {f"c{weights}": book})


def with_codebooks(content: bytes, books: Mapping[str, Codebook]) -> bytes:
    """A stock file with an entry of codebooks."""
    model = read(content)
    write_codebooks(model, books)
    return write(model)


def packed_files() -> dict[str, bytes]:
    """The packed files in `VERSION_2`, by their names without the suffix."""
    content, _ = layers()
    book = scaled(ROWS, WIDTH)
    lookups = pack_counted(table(book), allow_larger=True)
    packed = {kind: pack_counted(content, kind, True) for kind in ("float32", "int8")}
    return {"dense": packed["float32"].content, "dense_int8": packed["int8"].content, "table": lookups.content}
