from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from tests.extras import has_ray
from tfcompress import training
from tfcompress.errors import UserError
from tfcompress.files import read_json
from tfcompress.runs import chain, pipeline
from tfcompress.runs.recipe import Recipe
from tfcompress.study import engines
from tfcompress.study.engines import InProcess
from tfcompress.study.sweep import Sweep, sweep
from tfcompress.study.table import print_sweep

pytestmark = pytest.mark.slow

CHANGES = [
    "model.depth=1",
    "training={epochs: 1, batch_size: 256}",
    "techniques=[{cluster: {training: false, initialization: linear}}]",
]
CLUSTERS = "techniques[0].cluster.clusters"
GRID = [f"{CLUSTERS}=4,16", "seed=0,1"]


def swept(workdir: Path) -> Sweep:
    return sweep("vit_digits", GRID, workdir, CHANGES, rehearsal=False)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def trained() -> list[int]:
    """The seeds of the trainings of the fixture `found`."""
    return []


@pytest.fixture(scope="module")
def found(workdir, trained) -> Sweep:
    def fit(*args, **kwargs):
        trained.append(args[4])
        return usual(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        usual = training.fit
        patch.setattr(chain, "fit", fit)
        return swept(workdir)


def test_there_is_a_row_for_each_setting_with_all_seeds(found):
    assert (found.recipe, found.runs) == ("vit_digits", 4)
    assert [row.settings for row in found.rows] == [{CLUSTERS: 4}, {CLUSTERS: 16}]
    assert all(len(row.qualities) == len(row.changes) == 2 for row in found.rows)
    few, many = found.rows
    assert few.gzip < many.gzip
    assert many.model == "cluster float32"


def test_a_base_that_runs_share_is_trained_once(found, trained, workdir):
    assert trained == [0, 1]
    bases = [(workdir / "runs" / f"{number:03}/stages/00-base/model.h5").read_bytes() for number in range(4)]
    assert bases[0] == bases[2] != bases[1] == bases[3]


def test_a_run_gives_what_it_gives_alone(found, workdir, tmp_path):
    recipe = Recipe.load("vit_digits", [*CHANGES, f"{CLUSTERS}=16", "seed=1"])
    pipeline.run(recipe, tmp_path / "alone", rehearsal=False)
    alone, in_sweep = ((folder / "model.tflite").read_bytes() for folder in (tmp_path / "alone", workdir / "runs/003"))
    assert alone == in_sweep


class Elsewhere(InProcess):
    """Machines that do not see the driver's files."""

    parallel = True

    def shares(self, folder: Path) -> bool:
        return False


def test_machines_that_share_no_folder_make_the_same(found, workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "InProcess", Elsewhere)
    elsewhere = sweep("vit_digits", [f"{CLUSTERS}=4"], tmp_path, CHANGES, rehearsal=False)
    assert elsewhere.rows[0].qualities == found.rows[0].qualities[:1]
    made, before = (folder / "runs/000" for folder in (tmp_path, workdir))
    assert (made / "model.tflite").read_bytes() == (before / "model.tflite").read_bytes()
    assert (made / "report.html").is_file()


@pytest.mark.skipif(not has_ray(), reason="no Ray: make install EXTRAS=ray")
def test_two_workers_of_ray_make_the_same(found, workdir, cores_apart, tmp_path):
    by_ray = sweep("vit_digits", [f"{CLUSTERS}=4,16"], tmp_path, CHANGES, rehearsal=False, engine="ray")
    assert [row.qualities for row in by_ray.rows] == [row.qualities[:1] for row in found.rows]
    for number in range(2):
        made, before = tmp_path / f"runs/{number:03}", workdir / f"runs/{2 * number:03}"
        assert (made / "model.tflite").read_bytes() == (before / "model.tflite").read_bytes()


def test_times_of_different_processors_are_told_apart(found):
    first, second = found.rows
    mixed = replace(first, time=None, processors=("A", "B"))
    console = Console(file=StringIO(), width=250)
    print_sweep(replace(found, rows=(mixed, second)), console)
    text = console.file.getvalue()
    assert "A; B" in text
    assert second.processors[0] in text
    assert "it compares within one processor only" in text


def test_the_interval_is_that_of_the_seeds(found):
    row = found.rows[1]
    values = [quality.value for quality in row.qualities]
    expected = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
    np.testing.assert_allclose((row.quality.low, row.quality.high), expected)
    assert row.quality.value == pytest.approx(np.mean(values))
    alone = replace(row, qualities=row.qualities[:1])
    assert alone.quality == row.qualities[0]


def test_the_same_call_only_reads(found, workdir, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("nothing is left to do")

    monkeypatch.setattr(chain.Chain, "stages", refuse)
    assert swept(workdir) == found
    assert read_json(workdir / "figures.json")["runs"] == 4
    ElementTree.parse(workdir / "figures.svg")


def test_the_table_shows_means_and_what_they_are(found):
    console = Console(file=StringIO(), width=200)
    print_sweep(found, console)
    text = console.file.getvalue()
    assert "the mean of 2 seeds with Student's interval" in text
    assert f"{found.rows[0].gzip:,}" in text
    assert str(found.rows[1].quality) in text


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["seed"], "--grid 'seed' has no values; write --grid key.path=first,second,…"),
        (["seed="], "has no values"),
        (["seed=0,1,0"], "has a value twice"),
        (["seed=0", "seed=1"], "names a setting twice"),
        ([f"{CLUSTERS}=16,2"], "clusters"),
        (["techniques[7].cluster.clusters=16"], "no such place in the recipe"),
        (["seed=[0"], "--grid seed"),
        (["training.strategy=mirrored"], "vit_digits: strategy mirrored spreads a single run"),
    ],
)
def test_a_wrong_grid_is_refused_before_anything_runs(grid, message, tmp_path):
    with pytest.raises(UserError) as refused:
        sweep("vit_digits", grid, tmp_path / "sweep", CHANGES)
    assert message in str(refused.value)
    assert not (tmp_path / "sweep").exists()


def test_a_folder_holds_one_sweep(found, workdir):
    with pytest.raises(UserError, match=r"holds another sweep \(grid"):
        sweep("vit_digits", ["seed=0,1,2"], workdir, CHANGES)


def test_the_run_that_fails_is_named(tmp_path):
    with pytest.raises(UserError, match=r"^techniques\[0\].cluster.layers {'nothing': False}: .*nothing"):
        sweep("vit_digits", ["techniques[0].cluster.layers={nothing: false}"], tmp_path / "sweep", CHANGES)
