"""Keeps the activations of many examples, in memory up to a limit and beyond it in temporary files."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from tfcompress.tflite.tensor import Array, Shape

T = TypeVar("T", bound=Hashable)

MEMORY = 256 << 20
"""The bytes that are kept in memory by default."""


class Activations(Generic[T]):
    """The values of tensors `T` for each example, or for each batch of some.

    Args:
        examples: the number of examples or batches.
        folder: for files of values, which are deleted when their tensor is dropped.
        memory: bytes to keep in memory.
    """

    def __init__(self, examples: int, folder: Path, memory: int = MEMORY) -> None:
        self.examples = examples
        self._folder, self._memory, self._files = folder, memory, 0
        self._kept: dict[T, _Values] = {}

    def __contains__(self, tensor: T) -> bool:
        return tensor in self._kept

    def add(self, tensor: T, values: Array) -> None:
        """Adds the values of a tensor for the next example."""
        if tensor not in self._kept:
            size = self.examples * values.nbytes
            taken = sum(one.reserved for one in self._kept.values())
            fits = size <= self._memory - taken
            self._kept[tensor] = _Values(size, None) if fits else _Values(0, self._folder / f"values_{self._files}")
            self._files += not fits
        self._kept[tensor].add(values)

    def get(self, tensor: T, example: int) -> Array:
        """Returns the values of a tensor for an example."""
        return self._kept[tensor].get(example)

    def keep_only(self, tensors: Collection[T]) -> None:
        """Drops the values of all other tensors."""
        for tensor in self._kept.keys() - set(tensors):
            self._kept.pop(tensor).drop()


class _Values:
    """The values of a tensor: in memory, for which `reserved` bytes are set aside, or in a file."""

    def __init__(self, reserved: int, path: Path | None) -> None:
        self.reserved, self._path = reserved, path
        self._arrays: list[Array] = []
        self._places: list[tuple[int, Shape, np.dtype]] = []
        self._size = 0

    def add(self, values: Array) -> None:
        if self._path is None:
            self._arrays.append(values)
            return
        with self._path.open("ab") as file:
            file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
        self._places.append((self._size, values.shape, values.dtype))
        self._size += values.nbytes

    def get(self, example: int) -> Array:
        if self._path is None:
            return self._arrays[example]
        place, shape, dtype = self._places[example]
        return np.fromfile(self._path, dtype, math.prod(shape), offset=place).reshape(shape)

    def drop(self) -> None:
        if self._path is not None:
            self._path.unlink()
