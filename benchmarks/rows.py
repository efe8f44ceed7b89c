"""Results that a benchmark keeps in one JSON file for each row, and their table in a page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tfcompress.files import read_json


def kept(folder: Path, rows: Iterable[str]) -> dict[str, Any]:
    """Returns the results of those rows that have any, `folder/ROW.json`."""
    paths = {row: folder / f"{row}.json" for row in rows}
    return {row: read_json(path) for row, path in paths.items() if path.is_file()}


def put_table(page: Path, begin: str, end: str, table: str) -> None:
    """Replaces what stands between two markers of a Markdown file."""
    start, _, rest = page.read_text().partition(begin)
    page.write_text(f"{start}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}")
