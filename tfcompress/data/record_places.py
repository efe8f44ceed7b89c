"""Finds the records of TFRecord files, so that places are shuffled and not pictures."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

_HEAD = struct.Struct("<QI")
"""What stands before a record: its length, and a checksum of that. After it stand the four bytes of its own."""


def places(file: Path, number: int) -> npt.NDArray[np.int64]:
    """Returns where the records of a file are, `(records, 3)`: the number of the file, the first byte, the length.

    The file is whole, and not gzipped.
    """
    found, at, size = [], 0, file.stat().st_size
    with file.open("rb") as opened:
        while at < size:
            opened.seek(at)
            length, _ = _HEAD.unpack(opened.read(_HEAD.size))
            found.append((number, at + _HEAD.size, length))
            at += _HEAD.size + length + 4
    return np.array(found, np.int64).reshape(-1, 3)


def reader(files: Sequence[Path]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that reads the record, a scalar string, at one of the `places` of these files."""

    def read(place: npt.NDArray[np.int64]) -> bytes:
        number, first, length = map(int, place)
        with files[number].open("rb") as opened:
            opened.seek(first)
            return opened.read(length)

    return lambda place: tf.ensure_shape(tf.numpy_function(read, [place], tf.string, stateful=False), ())
