"""Functions that tests give an engine, which other processes import."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from pathlib import Path

from tfcompress.errors import UserError


def meet(folder: Path, number: int) -> tuple[int, set[int]]:
    """Waits for the other one of two calls, and returns its process and the cores that it may use."""
    (folder / str(number)).touch()
    while not (folder / str(1 - number)).is_file():
        time.sleep(0.02)
    return os.getpid(), os.sched_getaffinity(0)


def die_once(marker: Path) -> str:
    """Kills its process, but not the second time."""
    if not marker.is_file():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "made again"


def always_die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stay(started: Path) -> None:
    """Writes the number of its process, and does not end."""
    started.write_text(str(os.getpid()))
    time.sleep(600)


def refuse() -> None:
    warnings.warn("odd data", UserWarning, stacklevel=1)
    raise UserError("no such setting")


def say(text: str) -> None:
    print(text, file=sys.stderr)


def no_such_file(path: str) -> bool:
    """Answers as a machine that does not see the driver's files."""
    return False
