"""Whether Ray is there."""

from __future__ import annotations

import os
from importlib.util import find_spec


def has_ray() -> bool:
    """Without `make install EXTRAS=ray` it is not, except where CI=1."""
    return find_spec("ray") is not None or bool(os.environ.get("CI"))
