"""Outcomes that a study keeps in a folder, so that the same call resumes an interrupted one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from tfcompress.files import read_json, write_json

T = TypeVar("T")


class Kept(Generic[T]):
    """Outcomes by key.

    Args:
        folder: with a JSON file for each of them.
        kind: their type, a dataclass of values that JSON holds.
    """

    def __init__(self, folder: Path, kind: type[T]) -> None:
        self._folder, self._kind = folder, TypeAdapter(kind)

    def of(self, key: str, measure: Callable[[], T]) -> T:
        """Returns the outcome under a key, and measures it only if no earlier call did."""
        found = self.get(key)
        if found is None:
            self.put(key, found := measure())
        return found

    def get(self, key: str) -> T | None:
        """Returns the outcome under a key, if there is one of this type.

        Another version may have left another, and a file can be damaged: such an outcome is measured again.
        """
        path = self._folder / f"{key}.json"
        with suppress(FileNotFoundError, ValueError):
            return self._kind.validate_python(read_json(path))
        return None

    def put(self, key: str, outcome: T) -> None:
        """Keeps an outcome."""
        write_json(self._folder / f"{key}.json", self._kind.dump_python(outcome, mode="json"))
