"""Summarizes the reports of runs that differ only in their seed in one Markdown table.

python benchmarks/seeds.py out/fashion/0/report.json out/fashion/1/report.json out/fashion/2/report.json
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median

from absl import app

from benchmarks.rows import Result, markdown
from tfcompress.measure.quality import TOP1, Change, Quality
from tfcompress.report.document import Report


def main(arguments: Sequence[str]) -> None:
    """Prints one row per variant: quality per seed, its mean and change from the base, bytes, time and memory."""
    print(table([figures(Report.load(Path(path))) for path in arguments[1:]]))


def figures(report: Report) -> list[Result]:
    """Returns what a table shows of each variant of a run."""
    return [
        {
            "model": variant.name,
            "quality": asdict(variant.quality[0]),
            "change": asdict(variant.change[0]) if variant.change else None,
            "bytes": variant.size.raw,
            "zipped": variant.size.gzip,
            "time": variant.latency.ratio,
            "memory": variant.memory and variant.memory.above_empty,
        }
        for variant in report.variants
    ]


def table(runs: Sequence[Sequence[Result]]) -> str:
    """Returns a Markdown table of the variants of runs that differ in their seeds."""
    metric = runs[0][0]["quality"]["metric"]
    changes = "lost/gained (p)" if metric == TOP1.name else "change of each seed (95 %)"
    headings = ("model", f"{metric} of each seed (95 %)", "mean", "change", changes, "bytes", "gzip ratio")
    bases = [run[0] for run in runs]
    return markdown((*headings, "time", "memory"), [_cells(variants, bases) for variants in zip(*runs, strict=True)])


def _cells(variants: Sequence[Result], bases: Sequence[Result]) -> tuple[str, ...]:
    pairs = list(zip(variants, bases, strict=True))
    found = [Quality(**v["quality"]) for v in variants]
    scale, percent = (100, "%") if found[0].percent else (1, "")
    change = scale * mean(v["quality"]["value"] - base["quality"]["value"] for v, base in pairs)
    memory = [v["memory"] / 2**20 for v in variants if v["memory"]]
    return (
        variants[0]["model"],
        "; ".join(map(str, found)),
        f"{scale * mean(quality.value for quality in found):.{2 if percent else 4}f}{percent}",
        f"{change:+.2f}" if percent else f"{change:+.3g}",
        "; ".join(str(Change(**v["change"])) for v in variants if v["change"]),
        f"{variants[0]['bytes']:,}",
        f"1/{median(base['bytes'] / v['zipped'] for v, base in pairs):.1f}",
        f"{median(v['time'] for v in variants):.2f}",
        f"{median(memory):.1f} MiB" if memory else "",
    )


if __name__ == "__main__":
    app.run(main)
