"""Figures of quality in tables: the task's first beside everything else, its others by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfcompress.measure.figures import Figures
from tfcompress.measure.quality import Quality


def columns(files: Sequence[Figures], place: int) -> Iterator[tuple[str, list[str]]]:
    """Yields the heading and the cells of one figure of files that have it, and of its change from the first file."""
    yield f"{files[0].quality[place].metric} (95 %)", [str(file.quality[place]) for file in files]
    changes = [file.change[place] if file.change else None for file in files]
    if found := [change for change in changes if change]:
        heading = "change (95 %)" if found[0].p_value is None else "lost/gained (p)"
        yield heading, ["" if change is None else str(change) for change in changes]


def print_others(names: Sequence[str], files: Sequence[Figures], console: Console) -> None:
    """Prints all figures but the first in a table, one row per file; nothing if there is no other."""
    shown = [column for place in range(1, len(files[0].quality)) for column in columns(files, place)]
    if not shown:
        return
    table = Table("other figures")
    for heading, _ in shown:
        table.add_column(heading, justify="right")
    for name, *cells in zip(names, *(cells for _, cells in shown), strict=True):
        table.add_row(escape(name), *cells)
    console.print(table)


def print_figures(found: Sequence[Quality], title: str, console: Console | None = None) -> None:
    """Prints the figures of one model, one row each, under a title that says of which model on which data."""
    console = console or Console()
    table = Table("figure")
    table.add_column("95 %", justify="right")
    for quality in found:
        table.add_row(escape(quality.metric), str(quality))
    console.print(f"{escape(title)}, {found[0].cases} test {found[0].case}s:", soft_wrap=True, highlight=False)
    console.print(table)
    if errors := _errors(found):
        console.print(errors, style="dim")


def explained(files: Sequence[Figures]) -> str:
    """Returns what the columns mean, in sentences with a space before each."""
    changes = [change for file in files for change in file.change]
    found = files[0].quality
    text = _errors(found)
    if any(change.p_value is not None for change in changes):
        text += " The p of 'lost/gained' is of the exact McNemar test."
    if any(change.p_value is None for change in changes):
        text += f" 'change' is the difference of the figures, of percentages in points, on the same {found[0].case}s."
    return text


def _errors(found: Sequence[Quality]) -> str:
    return "".join(f" Less {one.metric} is better." for one in found if not one.higher_is_better)
