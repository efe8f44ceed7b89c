"""Running packed files: LiteRT with the delegate of the clustered runtime, whose C++ lies in `native/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ai_edge_litert import interpreter as litert

from tfcompress.errors import UserError

LIBRARY = "libtfcompress_runtime.so"

OPERATORS = "tfcompress."
"""What the names of a packed file's operators begin with."""


def library() -> Path:
    """Returns the delegate's shared library, for interpreters that load external delegates by path.

    Raises:
        UserError: this installation was made without it.
    """
    for folder in __path__:  # An editable installation has two: of the sources, and of what was built.
        if (path := Path(folder) / LIBRARY).is_file():
            return path
    raise UserError(
        f"the clustered runtime ({LIBRARY}), which packed files need, was not built when tfcompress was installed; "
        "install CMake and a C++ compiler (clang or gcc), then reinstall: "
        "pip install --force-reinstall --no-deps tfcompress, or make install in a source tree"
    )


def load_delegate(**options: str | int) -> litert.Delegate:
    """Loads the delegate for an interpreter of one's own, which takes it as `experimental_delegates=[load_delegate()]`.

    LiteRT's interpreter keeps it alive; from C it must live as long as the interpreter.

    Args:
        options: `num_threads`, else those of the interpreter; `profile=1` writes where the time went to stderr when the
            interpreter goes.

    Raises:
        UserError: see `library`; or an option or the environment variable TFCOMPRESS_INSTRUCTIONS is wrong.
    """
    path = library()
    try:
        return litert.load_delegate(str(path), options)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"the clustered runtime cannot be loaded: {reason}") from error


class Interpreter(litert.Interpreter):
    """LiteRT's interpreter, which also runs packed files.

    Args:
        path: of any `.tflite`.
        num_threads: for one inference.
        options: further ones of LiteRT's.

    Raises:
        UserError: the file is packed, and the runtime is missing or TFCOMPRESS_INSTRUCTIONS is wrong.
        ValueError, RuntimeError: see LiteRT; the file is none, or one of its operators is not as it has to be.
    """

    def __init__(self, path: Path | str, num_threads: int = 1, **options: Any) -> None:
        missing: UserError | None = None
        try:
            delegates = [load_delegate()]
        except UserError as error:
            delegates, missing = [], error
        super().__init__(str(path), num_threads=num_threads, experimental_delegates=delegates, **options)
        if missing and any(operator["op_name"].startswith(OPERATORS) for operator in self._get_ops_details()):
            raise missing
