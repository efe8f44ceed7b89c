"""Bytes that an inference reads past a simulated cache of the size of a phone's. Needs valgrind, and takes minutes."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

CACHE = "2097152,16,64"
"""The simulated last-level cache: bytes, ways, bytes per line."""

_PROGRAM = """
import sys
from pathlib import Path
from tfcompress.measure.interpreter import Runner
runner = Runner(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    runner.invoke()
"""


def bytes_read(path: Path) -> float:
    """Returns the bytes that one inference of a file reads past the cache.

    The reads of a process with one inference are subtracted from those of a process with three.
    """
    return (_missed(path, 3) - _missed(path, 1)) / 2 * 64


def _missed(path: Path, calls: int) -> int:
    """Returns the reads of a process that miss the cache."""
    with tempfile.TemporaryDirectory() as folder:
        valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=yes", f"--LL={CACHE}"]
        child = subprocess.run(
            [*valgrind, f"--cachegrind-out-file={folder}/out", sys.executable, "-c", _PROGRAM, str(path), str(calls)],
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
    found = re.search(r"LLd misses:[^(]*\(\s*([\d,]+) rd", child.stderr)
    if found is None:
        raise RuntimeError(f"valgrind reports no cache misses: {child.stderr[-500:]}")
    return int(found[1].replace(",", ""))
