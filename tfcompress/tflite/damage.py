"""Telling users that a file is garbled, whatever is wrong with it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from tfcompress.errors import UserError

LIBRARY_ERRORS = (
    *(struct.error, LookupError, TypeError, ValueError, OverflowError, AttributeError, AssertionError),
    *(MemoryError, RecursionError),
)
"""What is raised where a file is read or rewritten that is garbled."""


def check(right: bool, what: str) -> None:
    """Raises a `UserError` that says `what` of a packed file, unless it is right."""
    if not right:
        raise UserError(f"the packed file is garbled: {what}; copy it or pack the stock file again")


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
