"""Spares the search for cycles of garbage where it takes long and finds nothing."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Looks for no garbage while modules are imported inside the block, and never at what is there afterwards.

    Modules are no garbage. To look at all that TensorFlow consists of, again and again, takes a sixth of its import,
    and later makes each search long.
    """
    enabled, modules = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > modules:
            gc.freeze()
        if enabled:
            gc.enable()
