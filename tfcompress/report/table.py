"""A report as a table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfcompress.report.document import Report, Variant
from tfcompress.report.quality import columns, explained, print_others


def print_report(report: Report, console: Console | None = None) -> None:
    """Prints one row per file, the layers that no technique treated, and what the columns mean."""
    text = any(variant.embedding_bytes for variant in report.variants)
    console = console or Console(width=None if Console().is_terminal else 170 if text else 140)
    table = Table("model")
    quality = list(columns(report.variants, 0))
    headings = (*(heading for heading, _ in quality), "bytes", "gzip", "ratio", "time", "memory", "values", "zeros")
    for heading in (*headings, "embedding", "encoder") if text else headings:
        table.add_column(heading, justify="right")
    for variant, *cells in zip(report.variants, *(cells for _, cells in quality), strict=True):
        parts = (f"{variant.embedding_bytes:,}", f"{variant.encoder_bytes:,}") if text else ()
        table.add_row(variant.name, *cells, *_costs(variant, report.variants[0]), *parts)
    console.print(table)
    print_others([variant.name for variant in report.variants], report.variants, console)
    main = report.variants[0].quality[0]
    console.print(
        f"Measured on {main.cases} test {main.case}s, and compared with the first row."
        f"{explained(report.variants)} 'ratio' is the gzip size divided by the bytes of the first row; 'time' is the "
        "median ratio to the latency of the first row, with one thread, files taking turns; 'memory' is peak RSS above "
        "an empty interpreter, in one process per file; 'values' is the largest number of distinct weights in any "
        "kernel, 'zeros' the smallest share of zeros"
        + (
            "; 'embedding' is the bytes of the embedding tables, 'encoder' those of the rest of the file."
            if text
            else "."
        ),
        style="dim",
    )
    if any(variant.lengths for variant in report.variants):
        _print_lengths(report.variants, console)
    if report.left_alone:
        listed = ", ".join(f"{layer.layer} ({layer.kind}, {layer.parameters:,})" for layer in report.left_alone)
        console.print(
            f"Layers that no technique treated, with their numbers of parameters: {escape(listed)}", style="dim"
        )


def _costs(variant: Variant, base: Variant) -> list[str]:
    size = variant.size
    kernels = [tensor for tensor in variant.tensors if not tensor.table]
    return [
        f"{size.raw:,}",
        f"{size.gzip:,}",
        f"1/{base.size.raw / size.gzip:.1f}",
        f"{variant.latency.ratio:.2f}",
        f"{variant.memory.above_empty / 2**20:.1f} MiB" if variant.memory else "",
        str(max(kernel.distinct for kernel in kernels)) if kernels else "",
        f"{min(kernel.sparsity for kernel in kernels):.0%}" if kernels else "",
    ]


def _print_lengths(variants: Sequence[Variant], console: Console) -> None:
    """Prints how long each file takes for texts of each of its lengths."""
    table = Table("model")
    for one in variants[0].lengths:
        table.add_column(f"{one.tokens} tokens", justify="right")
    for variant in variants:
        table.add_row(variant.name, *(f"{one.latency.ratio:.2f}" for one in variant.lengths))
    console.print(table)
    console.print(
        "The time of each file for texts of so many tokens, as a ratio to its longest; all other figures are of the "
        "longest.",
        style="dim",
    )
