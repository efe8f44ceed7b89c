"""Measures Ray as the engine of studies: its speed, what kills do to it, and what many workers ask of the driver.

python -m benchmarks.engines --measure=speed
python -m benchmarks.engines --measure=killed_workers
python -m benchmarks.engines --measure=killed_drivers
python -m benchmarks.engines --measure=simulated
"""

from __future__ import annotations

import hashlib
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from absl import app, flags

from tfcompress.cli.program import as_user_sees, import_tensorflow
from tfcompress.study import engines

FLAGS = flags.FLAGS
flags.DEFINE_enum("measure", "speed", ["speed", "killed_workers", "killed_drivers", "simulated"], "What is measured.")
flags.DEFINE_integer("runs", 8, "How many runs the study has.")
flags.DEFINE_integer("kills", 10, "How many processes are killed.")
flags.DEFINE_integer("epochs", 10, "Of the training of each run.")
flags.DEFINE_string("into", None, "Only makes the runs in this folder, by Ray; for this program itself.")

_SLEEPERS = 200
_SLEEP = 1.0
_CALLS = 1000


def main(_: Sequence[str]) -> None:
    """Measures what the flag says and prints it."""
    with as_user_sees(), tempfile.TemporaryDirectory() as name:
        folder = Path(FLAGS.into or name)
        if FLAGS.into or FLAGS.measure != "killed_drivers":
            import_tensorflow()
        if FLAGS.into:
            with engines.engine("ray") as ray:
                _make(ray, folder)
        else:
            print(f"load before: {os.getloadavg()[0]:.1f}; cores: {os.cpu_count()}")
            {
                "speed": _speed,
                "killed_workers": _killed_workers,
                "killed_drivers": _killed_drivers,
                "simulated": _simulated,
            }[FLAGS.measure](folder)
            print(f"load after: {os.getloadavg()[0]:.1f}")


def _make(engine: engines.Engine, folder: Path, runs: int | None = None) -> float:
    """Makes all runs and returns the seconds it took."""
    from tfcompress.runs.recipe import Recipe
    from tfcompress.study.runs import Run, make_runs

    changes = ["model.depth=1", f"training={{epochs: {FLAGS.epochs}}}", "techniques=[]"]
    found = [
        Run(f"seed {seed}", Recipe.load("vit_digits", [*changes, f"seed={seed}"]), folder / f"{seed:03}")
        for seed in range(runs or FLAGS.runs)
    ]
    start = time.monotonic()
    make_runs(found, engine, folder, rehearsal=False)
    return time.monotonic() - start


def _speed(folder: Path) -> None:
    """Compares this process with Ray's workers, one thread each, after each has made a run."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    seconds, used = {}, {}
    for name in ("local", "ray"):
        with engines.engine(name) as engine:
            for study in (f"{name}_started", name):
                (folder / study).mkdir()
            _make(engine, folder / f"{name}_started", os.cpu_count())
            before = _processor_seconds()
            seconds[name] = _make(engine, folder / name)
            used[name] = _processor_seconds() - before
        print(f"{name}: {FLAGS.runs} runs in {seconds[name]:.1f} s, {used[name]:.1f} s of processor", flush=True)
    print(f"ratio: {seconds['local'] / seconds['ray']:.2f}; of processor time: {used['local'] / used['ray']:.2f}")
    _print_same(folder / "local", folder / "ray")


def _killed_workers(folder: Path) -> None:
    undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
    with engines.engine("ray") as engine:
        undisturbed.mkdir()
        seconds = _make(engine, undisturbed)
        disturbed.mkdir()
        end = threading.Event()
        killer = threading.Thread(target=_kill_workers, args=(seconds, end))
        killer.start()
        _make(engine, disturbed)
        end.set()
        killer.join()
    _print_same(undisturbed, disturbed)


def _kill_workers(seconds: float, end: threading.Event) -> None:
    """Kills workers that are busy, at random moments."""
    moments, killed = random.Random(0), 0
    while killed < FLAGS.kills and not end.wait(moments.uniform(0, 2 * seconds / FLAGS.kills)):
        busy = [pid for pid, title in _descendants(os.getpid()) if title.startswith("ray::run")]
        if busy:
            os.kill(moments.choice(busy), 9)
            killed += 1
    print(f"{killed} workers were killed")


def _processor_seconds() -> float:
    """Returns what this process, those below it, and their ended children have used."""
    used = 0
    for pid, _ in [(os.getpid(), ""), *_descendants(os.getpid())]:
        used += sum(map(int, _stat(pid)[11:15]))
    return used / os.sysconf("SC_CLK_TCK")


def _descendants(of: int) -> Iterator[tuple[int, str]]:
    """Yields the processes below one, and their titles."""
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    parents = {pid: int(stat[1]) for pid in numbers if (stat := _stat(pid))}
    for pid in parents:
        above = parents[pid]
        while above not in (of, 0, 1):
            above = parents.get(above, 0)
        if above == of:
            yield pid, Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")


def _stat(pid: int) -> list[str]:
    """Returns what the system says of a process, from its state on; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _killed_drivers(folder: Path) -> None:
    undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
    start = time.monotonic()
    _driver(undisturbed).wait()
    seconds, moments = time.monotonic() - start, random.Random(0)
    for number in range(FLAGS.kills):
        driver = _driver(disturbed)
        time.sleep(moments.uniform(0, seconds))
        driver.kill()
        driver.wait()
        print(f"kill {number + 1}: {len(list(disturbed.glob('*/report.json')))} runs are finished", flush=True)
    assert _driver(disturbed).wait() == 0
    _print_same(undisturbed, disturbed)


def _driver(into: Path) -> subprocess.Popen[bytes]:
    into.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.engines", f"--into={into}", f"--runs={FLAGS.runs}"]
    return subprocess.Popen([*command, f"--epochs={FLAGS.epochs}"], stderr=subprocess.DEVNULL)


def _print_same(first: Path, second: Path) -> None:
    counts = [len(list(folder.glob("*/report.json"))) for folder in (first, second)]
    print(f"runs: {counts[0]} and {counts[1]}; same files: {_files(first) == _files(second)}")


def _files(folder: Path) -> dict[str, str]:
    """Returns the digests of the runs' models, `.h5` and `.tflite`."""
    files = (file for kind in ("h5", "tflite") for file in folder.rglob(f"*.{kind}"))
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


class _Sleepers(engines.Engine):
    """Threads in place of workers, which sleep in place of a run and write what marks it as finished."""

    parallel = True

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_SLEEPERS)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._pool.submit(_sleep, fn)


def _sleep(work: Any) -> None:
    from tfcompress.study.sharing import stages_of

    time.sleep(_SLEEP)
    for folder, _ in list(stages_of(work.run.recipe))[: work.stages]:
        path = work.run.workdir / "stages" / folder / "stage.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _simulated(folder: Path) -> None:
    """Lets threads sleep in place of workers, and counts what the driver does; then what Ray does for short calls."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    seconds = _make(_Sleepers(), folder, _CALLS)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"simulated: {_CALLS} runs that sleep {_SLEEP} s, {_SLEEPERS} threads: {seconds:.1f} s, {used:.1f} of processor"
    )
    shutil.rmtree(folder / "one", ignore_errors=True)
    (folder / "one").mkdir()
    _make(engines.InProcess(), folder / "one", 1)
    files = [file.stat().st_size for file in (folder / "one").rglob("*") if file.is_file()]
    print(f"one run leaves {len(files)} files, {sum(files):,} bytes")
    with engines.engine("ray") as ray:
        ray.submit(time.sleep, 1).result()
        start = [_processor_seconds(), time.process_time()]
        for future in [ray.submit(time.sleep, 0.01) for _ in range(_CALLS)]:
            future.result()
        used, driver = _processor_seconds() - start[0], time.process_time() - start[1]
    print(f"{_CALLS} calls by Ray: {driver:.1f} s of processor in the driver, {used - driver:.1f} s in Ray and workers")


if __name__ == "__main__":
    app.run(main)
