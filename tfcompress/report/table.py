"""A report as a table on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from tfcompress.report.document import Report, Variant


def print_report(report: Report, console: Console | None = None) -> None:
    """Prints a row a file, what was left alone, and how the ratios are meant."""
    console = console or Console(width=None if Console().is_terminal else 140)
    table = Table()
    table.add_column("model")
    for heading in ("top-1 (95 %)", "lost/gained (p)", "bytes", "gzip", "of base", "time", "memory", "values", "zeros"):
        table.add_column(heading, justify="right")
    for variant in report.variants:
        table.add_row(*_cells(variant, report.variants[0]))
    console.print(table)
    console.print(
        f"{report.variants[0].accuracy.examples} test examples, paired with the first row for lost/gained (exact "
        "McNemar test). 'of base' is gzip by the bytes of the first row; 'time' is the median latency by the first "
        "row's, one thread, interleaved; 'memory' is peak RSS above an empty interpreter, each in its own process; "
        "'values' the most distinct weights of a kernel, 'zeros' the smallest share.",
        style="dim",
    )
    if report.left_alone:
        listed = ", ".join(f"{layer.layer} ({layer.kind}, {layer.parameters:,})" for layer in report.left_alone)
        console.print(f"Left as they were, with their numbers of parameters: {listed}", style="dim")


def _cells(variant: Variant, base: Variant) -> list[str]:
    accuracy, flips, size = variant.accuracy, variant.flips, variant.size
    return [
        variant.name,
        f"{accuracy.top1:.2%} ({accuracy.low:.1%}-{accuracy.high:.1%})",
        f"{flips.lost}/{flips.gained} ({flips.p_value:.2f})" if flips else "",
        f"{size.raw:,}",
        f"{size.gzip:,}",
        f"1/{base.size.raw / size.gzip:.1f}",
        f"{variant.latency.ratio:.2f}",
        f"{variant.memory.above_empty / 2**20:.1f} MiB" if variant.memory else "",
        str(max(tensor.distinct for tensor in variant.tensors)) if variant.tensors else "",
        f"{min(tensor.sparsity for tensor in variant.tensors):.0%}" if variant.tensors else "",
    ]
