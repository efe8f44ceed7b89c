import multiprocessing
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tfcompress.errors import UserError
from tfcompress.files import read_json
from tfcompress.strategy import Strategy

from .spread import compressed, make_stages, on_two_devices, process, techniques, terminated, training, worker

pytestmark = pytest.mark.slow

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.runs.spread"])  # TensorFlow is imported once for all processes.


class Process:
    """A function in a process of its own."""

    def __init__(self, log: Path, function: Callable[..., None], *args: object) -> None:
        self._log = log
        self._process = CONTEXT.Process(target=process, args=(log, function, *args))
        self._process.start()

    def ended(self) -> tuple[int | None, str]:
        """Returns how it ended, and the last line that it wrote."""
        self._process.join()
        return self._process.exitcode, (self._log.read_text().splitlines() or [""])[-1]


def history(workdir: Path, stage: str) -> list[dict[str, float]]:
    return read_json(workdir / "stages" / stage / "stage.json")["history"]


def assert_same(rows: list[dict[str, float]], others: list[dict[str, float]]) -> None:
    """Asserts that two histories are equal but for rounding."""
    assert [row["epoch"] for row in rows] == [row["epoch"] for row in others]
    for row, other in zip(rows, others, strict=True):
        assert row == pytest.approx(other, rel=1e-4)


def test_two_devices_train_as_one(tmp_path):
    two = Process(tmp_path / "log", on_two_devices, tmp_path / "two")
    make_stages(tmp_path / "one", training(None))
    assert two.ended()[0] == 0
    assert_same(history(tmp_path / "two", "00-base"), history(tmp_path / "one", "00-base"))


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Strategy, "replicas", 3)
    with pytest.raises(UserError, match="base: a batch of 32 examples cannot be divided by the 3 devices"):
        make_stages(tmp_path / "work", training("mirrored"))
    assert not (tmp_path / "work").exists()


def free_addresses(number: int) -> list[str]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [f"localhost:{one.getsockname()[1]}" for one in sockets]


def workers(folder: Path, mortal: int | None) -> list[tuple[int | None, str]]:
    """Runs two workers and returns how each ended."""
    addresses = free_addresses(2)
    started = [
        Process(folder / f"log{index}", worker, folder / "work", addresses, index, index == mortal) for index in (0, 1)
    ]
    return [one.ended() for one in started]


def test_a_worker_ends_when_it_is_asked_to(tmp_path):
    assert Process(tmp_path / "log", terminated, free_addresses(1)).ended()[0] == -signal.SIGTERM


def test_two_workers_go_on_after_one_was_killed(tmp_path):
    (status, said), (killed, _) = workers(tmp_path, mortal=1)
    assert (status, killed) == (2, -signal.SIGKILL)
    assert "error: another worker has ended or cannot be reached" in said
    before = read_json(tmp_path / "work/stages/01-prune/checkpoint/history.json")
    assert len(before) == 1
    assert [status for status, _ in workers(tmp_path, mortal=None)] == [0, 0]
    rows = history(tmp_path / "work", "01-prune")
    assert rows[:1] == before
    make_stages(tmp_path / "alone", None, techniques(None))
    assert_same(rows, history(tmp_path / "alone", "01-prune"))
    assert compressed(tmp_path / "work").variants[-1].stage == "cluster"  # A finished run is read without the others.
