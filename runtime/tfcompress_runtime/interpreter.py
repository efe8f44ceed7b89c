"""LiteRT's interpreter with the delegate of the packed runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import interpreter as litert

import tfcompress_runtime
from tfcompress_runtime.errors import UserError

LIBRARY = "libtfcompress_runtime.so"

OPERATORS = "tfcompress."
"""The prefix of the names of a packed file's operators."""

LENGTH = "length_"
"""The signatures of a text model for fewer tokens have this and the number of tokens as a name."""

Arrays = Mapping[str, npt.NDArray[Any]]
"""Inputs or outputs by name."""


def library() -> Path:
    """Returns the path of the delegate's shared library, for interpreters that load external delegates by path.

    Raises:
        UserError: if tfcompress-runtime was installed without it.
    """
    for folder in tfcompress_runtime.__path__:  # an editable installation has two folders: the source's and the build's
        if (path := Path(folder) / LIBRARY).is_file():
            return path
    raise UserError(
        f"the packed runtime ({LIBRARY}), which packed files need, was not built when tfcompress-runtime was "
        "installed; install CMake and a C++ compiler (clang or gcc), then reinstall: "
        "pip install --force-reinstall --no-deps tfcompress-runtime, or make install in a source tree"
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

    def lengths(self) -> dict[int, str]:
        """Returns the signatures of a text model by the number of tokens that they take, the fewest first.

        The longest is the first graph, which also runs without a signature.
        """
        found = {int(name[len(LENGTH) :]): name for name in self.get_signature_list() if name.startswith(LENGTH)}
        longest = int(self.get_input_details()[0]["shape"][-1])
        return dict(sorted({**found, longest: "serving_default"}.items()))

    def run_text(self, inputs: Arrays) -> Arrays:
        """Runs a text model on the fewest tokens that hold a text.

        Args:
            inputs: integers `(1, tokens)` by name, of any length. One of them is a mask: its name contains `mask`, and
                it is 0 where there is padding. Padding is cut off and added as needed.

        Returns:
            The outputs by name, `(1, …)`. If there is one for each token, there may be fewer than there are inputs.

        Raises:
            UserError: the inputs have no mask, or the text has more tokens than the file takes.
        """
        mask = next((values for name, values in inputs.items() if "mask" in name), None)
        if mask is None:
            raise UserError(f"the inputs are {', '.join(inputs)}; a text needs a mask, in an input whose name says so")
        tokens = int(np.flatnonzero(np.any(mask, axis=0)).max(initial=-1)) + 1
        lengths = self.lengths()
        length = next((length for length in lengths if length >= tokens), None)
        if length is None:
            raise UserError(f"the text has {tokens} tokens, but the file takes {max(lengths)} at most; cut the text")
        padding = ((0, 0), (0, max(0, length - mask.shape[1])))
        given = {name: np.pad(values[:, :length], padding) for name, values in inputs.items()}
        outputs: Arrays = self.get_signature_runner(lengths[length])(**given)
        return outputs
