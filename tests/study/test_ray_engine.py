from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from tests.extras import has_ray
from tests.study import calls
from tfcompress.errors import UserError
from tfcompress.study import engines, ray_engine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not has_ray(), reason="no Ray: make install EXTRAS=ray"),
]


@pytest.fixture(scope="module")
def engine(cores_apart):
    with engines.engine("ray") as found:
        yield found


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_each_call_has_a_core_of_its_own(engine, tmp_path):
    futures = [engine.submit(calls.meet, tmp_path, number) for number in range(2)]
    (one, first), (other, second) = (future.result(60) for future in futures)
    assert one != other
    assert os.getpid() not in (one, other)
    assert len(first) == len(second) == 1
    assert first != second


def test_the_call_of_a_killed_worker_is_made_again(engine, tmp_path):
    assert engine.submit(calls.die_once, tmp_path / "died").result(60) == "made again"


def test_a_call_that_always_kills_its_worker_is_given_up_in_one_line(engine):
    impatient = ray_engine.RayEngine(import_module("ray"), local=True, retries=1)
    with pytest.raises(
        UserError, match=r"^Ray gave the run up \(.*\), which it repeats 1 times .*fewer CPUs"
    ) as raised:
        impatient.submit(calls.always_die).result(60)
    assert "\n" not in str(raised.value)


def test_errors_and_warnings_come_back(engine):
    failed = engine.submit(calls.refuse)
    with pytest.raises(UserError, match=r"^no such setting$"), pytest.warns(UserWarning, match="odd data"):
        failed.result(60)


def test_what_a_worker_says_is_shown_here(engine, capsys):
    engine.submit(calls.say, "epoch 3 of 4").result(60)
    shown = ""
    for _ in range(200):
        shown += capsys.readouterr().err
        if "epoch 3 of 4" in shown:
            break
        time.sleep(0.1)
    assert "say" in next(line for line in shown.splitlines() if "epoch 3 of 4" in line)


def test_machines_that_share_a_folder_are_asked(engine, tmp_path, monkeypatch):
    asked = ray_engine.RayEngine(import_module("ray"), local=False)
    assert asked.shares(tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(ray_engine, "_is_file", calls.no_such_file)
    assert not asked.shares(tmp_path)


DRIVER = """
import sys
from pathlib import Path
from tests.study import calls
from tfcompress.study import engines
with engines.engine("ray") as engine:
    engine.submit(calls.stay, Path(sys.argv[1])).result()
"""


def test_a_worker_ends_soon_after_its_driver(cores_apart, tmp_path):
    started = tmp_path / "started"
    command = [sys.executable, "-c", DRIVER, str(started)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL) as driver:
        while not started.is_file() or not started.read_text():
            assert driver.poll() is None
            time.sleep(0.1)
        driver.kill()
    deadline = time.monotonic() + 30  # Ray alone takes a minute.
    while Path(f"/proc/{started.read_text()}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:none", ":10001", "127.0.0.1:99999"])
def test_an_address_that_does_not_answer_is_one_line(address):
    with pytest.raises(UserError, match=f"ray://{address}") as raised, engines.engine(f"ray://{address}"):
        pass
    assert "\n" not in str(raised.value)
