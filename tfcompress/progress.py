"""Progress on everything that takes more than two seconds: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import tf_keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")

console = Console(stderr=True)

_SECONDS_BETWEEN_LINES = 10.0


class Bar:
    """One task's progress: `advance` it, with a note on how it goes."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._started = self._printed = time.monotonic()
        self._progress: Progress | None = None
        if console.is_terminal:
            columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), "left")
            self._progress = Progress(
                *columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=console
            )
            self._task = self._progress.add_task(what, total=total, note="")
            self._progress.start()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Counts `steps` more of the total."""
        self._done += steps
        if self._progress is not None:
            self._progress.update(self._task, advance=steps, note=note)
        elif time.monotonic() - self._printed > _SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            left = (self._printed - self._started) / self._done * (self._total - self._done)
            console.print(f"{self._what}: {self._done}/{self._total}, {left:.0f} s left {note}", soft_wrap=True)

    def close(self, note: str = "") -> None:
        """Ends the task and prints the time it took, if that is worth a line."""
        if self._progress is not None:
            self._progress.stop()
        elif time.monotonic() - self._started > 2:
            console.print(f"{self._what}: done in {time.monotonic() - self._started:.0f} s {note}", soft_wrap=True)


@contextmanager
def bar(what: str, total: int) -> Iterator[Bar]:
    """Shows a task of `total` steps while the block runs."""
    shown = Bar(what, total)
    try:
        yield shown
    finally:
        shown.close()


def track(items: Iterable[T], what: str, total: int) -> Iterator[T]:
    """Yields the items and shows how many of `total` are done."""
    with bar(what, total) as shown:
        for item in items:
            yield item
            shown.advance()


class TrainingProgress(tf_keras.callbacks.Callback):
    """A bar over all the steps of a `fit`, with the latest loss."""

    def __init__(self, what: str, epochs: int, steps_per_epoch: int, first_epoch: int = 0) -> None:
        super().__init__()
        self._what, self._total, self._done = what, epochs * steps_per_epoch, first_epoch * steps_per_epoch

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._bar = Bar(self._what, self._total)
        if self._done:
            self._bar.advance(self._done)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._bar.advance(note=f"loss {logs['loss']:.4f}" if logs else "")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._bar.close()
