"""Functions that are called in a process of their own."""

import os
import sys
import tempfile
import time
import warnings
from pathlib import Path

from tfcompress.errors import UserError


def abort(message: str = "") -> None:
    """Leaves a temporary file and ends the process as a library's failed check does."""
    tempfile.mkstemp(prefix="left-behind")
    os.write(2, message.encode())
    os.abort()


def end(status: int) -> None:
    os._exit(status)


def give_back(value: object, warning: str = "") -> object:
    if warning:
        warnings.warn(warning, UserWarning, stacklevel=1)
    return value


def fail(kind: type[Exception], message: str) -> None:
    raise kind(message)


class UnpicklableError(Exception):
    """Pickle finds its arguments, but not how to make it of them."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def fail_unpicklably() -> None:
    raise UnpicklableError("two", "words")


def user_error() -> None:
    raise UserError("a is 1; give 2")


def say(shown: str, hidden: str) -> None:
    """Prints to `sys.stderr` as progress does, and to its file descriptor as libraries do."""
    os.write(2, hidden.encode())
    print(shown, file=sys.stderr)


def temporary_folder() -> Path:
    return Path(tempfile.gettempdir())


def wait(started: Path) -> None:
    """Writes the number of its process and waits."""
    beside = started.with_suffix(".part")
    beside.write_text(str(os.getpid()))
    beside.rename(started)
    time.sleep(60)
