"""The trials of a search in a database of Optuna: what to try next, and what came of it.

Optuna keeps no state of a sampler, so that each trial is proposed by a sampler of its own, seeded by the search and the
trial's number. A search that was killed therefore goes on as if it had not been.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from pydantic import JsonValue, TypeAdapter

from tfcompress.errors import UserError, first_line
from tfcompress.study.space import Choice, Parameter, Space
from tfcompress.study.trial import Outcome

_NAME = "search"
_OUTCOME = TypeAdapter(Outcome)
_KEY = "outcome"
_STATES = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclass(frozen=True)
class Entry:
    """A trial in the ledger.

    Attributes:
        number: from 0.
        values: of the parameters, see `Space`.
        outcome: None while the trial runs, or if the search was killed while it ran.
    """

    number: int
    values: dict[str, JsonValue]
    outcome: Outcome | None = None


class Ledger:
    """The study in an SQLite file.

    Args:
        path: of the file, which is made if there is none.
        space: what may vary.
        goals: how many figures are minimised.
        seed: of the samplers.

    Raises:
        UserError: the file is no database of Optuna.
    """

    def __init__(self, path: Path, space: Space, goals: int, seed: int) -> None:
        self._space, self._seed = space, seed
        self._distributions = {name: _distribution(one) for name, one in space.parameters.items()}
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._study = optuna.create_study(
                storage=f"sqlite:///{path}",
                sampler=optuna.samplers.RandomSampler(seed=0),  # Not asked: `_drawn` is.
                study_name=_NAME,
                directions=["minimize"] * goals,
                load_if_exists=True,
            )
        except Exception as error:  # SQLAlchemy and Optuna raise many kinds.
            raise UserError(f"{path} cannot be used: {first_line(error)}; choose another folder") from error

    def entries(self) -> list[Entry]:
        """Returns all trials, by number."""
        return [
            Entry(
                trial.number,
                {name: self._value(name, trial.params[name]) for name in self._space.parameters},
                _OUTCOME.validate_json(trial.user_attrs[_KEY]) if trial.state.is_finished() else None,
            )
            for trial in self._study.get_trials(deepcopy=False)
        ]

    def propose(self) -> Entry:
        """Notes a new trial and returns it. Until it is recorded, it counts as running."""
        number, starts = len(self._study.get_trials(deepcopy=False)), self._space.starts()
        drawn = self._stored(starts[number]) if number < len(starts) else self._drawn(number)
        # In one transaction, so that none is kept without its values.
        self._study.add_trial(create_trial(state=TrialState.RUNNING, params=drawn, distributions=self._distributions))
        return Entry(number, {name: self._value(name, drawn[name]) for name in self._space.parameters})

    def record(self, number: int, outcome: Outcome, goals: Sequence[float], excess: float | None) -> None:
        """Ends a trial.

        Args:
            number: of the trial.
            outcome: what came of it.
            goals: the figures to minimise, if it is complete.
            excess: by how much it missed the budget, at most 0 if it kept it; None if there is no budget or it failed.
        """
        frozen = self._study.get_trials(deepcopy=False)[number]
        trial = optuna.Trial(self._study, frozen._trial_id)
        with warnings.catch_warnings():  # of what is set already, if a search was killed just now
            warnings.simplefilter("ignore")
            if excess is not None:
                trial.set_constraint("budget", excess)
            if len(self._study.directions) == 1:
                for step, loss in enumerate(loss for losses in outcome.losses.values() for loss in losses):
                    trial.report(loss, step)
        trial.set_user_attr(_KEY, _OUTCOME.dump_json(outcome).decode())
        complete = outcome.state == "complete"
        self._study.tell(number, list(goals) if complete else None, state=_STATES[outcome.state])

    def _drawn(self, number: int) -> dict[str, JsonValue]:
        """Returns the values that Optuna's TPE proposes, as the study keeps them."""
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        study = optuna.create_study(
            storage=optuna.storages.InMemoryStorage(),
            sampler=optuna.samplers.TPESampler(seed=seed),
            directions=self._study.directions,
        )
        study.add_trials(self._study.get_trials(deepcopy=False))
        return cast(dict[str, JsonValue], study.ask(self._distributions).params)

    def _stored(self, values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        choices = {name for name, one in self._space.parameters.items() if isinstance(one, Choice)}
        return {name: json.dumps(value) if name in choices else value for name, value in values.items()}

    def _value(self, name: str, stored: JsonValue) -> JsonValue:
        return json.loads(str(stored)) if isinstance(self._space.parameters[name], Choice) else stored


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, Choice):
        return CategoricalDistribution([json.dumps(value) for value in parameter.options])
    if parameter.whole:
        step = 1 if parameter.step is None else int(parameter.step)
        return IntDistribution(int(parameter.low), int(parameter.high), parameter.log, step)
    return FloatDistribution(parameter.low, parameter.high, parameter.log, parameter.step)
