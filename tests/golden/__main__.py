"""Writes the golden files of the Android demo's core and its tests: `python -m tests.golden`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from tests.golden import images, tokens
from tfcompress.files import atomic_write

_CORE = Path(__file__).parents[2] / "android_demo" / "core" / "src"
FOLDER = _CORE / "test" / "resources"
TABLE = _CORE / "main" / "resources" / "org" / "tfcompress" / "unicode.txt"


def load(name: str) -> Any:
    """Reads one of the golden JSON files."""
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


def main() -> None:
    """Writes all the files; the same bytes each time."""
    for name, made in (("golden_tokens", tokens.make()), ("golden_images", images.make())):
        text = json.dumps(made, separators=(",", ":"))
        with atomic_write(FOLDER / f"{name}.json.gz") as temporary:
            temporary.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    with atomic_write(TABLE) as temporary:
        temporary.write_text(tokens.table(), encoding="ascii")


if __name__ == "__main__":
    main()
