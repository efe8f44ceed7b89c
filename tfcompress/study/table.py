"""Prints studies as tables on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfcompress.report.search import SearchReport, goal_text, varied
from tfcompress.study.bits import WIDTHS, Bits
from tfcompress.study.sensitivity import Effect, Layer, Sensitivity, strongest_tolerable
from tfcompress.study.sweep import Sweep
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


def print_sweep(found: Sweep, console: Console | None = None) -> None:
    """Prints one row per file that the runs of a setting ended with, and what the columns mean.

    Times of different processors do not compare: then a column says which one a row's are of.
    """
    console = console or Console(width=None if Console().is_terminal else 170)
    first = found.rows[0].quality
    several = len({name for row in found.rows for name in row.processors}) > 1
    table = Table("")
    for heading in (*found.rows[0].settings, "model"):
        table.add_column(heading, overflow="fold")
    for heading in (f"{first.metric} (95 %)", "change", "bytes", "gzip", "ratio", "time"):
        table.add_column(heading, justify="right")
    if several:
        table.add_column("processor of 'time'", overflow="fold")
    for number, row in enumerate(found.rows, start=1):
        table.add_row(
            str(number),
            *map(str, row.settings.values()),
            escape(row.model),
            str(row.quality),
            f"{100 * row.change:+.2f}" if first.percent else f"{row.change:+.3g}",
            f"{row.bytes:,}",
            f"{row.gzip:,}",
            f"1/{row.ratio:.1f}",
            "" if row.time is None else f"{row.time:.2f}",
            *(["; ".join(row.processors)] if several else []),
        )
    console.print(table)
    seeds = len(found.rows[0].qualities)
    interval = f"the mean of {seeds} seeds with Student's interval" if seeds > 1 else "of one seed, with its interval"
    console.print(
        f"{found.runs} runs of {found.recipe}, on {first.cases} test {first.case}s. '{first.metric}' is {interval}; "
        "'change' is from the base model of the same run, of percentages in points; 'ratio' is the bytes divided by "
        "those of the base model's file, 'time' the ratio to its latency, the median of the seeds"
        + "; it compares within one processor only, and is left out of rows that several have timed" * several
        + ".",
        style="dim",
    )


def print_search(found: SearchReport, console: Console | None = None) -> None:
    """Prints the trials of the front, the winner on the test split, and what the columns mean."""
    console = console or Console(width=None if Console().is_terminal else 170)
    table = Table("trial")
    costs = [goal for goal in found.goals if goal != "quality"]
    for heading in varied(found.trials):
        table.add_column(heading, overflow="fold")
    for heading in (f"{found.base.metric} (95 %)", "lost", *costs):
        table.add_column(heading, justify="right")
    for trial in found.front:
        mark = "*" if found.winner is not None and trial.number == found.winner.number else ""
        settings = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in trial.settings.values())
        values = (goal_text(goal, trial.costs[goal]) for goal in costs)
        table.add_row(f"{mark}{trial.number}", *settings, str(trial.quality), f"{trial.lost:.3g}", *values)
    console.print(table)
    counts = {state: sum(trial.state == state for trial in found.trials) for state in ("stopped", "failed")}
    others = "".join(f", {count} {state}" for state, count in counts.items() if count)
    winner = ""
    if found.winner is not None:
        one = found.winner
        winner = (
            f" '*' marks the winner: of those within the budget it has the least {found.goals[0]}. On the test split, "
            f"which was looked at once, it has {one.quality}, and the base model {one.base}: "
            f"{'lost / gained (p) ' if one.change.p_value is not None else 'a change of '}{one.change}."
        )
    console.print(
        f"{len(found.trials)} trials of {found.recipe}{others}. Shown are those than which none is better in one of "
        f"{' and '.join(found.axes)} and as good in the rest, on {found.base.cases} validation {found.base.case}s, on "
        f"which the base model has {found.base}; 'lost' is of that{', in points' if found.base.percent else ''}."
        f"{winner}",
        style="dim",
    )
