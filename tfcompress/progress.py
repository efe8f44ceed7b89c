"""Progress of long tasks: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")

console = Console(stderr=True)

_SECONDS_BETWEEN_LINES = 10.0

_open = 0
"""The number of tasks that are under way."""


class Bar:
    """The progress of one task: `advance` it after each step, with an optional note such as the loss."""

    def __init__(self, what: str, total: int, shown: bool = True) -> None:
        self._what, self._total, self._done, self._skipped = what, total, 0, 0
        self._started = self._printed = self._first = time.monotonic()
        self._progress: Progress | None = None
        self._shown = shown
        if shown and console.is_terminal:
            columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), "left")
            self._progress = Progress(
                *columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=console
            )
            self._task = self._progress.add_task(what, total=total, note="")
            self._progress.start()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Records that `steps` more steps are done."""
        self._done += steps
        if not self._skipped and self._done:
            # The first call includes building the graph, and may count the steps of an earlier run: neither helps to
            # estimate the remaining time.
            self._skipped, self._first = self._done, time.monotonic()
        if self._progress is not None:
            self._progress.update(self._task, advance=steps, note=note)
        elif self._shown and time.monotonic() - self._printed > _SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            timed = self._done - self._skipped
            pace = (self._printed - self._first) / timed if timed else 0.0
            left = f", {pace * (self._total - self._done):.0f} s left" if timed else ""
            console.print(f"{self._what}: {self._done}/{self._total}{left} {note}", soft_wrap=True)

    def close(self) -> None:
        """Ends the task; off a terminal, prints how long it took if it is complete and took more than two seconds."""
        if self._progress is not None:
            self._progress.stop()
        elif self._shown and self._done >= self._total and time.monotonic() - self._started > 2:
            console.print(f"{self._what}: done in {time.monotonic() - self._started:.0f} s", soft_wrap=True)


@contextmanager
def bar(what: str, total: int) -> Iterator[Bar]:
    """Shows the progress of a task of `total` steps while the block runs; that of tasks inside it stays hidden."""
    global _open
    shown = Bar(what, total, shown=not _open)
    _open += 1
    try:
        yield shown
    finally:
        _open -= 1
        shown.close()


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yields the items and shows how many of `total` have been processed."""
    with bar(what, total) as shown:
        for item in items:
            yield item
            shown.advance()
