"""Which trials are stopped early: Optuna's median pruner, asked wherever a trial runs."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

_TRIALS = 3
"""So many must have missed the budget before one is stopped."""


def is_poor(losses: Sequence[float], of_misses: Sequence[Sequence[float]]) -> bool:
    """Returns whether a training should stop: it is worse than the median of those that ended in a miss.

    A small file within the budget has a higher loss than most files within it; one that missed it says more.

    Args:
        losses: after each epoch so far.
        of_misses: the same of other trials' training by the same technique, all of which missed the budget.
    """
    if len(of_misses) < _TRIALS:
        return False
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_TRIALS, n_min_trials=_TRIALS)
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage(), pruner=pruner)
    study.add_trials(
        [optuna.trial.create_trial(value=0.0, intermediate_values=dict(enumerate(one))) for one in of_misses]
    )
    running = optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING, intermediate_values=dict(enumerate(losses))
    )
    return pruner.prune(study, running)
