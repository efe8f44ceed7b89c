"""Times the files that `training_free.py` made side by side, so that all have met the same machine and the same load.

A row's own time comes from when the row was made, beside the float32 file alone. What is found here takes its place:
the median of the processes' ratios, and their range. Files that are no longer there keep theirs.

python -m benchmarks.training_free_times --processes=5
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from absl import app, flags

from benchmarks.costs import times
from benchmarks.peers import parts
from benchmarks.rows import Result, kept
from benchmarks.training_free_rows import ROWS
from benchmarks.training_free_tasks import TASKS, Task
from tfcompress.files import read_json, write_json
from tfcompress.measure import environment

_OUTPUT = flags.DEFINE_string("output", "out/training_free", "Where files and results are kept.")
_ONLY = flags.DEFINE_list("only", [], "Models; by default all whose data are there.")
_PROCESSES = flags.DEFINE_integer("processes", 5, "Number of processes that measure.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 20, "Turns of each file in a process.", lower_bound=2)
_CHILD = flags.DEFINE_string("child", None, "Used by the program itself: where this process writes what it measured.")


def main(arguments: Sequence[str]) -> None:
    """Times the files of each model."""
    if arguments[1:]:
        raise app.UsageError(f"unknown arguments {arguments[1:]}")
    for model in _ONLY.value or TASKS:
        task = Task.of(Path(_OUTPUT.value) / model)
        if _CHILD.value:
            files = {"": task.float32} | _files(task.folder)
            write_json(Path(_CHILD.value), times(files, task.first, _ROUNDS.value))
        elif task.ready:
            _time(task.folder)


def _files(folder: Path) -> dict[str, Path]:
    """Returns the files that are as the rows say, by ROW/NAME."""
    found = {}
    for row, figures in kept(folder, ROWS).items():
        for number, (name, file) in enumerate(figures["files"].items()):
            paths = [path for path in folder.glob(f"{row}-{number}.*") if path.suffix != ".bin"]
            if paths and sum(part.stat().st_size for part in parts(paths[0])) == file["bytes"]:
                found[f"{row}/{name}"] = paths[0]
    return found


def _time(folder: Path) -> None:
    """Runs the processes, and writes what they found into the rows."""
    measured: list[Result] = []
    for number in range(_PROCESSES.value):
        path = folder / f"times-{number}.json"
        command = [sys.executable, "-m", "benchmarks.training_free_times", f"--only={folder.name}", f"--child={path}"]
        command += [f"--output={folder.parent}", f"--rounds={_ROUNDS.value}"]
        subprocess.run(command, check=True)
        measured.append(read_json(path))
    for row, figures in kept(folder, ROWS).items():
        for name, file in figures["files"].items():
            if found := [one[f"{row}/{name}"] for one in measured if f"{row}/{name}" in one]:
                ratios = [one["ratio"] for one in found]
                file["time"] = {
                    "ratio": float(np.median(ratios)),
                    "ratio_low": min(ratios),
                    "ratio_high": max(ratios),
                    "processes": len(ratios),
                    "date": environment.now(),
                }
        write_json(folder / f"{row}.json", figures)


if __name__ == "__main__":
    app.run(main)
