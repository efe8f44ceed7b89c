"""The codebooks with scales of a stock file, in a metadata entry of it: its weights alone do not show them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tfcompress.errors import UserError
from tfcompress.packed.codebook import MAX_CENTROIDS, Codebook, ScaledCentroids, scaled_centroids
from tfcompress.tflite.graph import Metadata, Model
from tfcompress.tflite.tensor import Buffer, Bytes

CODEBOOKS_ENTRY = "tfcompress.codebooks"
"""The metadata entry, which docs/format.md describes."""

_VERSION = 2
_WORD = np.dtype("<u4")
_FLOAT = np.dtype("<f4")


def write_codebooks(model: Model, codebooks: Mapping[str, Codebook]) -> None:
    """Replaces the entry of a file by one with the codebooks that have scales, by the names of their tensors."""
    found = {name: scaled_centroids(book) for name, book in codebooks.items() if len(book.scales)}
    model.metadata = [entry for entry in model.metadata if entry.name != CODEBOOKS_ENTRY]
    if found:
        words = [np.array([_VERSION], _WORD).tobytes()]
        for name, (centroids, scales) in found.items():
            text = name.encode()
            words.append(np.array([len(text), len(centroids), len(scales)], _WORD).tobytes())
            words += [text, centroids.astype(_FLOAT).tobytes(), scales.astype(_FLOAT).tobytes()]
        model.metadata.append(Metadata(CODEBOOKS_ENTRY, Buffer(np.frombuffer(b"".join(words), np.uint8))))


def read_codebooks(model: Model) -> dict[str, ScaledCentroids]:
    """Returns the centroids and scales in the entry of a file by the names of their tensors; none without an entry.

    Raises:
        UserError: the entry is damaged, or of another version of the format.
    """
    entry = model.entry(CODEBOOKS_ENTRY)
    if entry is None:
        return {}
    try:
        return _read(entry.data)
    except (ValueError, IndexError) as error:
        raise UserError(
            f"the metadata entry {CODEBOOKS_ENTRY} is damaged or of another version: {error}; cluster the model again"
        ) from error


def _read(data: Bytes) -> dict[str, ScaledCentroids]:
    rest = data.tobytes()

    def take(size: int) -> bytes:
        nonlocal rest
        taken, rest = rest[:size], rest[size:]
        if len(taken) < size:
            raise ValueError(f"it ends {size - len(taken)} bytes too early")
        return taken

    version = int.from_bytes(take(4), "little")
    if version != _VERSION:
        raise ValueError(f"its version is {version} instead of {_VERSION}")
    found: dict[str, ScaledCentroids] = {}
    while rest:
        letters, count, rows = np.frombuffer(take(12), _WORD).tolist()
        name = take(letters).decode()
        centroids, scales = (np.frombuffer(take(4 * size), _FLOAT) for size in (count, rows))
        ascending = np.isfinite(centroids).all() and not (np.diff(centroids) < 0).any()
        if not 0 < count <= MAX_CENTROIDS or not ascending or not (np.isfinite(scales) & (scales > 0)).all():
            raise ValueError(f"the numbers of {name} are not at most {MAX_CENTROIDS} ascending centroids and scales")
        found[name] = ScaledCentroids(centroids, scales)
    return found
