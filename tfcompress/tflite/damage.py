"""What reading a damaged file raises, and how the user is told."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from tfcompress.errors import UserError

DAMAGE_ERRORS = (
    *(struct.error, LookupError, TypeError, ValueError, OverflowError, AttributeError, AssertionError),
    *(MemoryError, RecursionError),
)
"""What Python, NumPy and the generated schema raise when a damaged file is read or rewritten."""


@contextmanager
def reporting_damage(file: str) -> Iterator[None]:
    """Turns what the block raises for an invalid operator into a `UserError`, in which `file` names the file."""
    try:
        yield
    except UserError:
        raise
    except DAMAGE_ERRORS as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"{file} has an invalid operator ({reason}); make or copy it again") from error
