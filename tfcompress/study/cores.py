"""A processor core for one process alone, so that what it times is not slowed down by its neighbours."""

from __future__ import annotations

import fcntl
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tfcompress.errors import UserError


@contextmanager
def own_core() -> Iterator[int]:
    """Yields the number of a core that no other process of this user gets here, and keeps this process on it.

    All threads of the process move there, also those that libraries have started, and its children begin there. Where
    the system does not let a process choose (macOS), only the number is held. A process that is killed gives it back.

    Raises:
        UserError: every core is held.
    """
    allowed = sorted(_allowed())
    folder = Path(tempfile.gettempdir()) / f"tfcompress-cores-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for core in allowed:
        with (folder / str(core)).open("w") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _move({core})
            try:
                yield core
            finally:
                _move(set(allowed))
            return
    raise UserError(
        f"{platform.node()} has {len(allowed)} cores for this process and all of them are taken, so that a run cannot "
        f"have one for itself to measure latency; start Ray there with --num-cpus={len(allowed)} at most, and let one "
        "study run at a time"
    )


def _allowed() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _move(cores: set[int]) -> None:
    """Keeps all threads of this process on these cores."""
    if not hasattr(os, "sched_setaffinity"):
        return
    for thread in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # It has ended meanwhile.
            os.sched_setaffinity(int(thread.name), cores)
