"""Summarizes the reports of runs that differ only in their seed in one Markdown table.

python benchmarks/seeds.py out/fashion/0/report.json out/fashion/1/report.json out/fashion/2/report.json
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

from absl import app

from tfcompress.measure.quality import TOP1
from tfcompress.report.document import Report, Variant


def main(arguments: Sequence[str]) -> None:
    """Prints one row per variant: quality per seed, its mean and change from the base, bytes, time and memory."""
    reports = [Report.load(Path(path)) for path in arguments[1:]]
    metric = reports[0].variants[0].quality[0].metric
    changes = "lost/gained (p)" if metric == TOP1.name else "change of each seed (95 %)"
    headings = ("model", f"{metric} of each seed (95 %)", "mean", "change", changes, "bytes", "gzip ratio")
    print("| " + " | ".join((*headings, "time", "memory")) + " |")
    print("|" + "---|" * 9)
    bases = [report.variants[0] for report in reports]
    for variants in zip(*(report.variants for report in reports), strict=True):
        print("| " + " | ".join(_cells(variants, bases)) + " |")


def _cells(variants: Sequence[Variant], bases: Sequence[Variant]) -> list[str]:
    pairs = list(zip(variants, bases, strict=True))
    found = [v.quality[0] for v in variants]
    scale, percent = (100, " %") if found[0].percent else (1, "")
    change = scale * mean(v.quality[0].value - base.quality[0].value for v, base in pairs)
    memory = [v.memory.above_empty / 2**20 for v in variants if v.memory]
    return [
        variants[0].name,
        "; ".join(map(str, found)),
        f"{scale * mean(quality.value for quality in found):.4g}{percent}",
        f"{change:+.2f}" if percent else f"{change:+.3g}",
        "; ".join(str(v.change[0]) for v in variants if v.change),
        f"{variants[0].size.raw:,}",
        f"1/{median(base.size.raw / v.size.gzip for v, base in pairs):.1f}",
        f"{median(v.latency.ratio for v in variants):.2f}",
        f"{median(memory):.1f} MiB" if memory else "",
    ]


if __name__ == "__main__":
    app.run(main)
