"""Writing files atomically, and reading JSON and vocabularies."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfcompress.errors import UserError, first_line


def has_suffix(source: object, suffix: str) -> bool:
    """Returns whether something is a path that ends in a suffix such as `.tflite`, in capitals or not."""
    return isinstance(source, (Path, str)) and Path(source).suffix.lower() == suffix


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder, which is renamed to `path` when the block ends.

    After an error the temporary file is removed; one that a killed process leaves is overwritten the next time. Its
    name keeps the suffix of `path`, because Keras chooses a format by it. Missing folders are created.

    Raises:
        UserError: if the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}")
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def check_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path | str | None] = ()) -> None:
    """Refuses files that cannot be written, so that nobody learns it after long work; nothing is left behind.

    Args:
        outputs: the files that are to be written; None for one that is not.
        inputs: what is read to make them, and must stay as it is; None for what is not.

    Raises:
        UserError: one is a folder, has no folder that can be written to, or is another one of the files.
    """
    taken = {Path(one).resolve() for one in inputs if one is not None}
    for path in outputs:
        if path is None:
            continue
        with writing_to(path):
            if path.is_dir():
                raise UserError(f"{path} is a folder; name the file to write")
            if path.resolve() in taken:
                raise UserError(
                    f"{path} would replace another file that this command reads or writes; give it a name of its own"
                )
            taken.add(path.resolve())
            with tempfile.TemporaryFile(dir=next(folder for folder in path.absolute().parents if folder.exists())):
                pass


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turns an input or output error inside the block into a `UserError` that names `path`."""
    try:
        yield
    except UserError:
        raise
    except _io_errors() as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise UserError(f"cannot write {path}: {reason}; choose another folder or free some space") from error


@contextmanager
def reading_from(path: Path, advice: str) -> Iterator[None]:
    """Turns what reading a missing or damaged file inside the block raises into a `UserError` that names `path`.

    Args:
        path: of the file.
        advice: what the user can do about it.
    """
    try:
        yield
    except UserError:
        raise
    except (OSError, LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise UserError(f"{path} cannot be read ({reason}); {advice}") from error


def _io_errors() -> tuple[type[Exception], ...]:
    """Returns the types of input and output errors; TensorFlow's own only if the caller has imported it."""
    tensorflow = sys.modules.get("tensorflow")
    return (OSError,) if tensorflow is None else (OSError, tensorflow.errors.OpError)


def files_below(folder: Path) -> Iterator[Path]:
    """Yields the files in a folder and its sub-folders, also behind links, but no folder twice."""
    seen: set[Path] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := Path(place).resolve()) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()  # so that names alone decide by which of two links a folder is reached
        yield from (Path(place, name) for name in names)


def write_json(path: Path, value: object) -> None:
    """Writes `value` as indented JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def decode_utf8(content: bytes, source: str) -> str:
    """Decodes the content of a text file; `source` names it in the `UserError` for bytes that are not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{source} is not UTF-8 in line {line}; save it as UTF-8") from None


def parse_vocabulary(content: bytes, source: str) -> tuple[str, ...]:
    """Returns the tokens of a `vocab.txt`, which has one per line; `source` names the file in errors."""
    text = decode_utf8(content, source)
    return tuple(text.replace("\r\n", "\n").removesuffix("\n").split("\n"))


def remove_folder(path: Path) -> None:
    """Removes a folder and its content, if it exists."""
    shutil.rmtree(path, ignore_errors=True)
