"""Runs packed files: LiteRT with the delegate of the packed runtime, whose C++ is in `native/`."""

from __future__ import annotations

from pathlib import Path

from ai_edge_litert import interpreter as litert

from tfcompress.errors import UserError

LIBRARY = "libtfcompress_runtime.so"

OPERATORS = "tfcompress."
"""The prefix of the names of a packed file's operators."""


def library() -> Path:
    """Returns the path of the delegate's shared library, for interpreters that load external delegates by path.

    Raises:
        UserError: if tfcompress was installed without it.
    """
    for folder in __path__:  # an editable installation has two folders: the source's and the build's
        if (path := Path(folder) / LIBRARY).is_file():
            return path
    raise UserError(
        f"the packed runtime ({LIBRARY}), which packed files need, was not built when tfcompress was installed; "
        "install CMake and a C++ compiler (clang or gcc), then reinstall: "
        "pip install --force-reinstall --no-deps tfcompress, or make install in a source tree"
    )


def load_delegate(**options: str | int) -> litert.Delegate:
    """Loads the delegate for another interpreter: `Interpreter(path, experimental_delegates=[load_delegate()])`.

    LiteRT's Python interpreter keeps the delegate alive; in C it must live as long as the interpreter.

    Args:
        options: `num_threads` is the number of threads, by default that of the interpreter; `profile=1` prints the time
            per operator to stderr when the interpreter is destroyed.

    Raises:
        UserError: if the library is missing (see `library`), or an option or the environment variable
            TFCOMPRESS_INSTRUCTIONS is invalid.
    """
    path = library()
    try:
        return litert.load_delegate(str(path), options)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"the packed runtime cannot be loaded: {reason}") from error


class Interpreter(litert.Interpreter):
    """LiteRT's interpreter, which can also run packed files.

    Args:
        path: path of any `.tflite` file, packed or not.
        num_threads: number of threads per inference.
        options: further arguments of LiteRT's interpreter.

    Raises:
        UserError: if the file is packed, and the runtime is missing or TFCOMPRESS_INSTRUCTIONS is invalid.
        ValueError, RuntimeError: raised by LiteRT if the file is not a `.tflite` file or an operator is invalid.
    """

    def __init__(self, path: Path | str, num_threads: int = 1, **options: object) -> None:
        missing: UserError | None = None
        try:
            delegates = [load_delegate()]
        except UserError as error:
            delegates, missing = [], error
        super().__init__(str(path), num_threads=num_threads, experimental_delegates=delegates, **options)
        if missing and any(operator["op_name"].startswith(OPERATORS) for operator in self._get_ops_details()):
            raise missing
