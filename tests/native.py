"""Whether the packed runtime is there."""

from __future__ import annotations

import os

from tfcompress import runtime
from tfcompress.errors import UserError


def has_runtime() -> bool:
    """Without a C++ compiler there is none, except where CI=1."""
    try:
        return runtime.library().is_file()
    except UserError:
        if os.environ.get("CI"):
            raise
        return False
