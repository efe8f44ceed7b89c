"""Latency of several files, which take turns in one process so that noise affects them all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tfcompress.measure.interpreter import Example, Runner
from tfcompress.progress import track

_Name = TypeVar("_Name", str, int)

_MIN_SECONDS_PER_TURN = 0.005
"""A turn repeats short inferences for at least this long, which is well above the clock's resolution."""


@dataclass(frozen=True)
class Latency:
    """Time of one inference.

    Attributes:
        median_ms: median over the rounds, in milliseconds; depends on the machine's load, unlike the ratio.
        low_ms, high_ms: 10th and 90th percentile of the rounds.
        ratio: median over the rounds of this file's time divided by the first file's in the same round.
        ratio_low, ratio_high: its 95 % interval, from resampled rounds (percentile bootstrap, Efron 1979; seeded). It
            does not include what differs between processes, such as the layout of memory: 1 to 2 %.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float


def latencies(
    files: Mapping[str, Path], examples: Mapping[str, Example], rounds: int = 50, threads: int = 1
) -> dict[str, Latency]:
    """Measures all files side by side: see `interleaved`. Ratios refer to the first file."""
    times = interleaved(files, examples, rounds, threads)
    first = times[next(iter(files))]
    return {name: latency(taken, first) for name, taken in times.items()}


def interleaved(
    files: Mapping[str, Path], examples: Mapping[str, Example], rounds: int = 50, threads: int = 1
) -> dict[str, npt.NDArray[np.float64]]:
    """Returns the seconds per inference `(rounds,)` by name.

    Args:
        files: paths by name. A round is one turn of each file, in an order that rotates.
        examples: features without a batch axis, one example per file.
        rounds: number of turns of each file, at least two.
        threads: of each inference.
    """
    runners = {name: Runner(path, threads) for name, path in files.items()}
    for name, runner in runners.items():
        runner.run(examples[name])
    return take_turns({name: runner.invoke for name, runner in runners.items()}, rounds, f"timing, threads: {threads}")


def take_turns(
    inferences: Mapping[_Name, Callable[[], object]], rounds: int, note: str
) -> dict[_Name, npt.NDArray[np.float64]]:
    """Returns the seconds that each inference takes, `(rounds,)`, by name; see `interleaved`."""
    repeats = {name: _repeats(invoke) for name, invoke in inferences.items()}
    names = list(inferences)
    times: dict[_Name, list[float]] = {name: [] for name in names}
    for number in track(range(rounds), note, rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(_seconds(inferences[name], repeats[name]))
    return {name: np.array(taken) for name, taken in times.items()}


def latency(times: npt.NDArray[np.float64], first: npt.NDArray[np.float64]) -> Latency:
    """Summarises a file's times and those of the first file, seconds `(rounds,)`, paired by round."""
    low, median, high = np.percentile(times * 1e3, (10, 50, 90))
    ratios = times / first
    # Not BCa, because its jackknife fails for a median.
    from scipy.stats import bootstrap  # takes a second to import

    interval = bootstrap((ratios,), np.median, method="percentile", random_state=0).confidence_interval
    return Latency(
        float(median), float(low), float(high), float(np.median(ratios)), float(interval.low), float(interval.high)
    )


def _seconds(invoke: Callable[[], object], repeats: int) -> float:
    """Returns the mean time per inference over `repeats` in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        invoke()
    return (time.perf_counter() - start) / repeats


def _repeats(invoke: Callable[[], object]) -> int:
    """Warms a file up and returns how many inferences fill a turn."""
    _seconds(invoke, 3)
    return max(1, round(_MIN_SECONDS_PER_TURN / _seconds(invoke, 1)))
