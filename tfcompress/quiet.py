"""Keeps what libraries write and warn of off the user's terminal."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console

_LIBRARIES = (
    "absl",
    "ai_edge_litert",
    "flatbuffers",
    "google",
    "h5py",
    "importlib._bootstrap",  # Python's, about extension modules that SWIG wrote
    "keras",
    "keras_hub",
    "keras_nlp",
    "litert_quantizer",
    "numpy",
    "ray",
    "tensorboard",
    "tensorflow",
    "tensorflow_model_optimization",
    "tf_keras",
)
"""Modules whose warnings stay hidden, because they are about the libraries' own code, which users cannot change."""


@contextmanager
def native_libraries_quiet() -> Iterator[None]:
    """Drops everything written to file descriptor 2 inside the block; Python's own exceptions pass through."""
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@contextmanager
def library_warnings_quiet() -> Iterator[None]:
    """Drops the warnings of libraries inside the block and prints every other one as one line on standard error."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning, UserWarning):
            warnings.simplefilter("default", category)
        warnings.filterwarnings("ignore", module=rf"({'|'.join(map(re.escape, _LIBRARIES))})(\.|$)")
        warnings.showwarning = _print_line
        yield


def _print_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    text = " ".join(str(message).split())
    Console(stderr=True, soft_wrap=True).print(f"warning: {text}", style="yellow", markup=False, highlight=False)
