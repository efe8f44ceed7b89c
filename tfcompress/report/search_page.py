"""The report page of a search: one HTML file that needs no other file."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from tfcompress.files import atomic_write
from tfcompress.report import plots
from tfcompress.report.page import environment
from tfcompress.report.search import UNITS, SearchedTrial, SearchReport, goal_text, varied


def write_search_page(found: SearchReport, path: Path) -> None:
    """Writes the page, and beside it the picture of the front, `front.svg`."""
    picture = _front(found)
    if picture:
        with atomic_write(path.with_name("front.svg")) as beside:
            beside.write_text(plots.standalone(picture), encoding="utf-8")
    text = (
        environment()
        .get_template("search.html.j2")
        .render(found=found, picture=Markup(picture), settings=varied(found.trials), units=UNITS, goal_text=goal_text)
    )
    with atomic_write(path) as beside:
        beside.write_text(text, encoding="utf-8")


def _front(found: SearchReport) -> str:
    """Draws the trials by the first two of the axes."""
    if len(found.axes) < 2 or not found.complete:
        return ""
    on_front = {trial.number for trial in found.front}
    scales, labels = zip(*(_scale(found, axis) for axis in found.axes[:2]), strict=True)

    def point(trial: SearchedTrial) -> tuple[float, float, str, bool]:
        x, y = (
            scale * (trial.quality.value if axis == "quality" and trial.quality else trial.costs.get(axis, 0.0))
            for scale, axis in zip(scales, found.axes[:2], strict=True)
        )
        return x, y, str(trial.number), trial.number in on_front

    return plots.front("front", [point(trial) for trial in found.complete], labels[0], labels[1])


def _scale(found: SearchReport, axis: str) -> tuple[float, str]:
    if axis != "quality":
        return (1.0, UNITS[axis]) if axis == "latency" else (1e-3, UNITS[axis].replace("bytes", "kilobytes", 1))
    what = f"{found.base.metric} on the validation split"
    return (100.0, f"{what}, %") if found.base.percent else (1.0, what)
