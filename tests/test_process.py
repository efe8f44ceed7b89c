import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tfcompress import process
from tfcompress.errors import UserError
from tfcompress.process import call_apart

from . import crashes

CHECK = "F0000 00:00:17.2 12 graph.cc:77] Check failed: index < size (3 vs. 2) \n*** Check failure stack trace: ***\n"


def apart(function, *args, **kwargs):
    return call_apart("reading x.tflite", "write it again", function, *args, **kwargs)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary files, which must be empty afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def test_a_result_comes_back_from_another_process(temporary):
    assert apart(os.getpid) != os.getpid()
    assert apart(crashes.give_back, value={"kernel": b"1"}) == {"kernel": b"1"}
    assert apart(crashes.temporary_folder).parent == temporary


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (crashes.abort, (), "reading x.tflite: the process died of SIGABRT; write it again"),
        (crashes.abort, (CHECK,), "died of SIGABRT (Check failed: index < size (3 vs. 2)); write it again"),
        (signal.raise_signal, (signal.SIGSEGV,), "the process died of SIGSEGV; write it again"),
        (signal.raise_signal, (signal.SIGKILL,), "the process was killed, probably because memory ran out; write"),
        (crashes.end, (3,), "the process ended with 3; write it again"),
    ],
)
def test_a_process_that_dies_is_one_line_and_leaves_no_file(temporary, function, arguments, message):
    with pytest.raises(UserError) as failed:
        apart(function, *arguments)
    assert message in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_process_that_does_not_end_is_one_line_and_leaves_no_file(temporary, monkeypatch):
    monkeypatch.setattr(process, "HOURS", 1 / 3600)
    with pytest.raises(UserError, match=r"^reading x.tflite: it has not ended in .* hours; write it again$"):
        apart(time.sleep, 300)


def test_errors_are_raised_here(temporary):
    with pytest.raises(UserError, match=r"^a is 1; give 2$"):
        apart(crashes.user_error)
    with pytest.raises(KeyError, match="kernel") as failed:
        apart(crashes.fail, KeyError, "kernel")
    assert "crashes.py" in failed.value.__notes__[0]
    with pytest.raises(RuntimeError, match="UnpicklableError: two words"):
        apart(crashes.fail_unpicklably)
    with pytest.raises(RuntimeError, match="cannot pickle"):
        apart(os.scandir, str(temporary))


def test_warnings_are_given_here(temporary):
    with pytest.warns(UserWarning, match="^head stays float32$"):
        assert apart(crashes.give_back, 1, "head stays float32") == 1


def test_progress_is_shown_and_what_libraries_write_is_not(temporary, capfd):
    apart(crashes.say, "step 1", "a library's message")
    assert capfd.readouterr().err == "step 1\n"


PARENT = """
import signal, sys
from pathlib import Path
from tests.crashes import wait
from tfcompress.process import call_apart
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell ignores it for what runs in the background.
call_apart("waiting", "wait", wait, Path(sys.argv[1]))
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_the_process_ends_with_the_one_that_started_it(tmp_path, sent):
    started = tmp_path / "started"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", PARENT, str(started)]
    with subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[1], stderr=subprocess.PIPE) as parent:
        _wait_until(started.exists)
        child = int(started.read_text())
        parent.send_signal(sent)
    _wait_until(lambda: not _runs(child))
    assert list(tmp_path.iterdir()) == [started]


def _wait_until(true) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().split()[2] != "Z"
