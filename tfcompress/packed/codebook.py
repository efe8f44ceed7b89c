"""Finding the few distinct numbers that clustered weights are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfcompress.tflite.tensor import Bytes

MOST = 256
_DRAWN = 1 << 14


@dataclass(frozen=True, eq=False)
class Codebook:
    """Weights as centroids and indices.

    Attributes:
        centroids: ascending, float32 or int8, all different in their bits.
        indices: uint8, in the shape of the weights.
    """

    centroids: npt.NDArray[Any]
    indices: Bytes


def find_codebook(weights: npt.NDArray[Any]) -> Codebook | None:
    """Returns the codebook of float32 or int8 weights; None if they are more than `MOST` numbers, or no numbers."""
    if weights.dtype == np.float32 and not np.isfinite(weights).all():
        return None
    keys = _keys(weights).ravel()
    known = np.unique(keys[:: max(1, keys.size // _DRAWN)])
    while len(known) <= MOST:
        places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        missed = keys[known[places] != keys]
        if not missed.size:
            centroids = _values(known, weights.dtype)
            return Codebook(centroids, places.astype(np.uint8).reshape(weights.shape))
        known = np.union1d(known, np.unique(missed[:_DRAWN]))
    return None


def count_distinct(weights: npt.NDArray[Any]) -> int:
    """Returns of how many numbers weights are made, told apart by their bits."""
    return len(np.unique(_keys(weights)))


def _keys(weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns integers in the order of the numbers; -0 and 0 are two."""
    if weights.dtype == np.int8:
        return weights
    bits = np.ascontiguousarray(weights, np.float32).view(np.int32)
    return bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))


def _values(keys: npt.NDArray[Any], kind: Any) -> npt.NDArray[Any]:
    bits: npt.NDArray[Any] = keys ^ ((keys >> 31) & np.int32(0x7FFFFFFF)) if kind == np.float32 else keys
    return bits.view(kind)
