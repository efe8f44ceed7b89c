"""Results that a benchmark keeps in one JSON file for each row, and their table in a page."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfcompress.files import read_json, write_json
from tfcompress.measure import environment

Result = dict[str, Any]


def kept(folder: Path, rows: Iterable[str]) -> Result:
    """Returns the results of those rows that have any, `folder/ROW.json`."""
    paths = {row: folder / f"{row}.json" for row in rows}
    return {row: read_json(path) for row, path in paths.items() if path.is_file()}


def take_over(rows: Mapping[str, Result], folder: Path) -> None:
    """Writes the rows of an earlier run to where those of this run are kept, unless they are there."""
    for row, figures in rows.items():
        path = folder / f"{row}.json"
        if not path.is_file():
            write_json(path, figures)


def run_apart(module: str, output: Path, row: str, *options: str) -> None:
    """Runs a row of a benchmark in a process of its own, by the benchmark's `--child`."""
    command = [sys.executable, "-m", module, f"--output={output}", f"--child={row}", *options]
    ended = subprocess.run(command, check=False).returncode
    print(f"{row}: {f'the process ended with {ended}' if ended else 'done'}", flush=True)


def circumstances(rows: Iterable[Result], command: str, versions: Mapping[str, str]) -> Result:
    """Returns the date of the last row, the machine, the versions and the command."""
    return {
        "date": max((row["date"] for row in rows), default=environment.now()),
        "machine": environment.machine(),
        "versions": environment.versions() | dict(versions),
        "command": command,
    }


def heading(found: Mapping[str, Any], libraries: Iterable[str], timed: bool = True) -> str:
    """Returns the circumstances in a line; of figures that hold no times, without the number of threads."""
    versions, machine = found["versions"], found["machine"]
    named = ", ".join([f"Python {versions['python']}", *(f"{name} {versions[name]}" for name in libraries)])
    return f"{found['date'][:10]}, {machine['processor']}, {machine['cores']} cores, {named}{'; one thread' * timed}."


def markdown(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Returns a table with these columns and lines of cells."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (columns, ["--"] * len(columns), *lines))


def show(table: str, name: str, page: str | None, pictures: Mapping[str, str] | None = None) -> None:
    """Prints a table, and puts it into a page if one is given, with pictures beside it by name; see `put_table`."""
    print(table)
    if page:
        put_table(Path(page), name, table)
        for file, picture in (pictures or {}).items():
            (Path(page).parent / file).write_text(picture)


def put_table(page: Path, name: str, table: str) -> None:
    """Replaces what a Markdown file has between the two markers of a table, such as `the table of clusters`."""
    begin, end = (f"<!-- {place} of {name} -->" for place in ("begin", "end"))
    start, _, rest = page.read_text().partition(begin)
    page.write_text(f"{start}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}")
