from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest

from tfcompress.errors import UserError
from tfcompress.runs.recipe import Recipe
from tfcompress.study.engines import InProcess
from tfcompress.study.runs import Part, Run, Work, alone, make_runs, pack_folder, parts, unpack_folder
from tfcompress.study.sharing import stages_of

STEPS = "techniques=[{prune: {sparsity: 0.5}}, {cluster: {clusters: %d}}]"


def runs_of(folder: Path, *points: tuple[int, int]) -> list[Run]:
    """Runs of one base and seed differ in their last stage."""
    return [
        Run(f"run {number}", Recipe.load("vit_digits", [STEPS % clusters, f"seed={seed}"]), folder / str(number))
        for number, (clusters, seed) in enumerate(points)
    ]


def stage(one: Run, number: int) -> str:
    return list(stages_of(one.recipe))[number][1]


def test_one_at_a_time_runs_are_whole(tmp_path):
    runs = runs_of(tmp_path, (16, 0), (32, 0))
    assert list(parts(runs, parallel=False, every_stage=False)) == [Part(0, None), Part(1, None)]


def test_runs_are_cut_where_they_part(tmp_path):
    runs = runs_of(tmp_path, (16, 0), (32, 0), (16, 1))
    shared = stage(runs[0], 1)
    assert list(parts(runs, parallel=True, every_stage=False)) == [
        Part(0, 2, None, shared),
        Part(0, None, shared),
        Part(1, None, shared),
        Part(2, None),
    ]


def test_runs_are_cut_after_every_stage(tmp_path):
    runs = runs_of(tmp_path, (16, 0), (32, 0))
    base, pruned, few = (stage(runs[0], number) for number in range(3))
    many = stage(runs[1], 2)
    assert list(parts(runs, parallel=True, every_stage=True)) == [
        Part(0, 1, None, base),
        Part(0, 2, base, pruned),
        Part(0, 3, pruned, few),
        Part(0, None, few),
        Part(1, 3, pruned, many),
        Part(1, None, many),
    ]


class Pretence(InProcess):
    """Calls nothing, but writes that stages are finished, and calls the last that is given first."""

    parallel = True

    def __init__(self) -> None:
        self.made: list[tuple[str, int | None]] = []
        self.waiting: list[tuple[Future, Work]] = []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        folders = [folder for folder, _ in stages_of(fn.run.recipe)][: fn.stages]
        self.made.append((str(fn), fn.stages))
        for name in folders:
            record = fn.run.workdir / "stages" / name / "stage.json"
            record.parent.mkdir(parents=True, exist_ok=True)
            record.touch()
        if fn.stages is None:
            for name in ("report.json", "report.html"):
                (fn.run.workdir / name).touch()
        future.set_result(None)
        return future


def test_what_was_made_is_not_made_again(tmp_path):
    runs = runs_of(tmp_path, (16, 0), (32, 0))
    first, again = Pretence(), Pretence()
    make_runs(runs, first, tmp_path)
    assert first.made == [("run 0", 2), ("run 0", None), ("run 1", None)]
    assert (tmp_path / "1/stages/01-prune/stage.json").is_file()
    make_runs(runs, again, tmp_path)
    assert again.made == []
    (tmp_path / "0/.done").write_text(runs[1].recipe.model_dump_json())
    make_runs(runs, again, tmp_path)
    assert again.made == [("run 0", None)]


def test_a_machine_that_does_not_see_the_folder_is_named(tmp_path):
    (one,) = runs_of(tmp_path / "missing", (16, 0))
    with pytest.raises(UserError, match=r"does not see .*missing/0, as other machines of the cluster do"):
        Work(one, rehearsal=False, stages=None, content=None)()


def test_one_process_at_a_time_is_in_a_folder(tmp_path):
    with alone(tmp_path), pytest.raises(UserError, match="another process works in"), alone(tmp_path, 0.1):
        pass
    with alone(tmp_path, 0):
        pass


def test_a_folder_is_unpacked_as_it_was(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    for path, text in ((source / "stages/file", "new"), (target / "stages/old", "old")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    unpack_folder(pack_folder(source), target)
    assert [path.relative_to(target) for path in target.rglob("*")] == [Path("stages"), Path("stages/file")]
    assert (target / "stages/file").read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}
