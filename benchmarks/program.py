"""The command line of a benchmark whose rows are kept one by one, so that a run that was killed goes on."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from absl import app, flags

from benchmarks.rows import Result, circumstances, kept, run_apart, show, take_over
from tfcompress.files import read_json, write_json

_OUTPUT = flags.DEFINE_string("output", None, "Where files and results are kept; by default out/ and the benchmark.")
_ONLY = flags.DEFINE_list("only", [], "Rows to run; by default all whose data are given.")
_SAVE = flags.DEFINE_string("save", None, "Also write all results to this one file, which keeps the rows that it has.")
_TABLE = flags.DEFINE_string("table", None, "Put the tables between the markers of this Markdown file.")
_RENDER = flags.DEFINE_boolean("render", False, "Only put the tables of --save into the page --table.")
_CHILD = flags.DEFINE_string("child", None, "Used by the program itself: the row to run in this process.")
QUICK = flags.DEFINE_boolean("quick", False, "Run a few rows on random data, to see that all works.")


@dataclass(frozen=True, kw_only=True)
class Program:
    """A benchmark. Each row runs in a process of its own and leaves `output/ROW.json`; one that has it is not run.

    Attributes:
        name: of its module in `benchmarks`.
        shown: what its tables are called between their markers, such as `the table of clusters`.
        command: what the page says was run.
        rows: all rows in the order of the tables.
        runs: tells of a row whether its data are given.
        run: `(row, output)` runs a row and writes its file.
        tables: the circumstances in a line, and Markdown tables.
        quick: the rows of a quick run, and how many lines their tables have.
        prepare: makes what all rows need in the output folder, unless it is there.
        pictures: SVG files that the page shows, by name.
    """

    name: str
    shown: str
    command: str
    rows: Sequence[str]
    run: Callable[[str, Path], None]
    tables: Callable[[Mapping[str, Result]], str]
    quick: tuple[Sequence[str], int]
    runs: Callable[[str], bool] = lambda _: True
    prepare: Callable[[Path], None] = lambda _: None
    pictures: Callable[[Mapping[str, Result]], Mapping[str, str]] = lambda _: {}

    def main(self, arguments: Sequence[str]) -> None:
        """Runs the rows that have no result yet, and prints the tables of all."""
        if arguments[1:]:
            raise app.UsageError(f"unknown arguments {arguments[1:]}")
        output = Path(_OUTPUT.value or f"out/{self.name}")
        if _CHILD.value:
            self.run(_CHILD.value, output)
        elif QUICK.value:
            self._run_quick()
        elif _RENDER.value:
            self._show(read_json(Path(_SAVE.value)))
        else:
            self._run_missing(output)

    def _run_quick(self) -> None:
        rows, lines = self.quick
        with tempfile.TemporaryDirectory() as scratch:
            self.prepare(Path(scratch))
            for row in rows:
                self.run(row, Path(scratch))
            found = self._found(Path(scratch))
        assert len(self.tables(found).splitlines()) == lines
        print(f"rows measured: {len(found['rows'])}; the figures mean nothing and are not shown")

    def _run_missing(self, output: Path) -> None:
        saved = Path(_SAVE.value) if _SAVE.value else None
        if saved is not None and saved.is_file():
            take_over(read_json(saved)["rows"], output)
        wanted = _ONLY.value or [row for row in self.rows if self.runs(row)]
        missing = [row for row in wanted if not (output / f"{row}.json").is_file()]
        if missing:
            self.prepare(output)
        for row in missing:
            run_apart(f"benchmarks.{self.name}", output, row, *sys.argv[1:])
            if saved is not None:
                write_json(saved, self._found(output))
        self._show(self._found(output))

    def _found(self, output: Path) -> Result:
        rows = kept(output, self.rows)
        return {**circumstances(rows.values(), self.command, {}), "rows": rows}

    def _show(self, found: Mapping[str, Result]) -> None:
        show(self.tables(found), self.shown, _TABLE.value, self.pictures(found))
