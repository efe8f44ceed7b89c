"""Plots for the report page: SVG without size or colours of its own, so that it follows the page's width and theme."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfcompress.measure.latency import Latency
from tfcompress.measure.quality import Quality

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _LINE, _ACCENT, _SECOND = "#010101", "#020202", "#030303", "#040404"
_THEME = {_INK: "currentColor", _LINE: "var(--line)", _ACCENT: "var(--accent)", _SECOND: "var(--second)"}
_COLORS = {"currentColor": "#1c2024", "var(--line)": "#dcdfe3", "var(--accent)": "#1463c2", "var(--second)": "#b3541e"}
"""The colours of a plot outside a page."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tfcompress",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.edgecolor": _LINE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
}
_INCHES = 4.7  # Wide enough for a phone's 390 pixels, so that text keeps its size there.
_MOST_TICKS = 256


def qualities(name: str, rows: Sequence[tuple[str, Quality]]) -> str:
    """Draws a figure of quality with its interval, one line per model."""
    with _style():
        figure, axes = _figure(0.7 + 0.28 * len(rows))
        found = np.array([(quality.low, quality.value, quality.high) for _, quality in rows])
        scale, label = _unit(rows[0][1])
        _intervals(axes, scale * found, [model for model, _ in rows])
        axes.set_xlabel(f"{label} (95 % interval)")
        return _svg(figure, name)


def quality_by_size(name: str, rows: Sequence[tuple[int, Quality]]) -> str:
    """Draws a figure of quality by bytes; each point is labelled with the number of its row, from 1."""
    with _style():
        figure, axes = _figure(2.6)
        scale, label = _unit(rows[0][1])
        for number, (size, quality) in enumerate(rows, start=1):
            place = (size / 1e6, scale * quality.value)
            axes.plot(*place, "o", color=_ACCENT, markersize=4)
            axes.annotate(str(number), place, (0, 4), textcoords="offset points", ha="center")
        axes.set_xlim(0, 1.1 * max(size for size, _ in rows) / 1e6)
        axes.margins(y=0.2)
        axes.set_xlabel("megabytes, zipped (numbers as in the table above)")
        axes.set_ylabel(label)
        return _svg(figure, name)


def front(name: str, points: Sequence[tuple[float, float, str, bool]], x_label: str, y_label: str) -> str:
    """Draws points `(x, y, label, whether it is on the front)`; those on the front are filled and joined."""
    with _style():
        figure, axes = _figure(3.2)
        best = sorted((x, y) for x, y, _, on_front in points if on_front)
        axes.plot([x for x, _ in best], [y for _, y in best], "-", color=_ACCENT, linewidth=0.8)
        for x, y, label, on_front in points:
            axes.plot(x, y, "o", color=_ACCENT, markersize=5, fillstyle="full" if on_front else "none")
            axes.annotate(label, (x, y), (0, 5), textcoords="offset points", ha="center", fontsize=7)
        axes.margins(0.1, 0.15)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        return _svg(figure, name)


def series(
    name: str,
    groups: Mapping[str, Sequence[tuple[float, float, str]]],
    joined: Collection[str],
    x_label: str,
    y_label: str,
    y_from: float | None = None,
    logarithmic: str = "",
) -> str:
    """Draws groups of points `(x, y, label)`, each with a mark of its own, by what the legend calls them.

    The groups in `joined` have their points joined, in the first colour; all others have the second. Points below
    `y_from`, where the vertical axis begins, are not seen. `logarithmic` are the axes with such a scale, `x`, `y` or
    `xy`.
    """
    from matplotlib import ticker

    with _style():
        figure, axes = _figure(4.4)
        for (group, points), mark in zip(groups.items(), cycle("osD^vPX*<>"), strict=False):
            color, line = (_ACCENT, "-") if group in joined else (_SECOND, "")
            places = [(x, y) for x, y, _ in points]
            axes.plot(
                *zip(*places, strict=True),
                mark + line,
                color=color,
                markersize=5,
                linewidth=0.6,
                fillstyle="none",
                label=group,
            )
            for place, (_, _, label) in zip(places, points, strict=True):
                axes.annotate(
                    label, place, (4, 2), textcoords="offset points", fontsize=6, color=color, annotation_clip=True
                )
        for letter in logarithmic:
            axes.set(**{f"{letter}scale": "log"})
            axis = getattr(axes, f"{letter}axis")
            axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 3, 5)))
            axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
            axis.set_minor_locator(ticker.NullLocator())
        axes.set_ylim(bottom=y_from)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        figure.legend(loc="outside lower center", ncols=2, fontsize=7, frameon=False)
        return _svg(figure, name)


def ratios(name: str, rows: Sequence[tuple[str, Latency]]) -> str:
    """Draws times as ratios to the first row, with their intervals, one line per model."""
    values = [(time.ratio_low, time.ratio, time.ratio_high) for _, time in rows]
    return _ratios(name, "time, ratio to row 1 (95 % interval)", [label for label, _ in rows], values)


def memory(name: str, rows: Sequence[tuple[str, int]]) -> str:
    """Draws bytes of memory as ratios to the first row, one line per model."""
    values = [(peak / rows[0][1],) * 3 for _, peak in rows]
    return _ratios(name, "peak memory, ratio to row 1", [label for label, _ in rows], values)


def _ratios(name: str, what: str, labels: Sequence[str], values: Sequence[tuple[float, float, float]]) -> str:
    with _style():
        figure, axes = _figure(0.7 + 0.28 * len(values))
        _intervals(axes, np.array(values), labels)
        for place, (_, ratio, high) in enumerate(values):
            axes.annotate(f"{ratio:.2f}", (high, place), (5, 0), textcoords="offset points", va="center")
        axes.set_xlim(0, 1.15 * max(1.0, *(high for _, _, high in values)))
        axes.set_xlabel(what)
        return _svg(figure, name)


def curves(name: str, history: Sequence[dict[str, float]]) -> str:
    """Draws a stage's loss over its epochs, on the training and the validation split."""
    from matplotlib import ticker

    with _style():
        figure, axes = _figure(2.2)
        epochs = [row["epoch"] + 1 for row in history]
        for key, label, color in (("loss", "training", _SECOND), ("val_loss", "validation", _ACCENT)):
            if all(key in row for row in history):
                axes.plot(epochs, [row[key] for row in history], ".-", color=color, label=label)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss")
        axes.legend(frameon=False)
        return _svg(figure, name)


def widths(name: str, rows: Sequence[tuple[str, int]]) -> str:
    """Draws the bits of each layer, one line per layer."""
    from matplotlib import ticker

    with _style():
        figure, axes = _figure(0.7 + 0.18 * len(rows))
        places = range(len(rows))
        axes.barh(places, [bits for _, bits in rows], 0.7, color=_ACCENT)
        axes.set_yticks(places, [label for label, _ in rows], fontsize=7)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.set_xlabel("bits of an index")
        return _svg(figure, name)


def standalone(svg: str) -> str:
    """Returns a plot as a file of its own, with colours and a white background."""
    for used, color in _COLORS.items():
        svg = svg.replace(used, color)
    return svg.replace("<svg ", '<svg style="background: white" ', 1)


def histogram(values: npt.NDArray[np.float32]) -> str:
    """Draws a kernel's values, with a tick for each if they are few: 2 kB, small enough for many kernels."""
    width, height, bins = 160, 32, 64
    counts, edges = np.histogram(values, bins)
    tops = height - 6 - (height - 8) * np.sqrt(counts / counts.max())
    bars = "".join(f"M{width / bins * (i + 0.5):g} {height - 6}V{top:.1f}" for i, top in enumerate(tops) if counts[i])
    ticks = ""
    distinct = np.unique(values)
    if len(distinct) <= _MOST_TICKS and edges[-1] > edges[0]:
        places = (distinct - edges[0]) / (edges[-1] - edges[0]) * (width - width / bins) + width / bins / 2
        ticks = "".join(f"M{place:.1f} {height - 4}v4" for place in places)
    return (
        f'<svg class="kernel" viewBox="0 0 {width} {height}" role="img" aria-label="histogram">'
        f'<path d="{bars}" stroke="var(--accent)" stroke-width="{width / bins - 0.5:g}"/>'
        f'<path d="{ticks}" stroke="currentColor" stroke-width="0.8"/></svg>'
    )


def _unit(quality: Quality) -> tuple[int, str]:
    """Returns what to multiply a figure by, and how to call it."""
    name = quality.metric if quality.higher_is_better else f"{quality.metric}, less is better"
    return (100, f"{name}, %") if quality.percent else (1, name)


def _style() -> AbstractContextManager[None]:
    import matplotlib as mpl  # takes a second, which most processes of a run need not wait

    return mpl.rc_context(_STYLE)


def _figure(height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure((_INCHES, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def _intervals(axes: Axes, values: npt.NDArray[np.float64], labels: Sequence[str]) -> None:
    places = range(len(values))
    axes.hlines(places, values[:, 0], values[:, 2], color=_ACCENT, alpha=0.5, linewidth=3)
    axes.plot(values[:, 1], places, "o", color=_ACCENT, markersize=5)
    axes.set_yticks(places, labels)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _svg(figure: Figure, name: str) -> str:
    """Returns the figure as an `svg` element. All its ids begin with `name`, so that they are unique in the page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"(font: [\d.]+px) [^;\"]*", r"\1 system-ui, sans-serif", svg)
    for placeholder, color in _THEME.items():
        svg = svg.replace(placeholder, color)
    return svg.strip()
