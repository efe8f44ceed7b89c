"""Writes what the demo's core and its tests take from Python: `python -m tests.golden`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from tests.golden import images, tokens
from tfcompress.files import written_whole

_CORE = Path(__file__).parents[2] / "android_demo" / "core" / "src"
FOLDER = _CORE / "test" / "resources"
TABLE = _CORE / "main" / "resources" / "org" / "tfcompress" / "unicode.txt"


def load(name: str) -> Any:
    """Reads one of them."""
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


def main() -> None:
    """Writes all, the same bytes each time."""
    for name, made in (("golden_tokens", tokens.make()), ("golden_images", images.make())):
        text = json.dumps(made, separators=(",", ":"))
        with written_whole(FOLDER / f"{name}.json.gz") as beside:
            beside.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    with written_whole(TABLE) as beside:
        beside.write_text(tokens.table(), encoding="ascii")


if __name__ == "__main__":
    main()
