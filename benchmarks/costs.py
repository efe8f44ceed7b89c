"""What files of LiteRT and its peers cost: bytes, memory, and time beside another file's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers import PEERS, Features, Inference, parts
from tfcompress.measure.interpreter import Runner
from tfcompress.measure.latency import latency, take_turns
from tfcompress.measure.memory import memory
from tfcompress.measure.size import size

Result = dict[str, Any]


def opened(file: Path) -> Inference:
    """Loads a file by its suffix: a `.tflite`, or one of `benchmarks.peers`."""
    if file.suffix in PEERS:
        return PEERS[file.suffix][1](file)
    return Runner(file)


def sizes(file: Path) -> Result:
    """Returns the bytes of a file on disk, and zipped."""
    found = [size(part) for part in parts(file)]
    return {"bytes": sum(one.raw for one in found), "zipped": sum(one.gzip for one in found)}


def times(files: Mapping[str, Path], example: Features, rounds: int) -> dict[str, Result]:
    """Returns the ratio of each file's time to the first's, measured in turns, by name."""
    loaded = {name: opened(file) for name, file in files.items()}
    for one in loaded.values():
        one.run(dict(example))
    taken = take_turns({name: one.invoke for name, one in loaded.items()}, rounds, "timing, threads: 1")
    first = taken[next(iter(files))]
    found = {name: latency(seconds, first) for name, seconds in taken.items()}
    return {
        name: {key: getattr(one, key) for key in ("ratio", "ratio_low", "ratio_high")} for name, one in found.items()
    }


def peak(file: Path) -> int:
    """Returns the peak of memory in bytes that loading a file and one inference add to an empty process."""
    if file.suffix not in PEERS:
        measured, why = memory(file)
        if measured is None:
            raise RuntimeError(why)
        return measured.above_empty
    command = [sys.executable, "-m", "benchmarks.peers", str(file)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
