"""Silence for what native libraries write on the error stream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


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
