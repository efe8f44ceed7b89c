"""The pictures of `training_free.py`: each file's quality against its bytes, and against its time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping

from benchmarks.rows import Result
from tfcompress.measure.quality import Quality
from tfcompress.report import plots

_AXES: dict[str, tuple[str, Callable[[Result], float]]] = {
    "bytes": ("megabytes", lambda file: file["bytes"] / 1e6),
    "time": ("time of one inference, float32's is 1", lambda file: file["time"]["ratio"]),
}
"""What stands on the horizontal axis of each picture."""

_SEEN = 0.9
"""The share of the best quality that a file must have to be seen in the pictures."""


def pictures(model: str, rows: Mapping[str, Result]) -> dict[str, str]:
    """Returns the pictures of a model's rows as SVG, by the names of their files."""
    files = {name: file for row in rows.values() for name, file in row["files"].items()}
    qualities = {name: Quality(**file["quality"]) for name, file in files.items()}
    some = next(iter(qualities.values()))
    shown = {name: (100 if some.percent else 1) * quality.value for name, quality in qualities.items()}
    best = max(shown.values())
    lowest = min(value for value in shown.values() if value >= _SEEN * best)
    sizes = Counter(_place(name)[0] for name in files)
    found = {}
    for axis, (label, value) in _AXES.items():
        groups: dict[str, list[tuple[float, float, str]]] = {}
        for name, file in files.items():
            group, point = _place(name)
            if sizes[group] == 1 and not group.startswith(_CLUSTERS):
                group, point = name, ""  # What is alone is told by the legend.
            groups.setdefault(group, []).append((value(file), shown[name], point))
        joined = [group for group in groups if group.startswith(_CLUSTERS)]
        for group in joined:
            groups[group].sort(key=lambda point: int(point[2]))
        svg = plots.series(
            f"{model}-{axis}",
            dict(sorted(groups.items())),
            joined,
            label,
            some.metric + ", %" * some.percent,
            lowest - 0.1 * (best - lowest),
            logarithmic="x" * (axis == "bytes"),
        )
        found[f"{model}_{axis}.svg"] = plots.standalone(svg)
    return found


_CLUSTERS = "clusters, "


def _place(name: str) -> tuple[str, str]:
    """Returns the group of a file and what its point is called in it: `64` of `clusters, k-means, int8`."""
    if clusters := re.fullmatch(rf"(\d+) ({_CLUSTERS}.*)", name):
        return clusters[2], clusters[1]
    group, _, point = name.partition(", ")
    return (group, point) if point else ("LiteRT", name)
