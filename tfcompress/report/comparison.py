"""A comparison of files as tables on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfcompress.measure.comparison import ComparedFile, Comparison, Cost
from tfcompress.measure.divergence import Mean
from tfcompress.measure.phone import PhoneReport
from tfcompress.report.quality import columns, explained, print_others


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Prints what the files cost, one row per number of threads, how outputs compare, and what the columns mean."""
    console = console or Console(width=None if Console().is_terminal else 130)
    first = comparison.files[0]
    costs = _table("bytes", "gzip", "ratio", "threads", "ms", "10-90 %", "time (95 %)", "peak RSS")
    for file in comparison.files:
        for cost in file.costs:
            head = _head(file, first) if cost is file.costs[0] else [""] * 4
            costs.add_row(*head, str(cost.threads), *_cost(cost, file is first))
    console.print(costs)
    console.print(
        "'ratio' is the bytes divided by those of the first file; 'ms' is the median time per inference, '10-90 %' its "
        f"range over {comparison.rounds} rounds, in which the files take turns within one process; 'time' is the "
        "median ratio to the first file in the same round, with a bootstrap interval; 'peak RSS' is that of a new "
        "Python process that loads LiteRT and the file and runs it once.",
        style="dim",
    )
    for file in comparison.files:
        if reason := next((cost.no_memory for cost in file.costs if cost.no_memory), ""):
            console.print(f"The memory of {escape(file.name)} could not be measured: {escape(reason)}.", style="dim")
    if first.quality or len(comparison.files) > 1:
        _print_outputs(comparison, console)
    if comparison.phone is not None:
        _print_phone(comparison.phone, console)


def _print_outputs(comparison: Comparison, console: Console) -> None:
    first = comparison.files[0]
    quality = list(columns(comparison.files, 0)) if first.quality else []
    divergent = any(file.divergence is not None for file in comparison.files)
    embedded = any(file.cosine is not None for file in comparison.files)
    outputs = _table(
        "same top-1",
        "mean diff.",
        "largest",
        *(["KL (95 %)"] * divergent),
        *(["cosine (95 %)"] * embedded),
        *(heading for heading, _ in quality),
    )
    for file, *cells in zip(comparison.files, *(cells for _, cells in quality), strict=True):
        found = [_mean(file.divergence, ".3g")] * divergent + [_mean(file.cosine, ".5f")] * embedded
        outputs.add_row(escape(file.name), *_agreement(file), *found, *cells)
    console.print(outputs)
    print_others([file.name for file in comparison.files], comparison.files, console)
    note = " 'KL' is the Kullback-Leibler divergence of the scores from the first file's, in nats." * divergent
    note += " 'cosine' is the similarity of the embeddings to the first file's." * embedded
    note += explained(comparison.files)
    if not comparison.data:
        note += " Real examples tell more: name a data set with --data."
    console.print(escape(f"Compared with the first file on {comparison.described_data}.{note}"), style="dim")
    for file in comparison.files[1:]:
        if file.agreement is None:
            told = f"{file.name} is not compared: it gives {file.output}, but {first.name} gives {first.output}."
            console.print(escape(told), style="dim")


def _print_phone(phone: PhoneReport, console: Console) -> None:
    table = _table("threads", "run by", "ms", "90 %", "time", "PSS", "energy")
    for row in phone.rows:
        ratio = phone.ratio(row)
        times = (f"{row.median_ms:.3g}", f"{row.p90_ms:.3g}", "" if ratio is None else f"{ratio:.3f}")
        energy = "" if row.energy_uj is None else f"{row.energy_uj:,.0f} uJ ({row.energy_source})"
        table.add_row(escape(row.title), str(row.threads), row.delegate, *times, f"{row.pss_mib:+.1f} MiB", energy)
    console.print(table)
    console.print(
        f"On {escape(str(phone.device))}, {escape(phone.date)}. 'ms' is the median, '90 %' the 90th percentile, 'time' "
        "the ratio of medians to the first file with the same number of threads; 'PSS' is what the model adds to the "
        "process's memory.",
        style="dim",
    )


def _table(*headings: str) -> Table:
    table = Table("file")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _head(file: ComparedFile, first: ComparedFile) -> list[str]:
    return [escape(file.name), f"{file.size.raw:,}", f"{file.size.gzip:,}", f"1/{first.size.raw / file.size.raw:.2f}"]


def _cost(cost: Cost, first: bool) -> list[str]:
    time = cost.latency
    return [
        f"{time.median_ms:.3g}",
        f"{time.low_ms:.3g}-{time.high_ms:.3g}",
        "1" if first else f"{time.ratio:.3f} ({time.ratio_low:.3f}-{time.ratio_high:.3f})",
        f"{cost.memory.peak_rss / 2**20:.1f} MiB" if cost.memory else "",
    ]


def _agreement(file: ComparedFile) -> tuple[str, ...]:
    found = file.agreement
    if found is None:
        return "", "", ""
    top1 = "" if found.top1_agreement is None else f"{found.top1_agreement:.1%}"
    return top1, f"{found.mean_difference:.1e}", f"{found.largest_difference:.1e}"


def _mean(mean: Mean | None, digits: str) -> str:
    if mean is None:
        return ""
    interval = "" if mean.low is None else f" ({mean.low:{digits}}-{mean.high:{digits}})"
    return f"{mean.value:{digits}}{interval}"
