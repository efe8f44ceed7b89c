"""What every command needs: how errors end, TensorFlow without its output, processes of their own, common options."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn, ParamSpec, TypeVar

import typer
from absl import logging
from rich.console import Console

from tfcompress.errors import UserError, first_line, is_out_of_memory
from tfcompress.garbage import importing
from tfcompress.keras3 import without_keras3
from tfcompress.process import call_apart
from tfcompress.quiet import library_warnings_quiet, native_libraries_quiet

P = ParamSpec("P")
R = TypeVar("R")

AllowCode = Annotated[bool, typer.Option(help="Also open model files that can run code.")]
Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        help="Import a module with the model's own layers first, from this folder or the Python path.",
    ),
]


@contextmanager
def as_user_sees() -> Iterator[None]:
    """Runs a program for a user: their mistakes end in one line and status 2, and libraries print no warnings."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever trained a model of Keras 3
    try:
        with library_warnings_quiet():
            yield
    except UserError as error:
        _end(str(error))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = f" ({first_line(error).rstrip('.')})" if str(error) else ""
        _end(f"memory ran out{reason}; use smaller data, a smaller batch_size or a smaller model")


def _end(message: str) -> NoReturn:
    """Ends the process with an error message and status 2."""
    Console(stderr=True, soft_wrap=True).print(f"error: {message}", style="red", markup=False, highlight=False)
    sys.exit(2)


def apart(what: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Calls a function that runs somebody's file in a process of its own, which TensorFlow or LiteRT may abort."""
    advice = "TensorFlow or LiteRT cannot process it; make it again, or try another format"
    return call_apart(what, advice, function, *args, **kwargs)


def import_tensorflow() -> None:
    """Imports TensorFlow without the output of its libraries when they are loaded, and without its warnings."""
    with native_libraries_quiet(), without_keras3(), importing():
        import tensorflow as tf
    tf.get_logger().setLevel("ERROR")
    logging.set_verbosity(logging.ERROR)
