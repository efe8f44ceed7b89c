"""The runs of a study, made by an engine, at the same time if it can; what runs share is made once."""

from __future__ import annotations

import fcntl
import io
import platform
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue

import tf_keras

from tfcompress.errors import UserError
from tfcompress.files import remove_folder
from tfcompress.runs.pipeline import make_stages, run
from tfcompress.runs.recipe import Recipe
from tfcompress.study.engines import Engine
from tfcompress.study.sharing import copy_stages, finished_stages, stages_of

_DONE = ".done"
"""What marks a run's folder as finished: a file with its recipe."""


@dataclass(frozen=True)
class Run:
    """A run of a study.

    Attributes:
        title: what distinguishes it, in words.
        recipe: what it does.
        workdir: its folder, whose name is its own within the study.
    """

    title: str
    recipe: Recipe
    workdir: Path


@dataclass(frozen=True)
class Work:
    """What one call of an engine does to a run.

    Attributes:
        run: which one.
        rehearsal: whether it is tried on two examples first.
        stages: how many of its first stages are made, or None for all and the report.
        content: the run's folder as far as it has been made, for a machine that does not see the folder; or None.
    """

    run: Run
    rehearsal: bool
    stages: int | None
    content: bytes | None

    def __str__(self) -> str:
        """Returns what Ray writes before the lines of this call."""
        return f"run {self.run.workdir.name}"

    def __call__(self) -> bytes | None:
        """Does it, and returns the content of the run's folder if it was given."""
        if self.content is not None:
            with tempfile.TemporaryDirectory(prefix="tfcompress-") as name:
                unpack_folder(self.content, Path(name, "run"))
                self._make(Path(name, "run"))
                return pack_folder(Path(name, "run"))
        if not self.run.workdir.is_dir():
            raise UserError(
                f"{platform.node()} does not see {self.run.workdir}, as other machines of the cluster do; mount it"
            )
        with alone(self.run.workdir):
            self._make(self.run.workdir)
        return None

    def _make(self, workdir: Path) -> None:
        try:
            if self.stages is None:
                run(self.run.recipe, workdir, rehearsal=self.rehearsal)
            else:
                make_stages(self.run.recipe, workdir, self.stages, self.rehearsal)
        finally:
            tf_keras.backend.clear_session()  # Otherwise the memory of all models adds up.


def make_runs(runs: Sequence[Run], engine: Engine, folder: Path, rehearsal: bool = True) -> None:
    """Makes all runs. The same call resumes an interrupted one.

    A stage that several runs share is made in the folder of the first of them and copied to the others, which wait for
    it. If a worker dies, its engine repeats its call, which goes on after the last finished stage of the run.

    Args:
        runs: what to make.
        engine: where.
        folder: of the study, which holds the runs' folders. An engine's machines that do not share it get what a run
            needs, and send its folder back, a stage at a time.
        rehearsal: whether each run is tried on two examples first.

    Raises:
        UserError: a run failed; the message begins with its title.
    """
    shared = engine.shares(folder)
    made = {decided_by: path for one in runs for decided_by, path in _finished(one).items()}
    left = [one for one in runs if not _is_done(one)]
    waiting = [part for part in parts(left, engine.parallel, not shared) if part.makes not in made]
    under_way: dict[Future[bytes | None], Part] = {}
    finished: SimpleQueue[Future[bytes | None]] = SimpleQueue()
    while waiting or under_way:
        for part in [part for part in waiting if part.after is None or part.after in made]:
            waiting.remove(part)
            one = left[part.run]
            one.workdir.mkdir(parents=True, exist_ok=True)
            copy_stages(one.recipe, one.workdir, made)
            if not engine.parallel:
                _say(one, runs)
            future = engine.submit(Work(one, rehearsal, part.stages, None if shared else pack_folder(one.workdir)))
            under_way[future] = part
            future.add_done_callback(finished.put)
            if not engine.parallel:
                break
        future = finished.get()
        part = under_way.pop(future)
        one = left[part.run]
        try:
            content = future.result()
        except UserError as error:
            raise UserError(f"{one.title}: {error}") from error
        if content is not None:
            unpack_folder(content, one.workdir)
        made = _finished(one) | made
        assert part.makes is None or part.makes in made
        if part.stages is None:
            (one.workdir / _DONE).write_text(one.recipe.model_dump_json(), encoding="utf-8")
            if engine.parallel:
                _say(one, runs, " is done")


@dataclass(frozen=True)
class Part:
    """A part of a run.

    Attributes:
        run: the number of the run.
        stages: see `Work`.
        after: what decides the stage that must have been made before, see `stages_of`; None if there is none.
        makes: what decides the last of its stages; None for all and the report.
    """

    run: int
    stages: int | None
    after: str | None = None
    makes: str | None = None


def parts(runs: Sequence[Run], parallel: bool, every_stage: bool) -> Iterator[Part]:
    """Yields the parts of all runs, each after what it needs.

    Args:
        runs: of the study.
        parallel: whether runs are cut where they part, so that those that share a stage wait for it alone; otherwise
            they are whole.
        every_stage: whether they are cut after every stage, too, so that its result is kept outside the worker.
    """
    decided = [[decided_by for _, decided_by in stages_of(one.recipe)] for one in runs]
    follow: dict[str, set[object]] = defaultdict(set)
    for number, stages in enumerate(decided):
        for before, after in pairwise([*stages, number]):
            follow[str(before)].add(after)
    begun: set[str] = set()
    for number, stages in enumerate(decided):
        after = None
        for count, stage in enumerate(stages if parallel else (), start=1):
            cut = every_stage or len(follow[stage]) > 1
            if cut and stage not in begun:
                yield Part(number, count, after, stage)
            begun.add(stage)
            after = stage if cut else after
        yield Part(number, None, after)


@contextmanager
def alone(folder: Path, seconds: float = 120) -> Iterator[None]:
    """Keeps other processes from the block for the same folder.

    A worker whose driver was killed can live on for half a minute, while the study is resumed.

    Raises:
        UserError: another process has been in it for so long.
    """
    deadline = time.monotonic() + seconds
    with (folder / ".lock").open("w") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise UserError(f"another process works in {folder}; end it, or wait until it has ended") from None
                time.sleep(0.2)
            except OSError:  # This file system has no locks.
                break
        yield


def pack_folder(folder: Path) -> bytes:
    """Returns the files in a folder as an uncompressed tar archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(folder, ".")
    return content.getvalue()


def unpack_folder(content: bytes, folder: Path) -> None:
    """Makes a folder hold what `pack_folder` packed, and nothing else."""
    beside, before = (folder.with_name(f".{folder.name}.{what}") for what in ("new", "old"))
    for path in (beside, before):
        remove_folder(path)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(beside, filter="data")
    if folder.exists():
        folder.rename(before)
    beside.rename(folder)
    remove_folder(before)


def _is_done(one: Run) -> bool:
    """Returns whether an earlier call has made a run, so that no worker has to look at it again."""
    mark, *reports = (one.workdir / name for name in (_DONE, "report.json", "report.html"))
    if not all(path.is_file() for path in (mark, *reports)):
        return False
    return mark.read_text(encoding="utf-8") == one.recipe.model_dump_json()


def _finished(one: Run) -> dict[str, Path]:
    return finished_stages(one.recipe, one.workdir)


def _say(one: Run, runs: Sequence[Run], what: str = "") -> None:
    print(f"run {runs.index(one) + 1} of {len(runs)}{what}: {one.title}", file=sys.stderr)
