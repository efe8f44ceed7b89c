from __future__ import annotations

import optuna
import pytest

from tfcompress.errors import UserError
from tfcompress.measure.quality import Quality
from tfcompress.settings import parse_yaml
from tfcompress.study.ledger import Ledger
from tfcompress.study.space import Space
from tfcompress.study.trial import Outcome

SPACE = Space(
    parse_yaml(
        "data: {name: digits}\nmodel: {preset: vit_digits}\n"
        "techniques: [cluster: {clusters: {search: [8, 16, 32, 64]}, calibration: {search: {low: 1, high: 900}}}]",
        "own.yaml",
    ),
    "own.yaml",
)
TRIALS, BUDGET = 25, 5.0


class KilledError(BaseException):
    """Stands for the end of the process: nothing catches it."""


def outcome_of(values) -> Outcome:
    clusters, calibration = values.values()
    if calibration > 850:
        return Outcome("failed", reason="nothing can be made of this")
    lost = 100 / clusters + calibration / 300
    found = Quality("top-1", 1 - lost / 100, 0, 1, 200)
    return Outcome("complete", found, {"bytes": 1000.0 * clusters - calibration}, losses={"cluster": [lost, lost]})


def record(ledger: Ledger, entry) -> None:
    outcome = outcome_of(entry.values)
    excess = None if outcome.quality is None else 100 * (1 - outcome.quality.value) - BUDGET
    ledger.record(entry.number, outcome, list(outcome.costs.values()), excess)


def searched(path, kill=lambda number: False, method: str = "tell"):
    """Makes trials until there are `TRIALS`; some end while the last or first step of their record is taken."""
    killed: set[int] = set()
    while True:
        ledger = Ledger(path, SPACE, goals=1, seed=3)
        try:
            while True:
                entries = ledger.entries()
                running = [entry for entry in entries if entry.outcome is None]
                if not running and len(entries) == TRIALS:
                    return entries
                (entry,) = running or [ledger.propose()]
                with pytest.MonkeyPatch.context() as patch:
                    if kill(entry.number) and entry.number not in killed:
                        killed.add(entry.number)
                        patch.setattr(optuna.Study if method == "tell" else optuna.Trial, method, _raise)
                    record(ledger, entry)
        except KilledError:
            assert killed


def _raise(*_, **__):
    raise KilledError


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return searched(tmp_path_factory.mktemp("whole") / "study.db")


@pytest.mark.parametrize("method", ["tell", "set_constraint"])
def test_a_search_that_was_killed_often_tries_the_same(whole, tmp_path, method):
    assert searched(tmp_path / "study.db", lambda number: number % 5 == 2, method) == whole


def test_another_seed_tries_something_else(whole, tmp_path):
    ledger = Ledger(tmp_path / "study.db", SPACE, goals=1, seed=4)
    for number in range(3):
        entry = ledger.propose()
        record(ledger, entry)
        assert (entry.values == whole[number].values) == (number == 0)  # which is the start


def test_later_trials_keep_the_budget_more_often(whole):
    kept = [entry.outcome.quality is not None and entry.outcome.quality.value >= 1 - BUDGET / 100 for entry in whole]
    assert sum(kept[-10:]) > sum(kept[:10])


def test_another_file_is_refused(tmp_path):
    (tmp_path / "study.db").write_text("no database" * 100)
    with pytest.raises(UserError, match=r"study.db cannot be used: .*; choose another folder"):
        Ledger(tmp_path / "study.db", SPACE, goals=1, seed=0)
