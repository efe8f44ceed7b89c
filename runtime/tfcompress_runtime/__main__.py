"""Runs files and prints the time and memory that each takes: `python -m tfcompress_runtime FILE.tflite`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tfcompress_runtime.benchmark import measure, report
from tfcompress_runtime.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 2 for the user's mistakes."""
    parser = argparse.ArgumentParser("python -m tfcompress_runtime", description="Measures .tflite files.")
    parser.add_argument("files", metavar="FILE.tflite", nargs="+", type=Path, help="packed or not")
    parser.add_argument("--threads", metavar="N", type=_threads, default=(1,), help="numbers of threads, such as 1,2")
    parser.add_argument("--seconds", type=float, default=3.0, help="the least time to measure for each row; default: 3")
    parser.add_argument("--json", action="store_true", help="print what `tfcompress compare --from-phone` reads")
    given = parser.parse_args(arguments)
    try:
        rows = [measure(path, threads, given.seconds) for path in given.files for threads in given.threads]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if given.json:
        print(json.dumps(report(rows), indent=2))
        return 0
    for row in rows:
        print(
            f"{row.path}, {row.threads} thread{'s' * (row.threads > 1)}, {'packed' if row.is_packed else 'stock'}: "
            f"median {row.milliseconds(50):.3g} ms, 90 % within {row.milliseconds(90):.3g} ms, "
            f"{len(row.seconds):,} runs; peak memory {row.peak_kib / 1024:.1f} MiB, "
            f"of which the file {row.added_mib:.1f} MiB"
        )
    return 0


def _threads(text: str) -> tuple[int, ...]:
    counts = [int(count) if count.isdecimal() else 0 for count in text.split(",")]
    if not all(1 <= count <= 64 for count in counts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers from 1 to 64, such as 1,2")
    return tuple(counts)


if __name__ == "__main__":
    sys.exit(main())
