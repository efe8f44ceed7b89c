"""Runs the fuzz on many seeds: `python -m tests.fuzz 200 [FIRST]` prints how each ends, and how many ended how."""

from __future__ import annotations

import operator
import os
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.trial import outcome
from tfcompress.process import call_apart


def main(count: int, first: int = 0) -> int:
    """Tries the seeds from `first` on, each in a process of its own; returns how many ended in neither way."""
    counts: Counter[str] = Counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seeds = range(first, first + count)
        for seed, (kind, text) in zip(seeds, pool.map(_tried, seeds), strict=True):
            counts[kind] += 1
            print(f"seed {seed}: {kind}{text and ': '}{text}", flush=True)
    print(", ".join(f"{kind}: {number}" for kind, number in counts.items()))
    return counts["failed"]


def _tried(seed: int) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            # As an argument, because the modules of functions are imported without Keras 3.
            message = call_apart(f"seed {seed}", "find out why", operator.call, outcome, seed, Path(folder))
        except Exception as error:
            return "failed", f"{type(error).__name__}: {error}"
    return ("right", "") if message == "right" else ("refused", message)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
