"""Calls a function in a fresh process, so that a library that crashes ends in one line and leaves nothing behind."""

from __future__ import annotations

import io
import logging
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tfcompress.errors import UserError, first_line
from tfcompress.garbage import importing
from tfcompress.keras3 import without_keras3
from tfcompress.quiet import library_warnings_quiet

P = ParamSpec("P")
R = TypeVar("R")

_REASON = re.compile(r"Check failed: .*|LLVM ERROR: .*|what\(\): .*|Assertion .* failed")
"""What libraries write before they abort the process."""


HOURS = 24
"""How long a call may take. A file of any origin can hold a loop that does not end."""


class CrashError(UserError):
    """A process died, or did not end, instead of returning a result; the message says of what."""


@dataclass
class Outcome:
    """What a call in another process sends back.

    Attributes:
        value: what the function returned.
        error: what it raised instead.
        warnings: texts and categories of the warnings that it gave, without those of libraries.
    """

    value: Any = None
    error: Exception | None = None
    warnings: list[tuple[str, type[Warning]]] = field(default_factory=list)

    def pickled(self) -> bytes:
        """Returns it as bytes; what cannot be read elsewhere becomes a `RuntimeError` that says so."""
        try:
            content = pickle.dumps(self)
            pickle.loads(content)
        except Exception as error:
            failed = self.error or error
            return pickle.dumps(Outcome(error=RuntimeError(f"{type(failed).__name__}: {first_line(failed)}")))
        return content

    def result(self) -> Any:
        """Gives the warnings here, and returns the value or raises the error."""
        for text, category in self.warnings:
            warnings.warn(text, category, stacklevel=3)
        if self.error is not None:
            raise self.error
        return self.value


def pickled_call(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> bytes:
    """Returns a call as bytes for `outcome_of` in another process, which imports the function without Keras 3."""
    return pickle.dumps(function) + pickle.dumps((args, kwargs))


def call_apart(what: str, advice: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Returns `function(*args, **kwargs)`, called in a fresh process.

    Function, arguments and result are pickled, so the function must be one that can be imported, without Keras 3, which
    only the arguments may need. Its exceptions and its warnings are raised and given here. What it prints to
    `sys.stderr`, such as progress, is shown; what libraries write to the file descriptor is not. All temporary files
    that the process makes are removed.

    Args:
        what: what is done to which file or model, at the beginning of the message if the process dies.
        advice: what the user can do then.
        function: what to call.
        *args: its arguments.
        **kwargs: its arguments by name.

    Raises:
        CrashError: the process died, for instance because a library aborted it, or did not end in `HOURS`.
    """
    with tempfile.TemporaryDirectory(prefix="tfcompress-") as name:
        folder = Path(name)
        (folder / "call").write_bytes(pickled_call(function, *args, **kwargs))
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            "TMPDIR": name,
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        command = [sys.executable, "-P", "-m", "tfcompress.process", name]
        # The child ends when this end of its standard input is closed, also if this process is killed.
        child = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
        try:
            child.wait(HOURS * 3600)
        except subprocess.TimeoutExpired:
            raise CrashError(f"{what}: it has not ended in {HOURS} hours; {advice}") from None
        finally:
            child.kill()
            child.communicate()
        if child.returncode:
            raise CrashError(f"{what}: {_cause(child.returncode, folder / 'log')}; {advice}")
        outcome: Outcome = pickle.loads((folder / "outcome").read_bytes())
    result: R = outcome.result()
    return result


def _cause(status: int, log: Path) -> str:
    """Returns how a process ended, and what it wrote about that."""
    if status == -signal.SIGKILL:
        return "the process was killed, probably because memory ran out"
    ended = f"the process died of {signal.Signals(-status).name}" if status < 0 else f"the process ended with {status}"
    reason = _REASON.search(log.read_text(errors="replace")) if log.is_file() else None
    return f"{ended} ({reason[0].strip()[:200]})" if reason else ended


def _child(folder: Path) -> None:
    """Makes the call that `folder` holds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent gets it as well, and ends this process.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    shown = os.fdopen(os.dup(2), "w", buffering=1)
    with (folder / "log").open("wb") as log:
        os.dup2(log.fileno(), 2)
    sys.stderr = shown
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel("ERROR")
    outcome = outcome_of((folder / "call").read_bytes())
    (folder / "outcome").write_bytes(outcome.pickled())
    shown.flush()
    sys.stdout.flush()
    os._exit(0)  # Libraries that are unloaded can crash, too.


def outcome_of(call: bytes) -> Outcome:
    """Makes a call that `pickled_call` wrote, and returns what came of it: no error leaves this function."""
    outcome = Outcome()

    def keep(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        outcome.warnings.append((str(message), category))

    try:
        with library_warnings_quiet():
            warnings.showwarning = keep
            pickled = io.BytesIO(call)
            with (
                without_keras3(),
                importing(),
            ):  # The function's module imports TensorFlow; those of the arguments may need Keras 3.
                function = pickle.load(pickled)
            args, kwargs = pickle.load(pickled)
            outcome.value = function(*args, **kwargs)
    except Exception as error:
        if not isinstance(error, UserError):
            error.add_note(f"in a process of its own:\n{traceback.format_exc()}")
        outcome.error = error
    return outcome


def _end_with_parent(folder: Path) -> None:
    os.read(0, 1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    from tfcompress.process import _child as child  # as a module, so that what it pickles is found again

    child(Path(sys.argv[1]))
