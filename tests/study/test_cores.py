from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack

import pytest

from tfcompress.errors import UserError
from tfcompress.study.cores import own_core

HOLD = (
    "from tfcompress.study.cores import own_core\nwith own_core() as core:\n    print(core, flush=True)\n    input()\n"
)


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    """No other process holds a core here."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def affinities() -> list[set[int]]:
    return [os.sched_getaffinity(int(thread)) for thread in os.listdir("/proc/self/task")]


def test_all_threads_stay_on_the_core_while_it_is_held():
    before = os.sched_getaffinity(0)
    end = threading.Event()
    earlier = threading.Thread(target=end.wait)
    earlier.start()
    try:
        with own_core() as core:
            assert core in before
            assert all(found == {core} for found in affinities())
        assert all(found == before for found in affinities())
    finally:
        end.set()
        earlier.join()


def test_processes_get_different_cores_until_none_is_left():
    cores = os.sched_getaffinity(0)
    with ExitStack() as stack:
        others = [
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in cores
        ]
        assert {int(other.stdout.readline()) for other in others} == cores
        with pytest.raises(UserError, match=f"has {len(cores)} cores .*--num-cpus={len(cores)} at most"), own_core():
            pass
        others[0].kill()
        others[0].wait()
        with own_core():
            pass
        for other in others[1:]:
            other.communicate("\n")
