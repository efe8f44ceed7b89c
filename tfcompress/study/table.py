"""Prints studies as tables on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfcompress.study.bits import WIDTHS, Bits
from tfcompress.study.sensitivity import Effect, Layer, Sensitivity, strongest_tolerable
from tfcompress.study.treatments import TREATMENTS


def print_sensitivity(study: Sensitivity, console: Console | None = None) -> None:
    """Prints one row per layer, the loss of the untreated model, and what the cells mean."""
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
    quality = study.quality
    counted = any(effect.quality.p_value is not None for layer in study.layers for effect in layer.effects)
    console.print(
        f"{study.model} on {study.examples} validation examples of {study.data}: loss {study.loss:.4f}, "
        f"{quality.metric} {quality}. A cell shows the change of the loss{' in nats' * counted} ± its standard error, "
        f"and the {'examples lost/gained' if counted else f'change of {quality.metric}'}, with only that layer treated "
        f"and nothing trained. '*' marks the strongest treatment up to which the loss rises by at most "
        f"{study.tolerance:g}.",
        style="dim",
    )


def _cell(effect: Effect, layer: Layer, study: Sensitivity) -> str:
    mark = "*" if effect is strongest_tolerable(layer, effect.technique, study.tolerance) else ""
    return f"{mark}{effect.change:+.3f} ±{effect.standard_error:.3f} {effect.quality.brief}"


def print_bits(study: Bits, console: Console | None = None) -> None:
    """Prints one row per layer with its divergence at each width, what was chosen, and what the cells mean."""
    console = console or Console(width=None if Console().is_terminal else 140)
    table = Table()
    table.add_column("layer", overflow="fold", min_width=12)
    for heading in ("weights", *(f"{bits} bits" for bits in WIDTHS), "bytes"):
        table.add_column(heading, justify="right")
    for layer in study.layers:
        cells = (
            f"{'*' if bits == layer.bits else ''}{damage.divergence:.1e}" for bits, damage in layer.damages.items()
        )
        table.add_row(escape(layer.name), f"{layer.weights:,}", *cells, f"{layer.damages[layer.bits].bytes:,}")
    console.print(table)
    quality = ""
    if study.before.quality is not None:
        quality = f", the {study.before.quality.metric} {study.before.quality} before and {study.after.quality} after"
    console.print(
        f"'*' marks the bits that a layer got, so that {study.budget} is kept with the fewest bytes: "
        f"{study.bytes:,}, 1/{study.float_bytes / study.bytes:.1f} of float32. A cell shows the KL divergence of the "
        f"outputs in nats with only that layer clustered. With all of them, on {study.judged}, it is "
        f"{study.after.divergence:.2g}{quality}.",
        style="dim",
    )
