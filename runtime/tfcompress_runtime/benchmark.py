"""The time and memory that a file takes on this machine, measured in a process of its own."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfcompress_runtime.errors import UserError
from tfcompress_runtime.interpreter import OPERATORS, Interpreter

WARM_UP = 5
RUNS = 20
"""The least number of inferences that are timed, as in the Android demo's benchmark."""


@dataclass(frozen=True)
class Measured:
    """A file with a number of threads.

    Attributes:
        is_packed: whether our delegate runs it; else XNNPACK does.
        seconds: of each inference after those for warming up.
        pss_before_kib, pss_after_kib: the process's share of memory without and with the file, in KiB.
        peak_kib: the process's peak of resident memory, with Python and LiteRT, in KiB.
    """

    path: Path
    threads: int
    is_packed: bool
    seconds: tuple[float, ...]
    pss_before_kib: int
    pss_after_kib: int
    peak_kib: int

    @property
    def added_mib(self) -> float:
        """What the file added to the process's memory, in MiB."""
        return (self.pss_after_kib - self.pss_before_kib) / 1024

    def milliseconds(self, percentile: float) -> float:
        """Returns a percentile of the time of an inference; the median is the 50th."""
        return 1000 * float(np.percentile(self.seconds, percentile))


def measure(path: Path, threads: int = 1, seconds: float = 3.0) -> Measured:
    """Runs a file in a new process, on random numbers from 0 to 1 or, quantized, of all that the input can hold.

    Integers are 0, which every table has as an id, and 1 in inputs whose name contains `mask`.

    Args:
        path: of the `.tflite` file, packed or not.
        threads: per inference.
        seconds: the least time to measure for; there are at least `RUNS` inferences.

    Raises:
        UserError: there is no such file, LiteRT cannot run it, or the packed runtime is missing.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; name a .tflite file")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(_measure, path, threads, seconds).result()
        except BrokenProcessPool as error:
            raise UserError(f"{path}: the process that ran it died; check the file with tfcompress inspect") from error


def _measure(path: Path, threads: int, least: float) -> Measured:
    before = _kib("smaps_rollup", "Pss:")
    try:
        interpreter = Interpreter(path, threads)
        interpreter.allocate_tensors()
        is_packed = any(operator["op_name"].startswith(OPERATORS) for operator in interpreter._get_ops_details())
        rng = np.random.default_rng(0)
        for port in interpreter.get_input_details():
            interpreter.set_tensor(port["index"], _values(rng, port))
        for _ in range(WARM_UP):
            interpreter.invoke()
    except UserError:
        raise
    except (RuntimeError, ValueError) as error:
        raise UserError(f"LiteRT cannot run {path}: {str(error).strip().splitlines()[0]}") from error
    after = _kib("smaps_rollup", "Pss:")
    taken: list[float] = []
    while len(taken) < RUNS or sum(taken) < least:
        begin = time.perf_counter()
        interpreter.invoke()
        taken.append(time.perf_counter() - begin)
    return Measured(path, threads, is_packed, tuple(taken), before, after, _kib("status", "VmHWM:"))


def _values(rng: np.random.Generator, port: dict[str, Any]) -> npt.NDArray[Any]:
    """Returns an input's values; see `measure`."""
    kind, shape = np.dtype(port["dtype"]), port["shape"]
    if np.issubdtype(kind, np.floating):
        values: npt.NDArray[Any] = rng.random(shape)
    elif np.issubdtype(kind, np.integer) and port["quantization"][0]:
        limits = np.iinfo(kind)
        values = rng.integers(limits.min, limits.max, shape, endpoint=True)
    elif np.issubdtype(kind, np.integer) or kind == np.bool_:
        values = np.full(shape, "mask" in port["name"])
    else:
        raise UserError(f"input {port['name']} takes {kind}; only files whose inputs are numbers can be measured")
    return values.astype(kind)


def _kib(file: str, key: str) -> int:
    with open(f"/proc/self/{file}") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(key))


def report(rows: Sequence[Measured]) -> dict[str, Any]:
    """Returns what `tfcompress compare --from-phone` reads."""
    return {
        "format": "tfcompress.phone",
        "version": 1,
        "app": version("tfcompress-runtime"),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "device": {
            "manufacturer": platform.system(),
            "model": _model(),
            "android": None,
            "api": None,
            "abi": platform.machine(),
            "cores": cpu_count() or 1,
        },
        "rows": [_row(measured) for measured in rows],
    }


def _row(measured: Measured) -> dict[str, Any]:
    content = measured.path.read_bytes()
    return {
        "group": measured.path.absolute().parent.name,
        "model": measured.path.name,
        "title": measured.path.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "threads": measured.threads,
        "delegate": "tfcompress" if measured.is_packed else "xnnpack",
        "runs": len(measured.seconds),
        "median_ms": measured.milliseconds(50),
        "p90_ms": measured.milliseconds(90),
        "pss_before_kib": measured.pss_before_kib,
        "pss_after_kib": measured.pss_after_kib,
        "energy_uj": None,
        "energy_source": None,
    }


def _model() -> str:
    """Returns what Linux calls the machine: a board by its device tree, a computer by its processor."""
    board = Path("/proc/device-tree/model")
    if board.is_file():
        return board.read_text().strip("\0\n ")
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
