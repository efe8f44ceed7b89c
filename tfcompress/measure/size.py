"""Bytes of a file, raw and compressed as an app store would send it."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Size:
    """Bytes of a file before and after gzip (level 9)."""

    raw: int
    gzip: int


def size(path: Path) -> Size:
    """Measures a file."""
    content = path.read_bytes()
    return Size(len(content), len(gzip.compress(content, compresslevel=9, mtime=0)))
