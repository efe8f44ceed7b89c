"""Latency of several files side by side: interleaved in one process, so that noise hits them all alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfcompress.measure.interpreter import Example, Runner
from tfcompress.progress import track

_MIN_SECONDS_PER_TURN = 0.005
"""A turn repeats short inferences for so long, well above the clock's resolution."""


@dataclass(frozen=True)
class Latency:
    """Time of one inference.

    Attributes:
        median_ms: median over the rounds, milliseconds; means little without the ratio.
        ratio: median over the rounds of this file's time by that of the first file in the same round.
    """

    median_ms: float
    ratio: float


def latencies(files: Mapping[str, Path], example: Example, rounds: int = 50, threads: int = 1) -> dict[str, Latency]:
    """Measures all files in `rounds` rounds, one turn a file and round, in an order that rotates.

    Args:
        files: by name; the first is the one that ratios refer to.
        example: features without a batch axis, fed to all.
        rounds: turns of each file.
        threads: of each inference.
    """
    runners = {name: Runner(path, threads) for name, path in files.items()}
    for runner in runners.values():
        runner.load(example)
    repeats = {name: _repeats(runner) for name, runner in runners.items()}
    names = list(files)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in track(range(rounds), "timing", rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(_seconds(runners[name], repeats[name]))
    first = np.array(times[names[0]])
    return {
        name: Latency(float(np.median(taken)) * 1e3, float(np.median(np.array(taken) / first)))
        for name, taken in times.items()
    }


def _seconds(runner: Runner, repeats: int) -> float:
    """Returns the mean time of an inference over `repeats` in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        runner.invoke()
    return (time.perf_counter() - start) / repeats


def _repeats(runner: Runner) -> int:
    """Warms a file up and returns how many inferences fill a turn."""
    _seconds(runner, 3)
    return max(1, round(_MIN_SECONDS_PER_TURN / _seconds(runner, 1)))
