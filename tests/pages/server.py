"""`tfcompress` for the tests of the docs: each command is a fork of one process that has imported all.

`python -m tests.pages.server SOCKET` waits for commands; `shims` writes the scripts that stand for `tfcompress` and, in
its forks, for Python, and hand their arguments, folder, environment and files over. Thus the processes of their own in
which `tfcompress.process` calls functions are forks, too. Only importing, which takes seconds, is shared: TensorFlow
starts its threads in the fork.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import NoReturn

_APART = ["-P", "-m", "tfcompress.process"]
"""How `tfcompress.process.call_apart` starts Python."""

_SHIM = """#!{python} -I
import json, os, socket, sys
place, arguments = {place!r}, sys.argv[1:]
if place == "apart" and arguments[:3] != {apart!r}:
    os.execv({python!r}, [{python!r}, *arguments])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({path!r})
    message = json.dumps([place, os.getcwd(), dict(os.environ), arguments]).encode()
    socket.send_fds(server, [message], [0, 1, 2])
    status = int(server.recv(16))
if status < 0:
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


def shims(folder: Path, path: str) -> None:
    """Writes the scripts `tfcompress` and `apart`, which stands for Python, for the server at `path`."""
    for place in ("tfcompress", "apart"):
        (folder / place).write_text(_SHIM.format(python=sys.executable, place=place, apart=_APART, path=path))
        (folder / place).chmod(0o755)


def serve(path: str) -> None:
    """Serves until stdin is closed, as it is when the process that started it ends."""
    from tfcompress.cli.program import import_tensorflow

    import_tensorflow()
    import keras_nlp  # noqa: F401

    from tfcompress.commands import cluster, compare, convert, evaluate, examples, pack  # noqa: F401
    from tfcompress.runs import pipeline  # noqa: F401
    from tfcompress.study import budget, sensitivity  # noqa: F401

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print("ready", flush=True)
        while select.select([server, sys.stdin], [], [])[0] == [server]:
            connection, _ = server.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _answer(connection, Path(path).parent)
            connection.close()


def _answer(connection: socket.socket, shims: Path) -> NoReturn:
    """Runs in a fork what a connection brings, tells its status, and ends the process."""
    message, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    child = os.fork()
    if child == 0:
        place, folder, environment, arguments = json.loads(message)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None  # which may be that of another environment
        for number, file in enumerate(files):
            os.dup2(file, number)
        _run(shims / "apart", arguments) if place == "tfcompress" else _call(arguments[-1])
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    connection.send(str(status).encode())
    os._exit(0)


def _call(folder: str) -> None:
    """Is what `python -P -m tfcompress.process FOLDER` is."""
    from tfcompress import process

    sys.path = os.environ["PYTHONPATH"].split(os.pathsep)
    process._child(Path(folder))


def _run(python: Path, arguments: list[str]) -> NoReturn:
    """Is what `tfcompress ARGUMENT...` is."""
    from tfcompress.cli import main

    status = 1
    try:
        sys.executable, sys.argv = str(python), ["tfcompress", *arguments]
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
