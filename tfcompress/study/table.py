"""A study as a table on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfcompress.study.sensitivity import Effect, Layer, Sensitivity, hardest_tolerable
from tfcompress.study.treatments import TREATMENTS


def print_sensitivity(study: Sensitivity, console: Console | None = None) -> None:
    """Prints a row a layer, the loss of the model as it is, and how the cells are meant."""
    console = console or Console(width=None if Console().is_terminal else 170)
    table = Table()
    table.add_column("layer", overflow="fold", min_width=12)
    columns = {
        (technique.name, value): f"{technique.name} {value}"
        for technique, settings in TREATMENTS.items()
        for setting in settings
        for value in setting.model_dump(exclude_unset=True).values()
    }
    for heading in ("weights", *columns.values()):
        table.add_column(heading, justify="right")
    for layer in study.layers:
        cells = {(effect.technique, *effect.settings.values()): _cell(effect, layer, study) for effect in layer.effects}
        table.add_row(escape(layer.name), f"{layer.weights:,}", *(cells.get(key, "") for key in columns))
    console.print(table)
    top1 = study.accuracy
    console.print(
        f"{study.model} on {study.examples} validation examples of {study.data}: loss {study.loss:.4f}, top-1 "
        f"{top1.top1:.2%} ({top1.low:.1%}-{top1.high:.1%}). A cell is the change of the loss in nats ± its standard "
        "error, and the answers lost/gained, with that layer alone treated and nothing trained. '*' is the hardest "
        f"treatment up to which the loss rises by {study.tolerance:g} at most.",
        style="dim",
    )


def _cell(effect: Effect, layer: Layer, study: Sensitivity) -> str:
    mark = "*" if effect is hardest_tolerable(layer, effect.technique, study.tolerance) else ""
    return f"{mark}{effect.change:+.3f} ±{effect.standard_error:.3f} {effect.flips.lost}/{effect.flips.gained}"
