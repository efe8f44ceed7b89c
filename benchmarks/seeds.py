"""Summarizes the reports of runs that differ only in their seed in one Markdown table.

python benchmarks/seeds.py out/fashion/0/report.json out/fashion/1/report.json out/fashion/2/report.json
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

from absl import app

from tfcompress.report.document import Report, Variant


def main(arguments: Sequence[str]) -> None:
    """Prints one row per variant: accuracy per seed, mean change from the base, flips, bytes, time and memory."""
    reports = [Report.load(Path(path)) for path in arguments[1:]]
    headings = ("model", "top-1 of each seed (95 %)", "mean", "change", "lost / gained", "bytes", "gzip ratio")
    print("| " + " | ".join((*headings, "time", "memory")) + " |")
    print("|" + "---|" * 9)
    bases = [report.variants[0] for report in reports]
    for variants in zip(*(report.variants for report in reports), strict=True):
        print("| " + " | ".join(_cells(variants, bases)) + " |")


def _cells(variants: Sequence[Variant], bases: Sequence[Variant]) -> list[str]:
    pairs = list(zip(variants, bases, strict=True))
    flips = [f"{v.flips.lost} / {v.flips.gained} (p {v.flips.p_value:.2f})" for v in variants if v.flips]
    memory = [v.memory.above_empty / 2**20 for v in variants if v.memory]
    return [
        variants[0].name,
        "; ".join(f"{v.accuracy.top1:.2%} ({v.accuracy.low:.1%}-{v.accuracy.high:.1%})" for v in variants),
        f"{mean(v.accuracy.top1 for v in variants):.2%}",
        f"{100 * mean(v.accuracy.top1 - base.accuracy.top1 for v, base in pairs):+.2f}",
        "; ".join(flips),
        f"{variants[0].size.raw:,}",
        f"1/{median(base.size.raw / v.size.gzip for v, base in pairs):.1f}",
        f"{median(v.latency.ratio for v in variants):.2f}",
        f"{median(memory):.1f} MiB" if memory else "",
    ]


if __name__ == "__main__":
    app.run(main)
