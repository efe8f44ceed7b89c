"""A report as a table on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfcompress.report.document import Report, Variant


def print_report(report: Report, console: Console | None = None) -> None:
    """Prints one row per file, the layers that no technique treated, and what the columns mean."""
    text = any(variant.embedding_bytes for variant in report.variants)
    console = console or Console(width=None if Console().is_terminal else 170 if text else 140)
    table = Table()
    table.add_column("model")
    headings = ("top-1 (95 %)", "lost/gained (p)", "bytes", "gzip", "ratio", "time", "memory", "values", "zeros")
    for heading in (*headings, "embedding", "encoder") if text else headings:
        table.add_column(heading, justify="right")
    for variant in report.variants:
        parts = (f"{variant.embedding_bytes:,}", f"{variant.encoder_bytes:,}") if text else ()
        table.add_row(*_cells(variant, report.variants[0]), *parts)
    console.print(table)
    console.print(
        f"Measured on {report.variants[0].accuracy.examples} test examples. 'lost/gained' compares each file with the "
        "first row on the same examples (p of the exact McNemar test); 'ratio' is the gzip size divided by the bytes "
        "of the first row; 'time' is the median ratio to the latency of the first row, with one thread, files taking "
        "turns; 'memory' is peak RSS above an empty interpreter, in one process per file; 'values' is the largest "
        "number of distinct weights in any kernel, 'zeros' the smallest share of zeros"
        + (
            "; 'embedding' is the bytes of the embedding tables, 'encoder' those of the rest of the file."
            if text
            else "."
        ),
        style="dim",
    )
    if report.left_alone:
        listed = ", ".join(f"{layer.layer} ({layer.kind}, {layer.parameters:,})" for layer in report.left_alone)
        console.print(
            f"Layers that no technique treated, with their numbers of parameters: {escape(listed)}", style="dim"
        )


def _cells(variant: Variant, base: Variant) -> list[str]:
    accuracy, flips, size = variant.accuracy, variant.flips, variant.size
    kernels = [tensor for tensor in variant.tensors if not tensor.table]
    return [
        variant.name,
        f"{accuracy.top1:.2%} ({accuracy.low:.1%}-{accuracy.high:.1%})",
        f"{flips.lost}/{flips.gained} ({flips.p_value:.2f})" if flips else "",
        f"{size.raw:,}",
        f"{size.gzip:,}",
        f"1/{base.size.raw / size.gzip:.1f}",
        f"{variant.latency.ratio:.2f}",
        f"{variant.memory.above_empty / 2**20:.1f} MiB" if variant.memory else "",
        str(max(kernel.distinct for kernel in kernels)) if kernels else "",
        f"{min(kernel.sparsity for kernel in kernels):.0%}" if kernels else "",
    ]
