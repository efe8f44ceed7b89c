"""Claims a working folder for one piece of work, so that a call only resumes what the same call began."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tfcompress.errors import UserError
from tfcompress.files import read_json, reading_from, write_json


def claim(workdir: Path, what: str, description: Mapping[str, object]) -> None:
    """Marks a working folder as holding this work.

    Args:
        workdir: the folder, which is created if it does not exist.
        what: the kind of work, for instance `run`; the mark is the file `WHAT.json`.
        description: everything that decides the result, as JSON holds it.

    Raises:
        UserError: the folder holds work of this kind with another description; the message says what differs. Or its
            mark cannot be read.
    """
    path = workdir / f"{what}.json"
    if not path.is_file():
        write_json(path, description)
        return
    with reading_from(path, "choose another folder, or delete this one"):
        changes = list(_differences(dict(read_json(path)), dict(description)))
    if changes:
        raise UserError(
            f"{workdir} holds another {what} ({'; '.join(changes)}); choose another folder, or undo the change"
        )


def release(workdir: Path, what: str) -> None:
    """Takes back the mark of `claim`, and removes the folder if nothing else is in it."""
    (workdir / f"{what}.json").unlink(missing_ok=True)
    with suppress(OSError):
        workdir.rmdir()


def _differences(before: object, now: object, path: str = "") -> Iterator[str]:
    """Yields `path: OLD before, NEW now` for each place where two JSON values differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            yield from _differences(before.get(key), now.get(key), f"{path}.{key}" if path else key)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from _differences(old, new, f"{path}[{index}]")
    elif before != now:
        yield f"{path}: {before} before, {now} now"
