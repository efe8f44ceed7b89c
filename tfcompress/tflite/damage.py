"""What is raised when a file is damaged, and how the user is told."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from tfcompress.errors import UserError

LIBRARY_ERRORS = (
    *(struct.error, LookupError, TypeError, ValueError, OverflowError, AttributeError, AssertionError),
    *(MemoryError, RecursionError),
)
"""What Python, NumPy and the generated schema raise when a damaged file is read or rewritten."""


@contextmanager
def rewriting_carefully(what: str) -> Iterator[None]:
    """Turns what the block raises because an operator is not as it has to be into a `UserError` about `what`."""
    try:
        yield
    except UserError:
        raise
    except LIBRARY_ERRORS as error:
        reason = str(error) or type(error).__name__
        raise UserError(
            f"{what} has an operator that is not as it has to be ({reason}); make or copy it again"
        ) from error
