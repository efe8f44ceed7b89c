"""`tfcompress` for the tests of the docs: each command is a fork of one process that has imported all.

`python -m tests.pages.server SOCKET` waits for commands; `shim` is the script that stands for `tfcompress` and hands
its arguments, folder and files over. Only importing, which takes seconds, is shared: TensorFlow starts its threads in
the fork.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import traceback

_SHIM = """#!{python} -I
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({path!r})
    message = json.dumps([os.getcwd(), sys.argv[1:]]).encode()
    socket.send_fds(server, [message], [0, 1, 2])
    status = server.recv(16)
sys.exit(int(status) if status else "the command was killed")
"""


def shim(path: str) -> str:
    """Returns the script that runs a command on the server at `path`."""
    return _SHIM.format(python=sys.executable, path=path)


def serve(path: str) -> None:
    """Serves until stdin is closed, as it is when the process that started it ends."""
    from tfcompress.cli.program import import_tensorflow

    import_tensorflow()
    import keras_nlp  # noqa: F401

    from tfcompress.commands import convert, examples, pack  # noqa: F401
    from tfcompress.runs import pipeline  # noqa: F401
    from tfcompress.study import sensitivity  # noqa: F401

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print("ready", flush=True)
        while select.select([server, sys.stdin], [], [])[0] == [server]:
            connection, _ = server.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _run(connection)
            connection.close()


def _run(connection: socket.socket) -> None:
    """Runs the command that a connection brings, tells its status, and ends the process."""
    from tfcompress.cli import main

    status = 1
    try:
        message, files, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        folder, arguments = json.loads(message)
        os.chdir(folder)
        for place, file in enumerate(files):
            os.dup2(file, place)
        sys.argv = ["tfcompress", *arguments]
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(str(status).encode())
        os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
