"""Files that are either whole or absent, and what some of them hold."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfcompress.errors import UserError, first_line


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yields a name beside `path` to write to; renames it to `path` at the end, or removes it after an error.

    What a killed process leaves there is overwritten the next time.

    The yielded name keeps the suffix of `path`, because Keras chooses a format by it.
    """
    beside = path.with_name(f".{path.name}")
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turns a failure of the disk inside the block into a `UserError` that names `path`."""
    try:
        yield
    except UserError:
        raise
    except _failures() as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise UserError(f"cannot write {path}: {reason}; choose another folder or free some space") from error


def _failures() -> tuple[type[Exception], ...]:
    """Returns what a failing disk raises; TensorFlow's own only if it is there, for not all that writes needs it."""
    tensorflow = sys.modules.get("tensorflow")
    return (OSError,) if tensorflow is None else (OSError, tensorflow.errors.OpError)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, whole or not at all."""
    with written_whole(path) as beside:
        beside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def parse_vocabulary(content: bytes, source: str) -> tuple[str, ...]:
    """Reads the bytes of a `vocab.txt`; `source` is what errors call it."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{source} is not UTF-8 in line {line}; a vocabulary is UTF-8, one piece a line") from None
    return tuple(text.replace("\r\n", "\n").removesuffix("\n").split("\n"))


def remove_folder(path: Path) -> None:
    """Removes a folder with all it holds, if it is there."""
    shutil.rmtree(path, ignore_errors=True)
