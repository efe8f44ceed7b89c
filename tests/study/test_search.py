from __future__ import annotations

import pickle
import shutil
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import optuna
import pytest
from rich.console import Console

from tests.command_line import run as command
from tfcompress import training
from tfcompress.errors import UserError
from tfcompress.report.search import SearchReport
from tfcompress.runs import chain, pipeline
from tfcompress.runs.recipe import Recipe
from tfcompress.study import engines, ledger
from tfcompress.study import search as searching
from tfcompress.study.engines import InProcess
from tfcompress.study.search import search
from tfcompress.study.table import print_search
from tfcompress.study.trial import Trial, make_trial

pytestmark = pytest.mark.slow

RECIPE = """
data: {name: digits}
model: {preset: vit_digits, depth: 1}
training: {epochs: 4, batch_size: 64, learning_rate: 2.0e-3}
techniques:
  - present: {search: [true, false]}
    prune: {sparsity: {search: {low: 0, high: 0.7}}, schedule: constant, fit: {epochs: 1, batch_size: 256}}
  - cluster: {training: false, calibration: 32, layers: {search: {bits: {low: 2, high: 5}}}}
export: {clustered: true}
"""
SPARSITY, BITS = "techniques[0].prune.sparsity", "techniques[1].cluster.layers"
TRIALS = 3


class KilledError(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "digits.yaml"
    path.write_text(RECIPE)
    return str(path)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("search")


def within(recipe: str, workdir: Path, **changes) -> SearchReport:
    given = {"goals": ["bytes"], "budget": "8pt", "trials": TRIALS, "rehearsal": False} | changes
    return search(recipe, workdir, **given)


@pytest.fixture(scope="module")
def trained() -> list[str]:
    """The titles of the trainings of the fixture `found`."""
    return []


@pytest.fixture(scope="module")
def found(recipe, workdir, trained, library) -> SearchReport:
    def fit(*args, **kwargs):
        trained.append(kwargs.get("title") or args[7])
        return usual(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        usual = training.fit
        patch.setattr(chain, "fit", fit)
        return within(recipe, workdir)


@pytest.fixture
def begun(found, workdir, tmp_path) -> Path:
    """The folder of another search, whose base model and tables are made."""
    for name in ("base", "layers"):
        shutil.copytree(workdir / name, tmp_path / "begun" / name)
    return tmp_path / "begun"


def test_the_winner_costs_least_within_the_budget(found):
    by_number = {trial.number: trial for trial in found.trials}
    assert sorted(by_number) == list(range(TRIALS))
    kept = [trial for trial in found.complete if trial.lost <= 8]
    assert by_number[found.winner.number].costs["bytes"] == min(trial.costs["bytes"] for trial in kept)


def test_the_first_trials_have_fewer_and_fewer_bits(found):
    assert [trial.settings[BITS] for trial in found.trials] == [5, 3.8, 2.9]
    sizes = [trial.costs["bytes"] for trial in found.trials]
    assert sizes == sorted(sizes, reverse=True)


def test_what_trials_share_is_made_once(found, trained):
    assert {trial.settings[SPARSITY] for trial in found.trials} == {0.35}
    assert trained == ["base", "prune"]


def test_the_winners_recipe_makes_the_same_file(found, workdir, tmp_path):
    again = make_trial(Trial(Recipe.load(str(workdir / "winner.yaml")), tmp_path, {}, ("bytes",)))
    file = workdir / found.winner.file
    assert file.stem.endswith("_packed")
    assert (tmp_path / again.file).read_bytes() == file.read_bytes()


def test_a_search_for_time_and_memory_has_both_of_its_one_trial(recipe, begun):
    report = within(recipe, begun, goals=["latency", "memory"], budget=None, trials=1)
    (trial,) = report.complete
    assert report.front == [trial]
    assert set(trial.costs) == {"latency", "memory"}
    assert min(trial.costs.values()) > 0


def test_the_winner_alone_has_figures_of_the_test_split(found, workdir):
    folder = workdir / f"trials/{found.winner.number:03}"
    last = pipeline.Report.load(folder / "report.json").variants[-1]
    assert (found.winner.quality, found.winner.change) == (last.quality[0], last.change[0])
    assert found.winner.quality.cases == 450 != found.base.cases == found.trials[0].quality.cases
    assert [path.parent for path in workdir.rglob("predictions")] == [folder]


def test_the_budget_is_a_constraint_in_the_study(found, workdir):
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{workdir / 'study.db'}")
    for trial, row in zip(study.trials, found.trials, strict=True):
        if row.state == "complete":
            assert trial.values == [row.costs["bytes"]]
            assert (trial.constraints["budget"] <= 0) == (row.lost <= 8)


def test_the_page_says_how_many_trials_there_were(found, workdir):
    page = (workdir / "report.html").read_text()
    assert f"Of {TRIALS} trials" in page
    assert "On the test split, which was looked at once" in page
    ElementTree.parse(workdir / "front.svg")
    assert SearchReport.load(workdir / "figures.json") == found
    console = Console(file=StringIO(), width=200)
    print_search(found, console)
    assert f"*{found.winner.number}" in console.file.getvalue()
    assert f"{TRIALS} trials of" in console.file.getvalue()


def test_the_same_call_only_reads(found, recipe, workdir, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("nothing is left to do")

    monkeypatch.setattr(searching, "make_trial", refuse)
    assert within(recipe, workdir).trials == found.trials


class Elsewhere(InProcess):
    """Calls functions with what another process would get."""

    workers = 2

    def submit(self, fn, /, *args, **kwargs):
        fn, args = pickle.loads(pickle.dumps((fn, args)))
        return super().submit(lambda: pickle.loads(pickle.dumps(fn(*args))))


def test_a_killed_search_goes_on_with_the_trial_that_was_running(found, recipe, begun, monkeypatch):
    def kill(*_, **__):
        raise KilledError

    goals = {"goals": ["bytes", "quality"], "budget": None}
    with monkeypatch.context() as patch:
        record = ledger.Ledger.record
        patch.setattr(ledger.Ledger, "record", lambda self, n, *rest: (kill if n == 1 else record)(self, n, *rest))
        with pytest.raises(KilledError):
            within(recipe, begun, **goals)
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{begun / 'study.db'}")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "RUNNING"]
    with monkeypatch.context() as patch:
        patch.setattr(engines, "InProcess", Elsewhere)
        front = within(recipe, begun, **goals, trials=2)
    rows = [[(row.number, row.settings, row.quality, row.costs) for row in one.trials] for one in (front, found)]
    assert rows[0] == rows[1][:2]
    assert front.winner is None
    assert [row.costs["bytes"] for row in front.front] == sorted(row.costs["bytes"] for row in front.front)
    assert "are on the front" in (begun / "report.html").read_text()


def test_a_budget_that_no_trial_meets_shows_the_nearest(found, recipe, begun):
    crude = "techniques=[{cluster: {training: false, initialization: linear, clusters: {search: [3, 4]}}}]"
    with pytest.raises(UserError) as refused:
        within(recipe, begun, budget="0.5pt", trials=1, changes=[crude])
    assert str(refused.value).startswith("none of 1 trials keeps a budget of 0.5 points; the nearest: trial 0 loses")
    assert "None of 1 trials" in (begun / "report.html").read_text()


def test_a_folder_holds_one_search(found, recipe, workdir):
    with pytest.raises(UserError, match=r"holds another search \(budget: 8.0 before, 2.0 now\)"):
        within(recipe, workdir, budget="2pt")


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        ([], {"budget": None}, "give a budget such as 0.3pt"),
        ([], {"goals": ["size"]}, "the goals are size; take different ones of bytes, download, latency, memory"),
        ([], {"budget": "much"}, "budget 'much' is not a number"),
        ([], {"budget": "0.1pt"}, "0.1 points are less than one of the 200 validation examples of digits"),
        ([], {"trials": 0}, "0 trials"),
        (["export={}"], {}, "set export.clustered: true"),
        (["techniques=[cluster]"], {}, "has no `search`"),
        (["techniques[1].cluster.layers={nothing: false}"], {}, "'nothing'"),
        (["training.strategy=multi_worker"], {}, "strategy multi_worker spreads a single run"),
    ],
)
def test_what_cannot_be_searched_is_refused_at_once(found, recipe, begun, monkeypatch, changes, given, message):
    monkeypatch.setattr(searching, "make_trial", lambda *_: pytest.fail("a trial began"))
    with pytest.raises(UserError) as refused:
        within(recipe, begun, changes=changes, **given)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (begun / "study.db").exists()


def test_a_recipe_with_search_is_not_run(recipe, tmp_path, monkeypatch, capsys):
    status, _, err = command(monkeypatch, capsys, "run", recipe, "--workdir", str(tmp_path))
    assert (status, err.count("\n")) == (2, 1)
    assert "techniques[0].present is to be searched; give the recipe to `tfcompress search`" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "1pt"], "give --budget and --minimise, or --objective alone"),
        (["--objective", "bytes,quality", "--time", "soon"], "--time is 'soon'"),
    ],
)
def test_wrong_options_are_one_line(recipe, tmp_path, monkeypatch, capsys, options, message):
    status, _, err = command(monkeypatch, capsys, "search", recipe, "--workdir", str(tmp_path), *options)
    assert (status, err.count("\n")) == (2, 1)
    assert message in err
