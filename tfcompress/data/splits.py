"""Which of the user's examples train a model, which choose its settings, and which judge it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import numpy as np
from pydantic import Field, model_validator

from tfcompress.data.dataset import SPLITS, Split
from tfcompress.errors import UserError
from tfcompress.progress import console
from tfcompress.settings import Settings

T = TypeVar("T")

_NAMES: dict[str, Split] = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test",
}  # fmt: skip


class Fractions(Settings):
    """The shares of the examples that are held out of training, where the data have no splits of their own."""

    validation: float = Field(0.15, ge=0, le=1, description="share that chooses settings, and is watched in training")
    test: float = Field(0.15, ge=0, le=1, description="share for the final results; 1 if nothing is to be trained")

    @model_validator(mode="after")
    def _possible(self) -> Fractions:
        if self.validation + self.test > 1:
            raise ValueError(f"validation and test are {self.validation + self.test:g} together; they may be at most 1")
        return self

    def of(self, split: Split) -> float:
        """Returns the share of a split."""
        return {"train": 1 - self.validation - self.test, "validation": self.validation, "test": self.test}[split]


ALL_TEST = Fractions(validation=0, test=1)
"""Of data for evaluation only."""


def split_named(name: str) -> Split | None:
    """Returns the split that a file or folder with this name holds; None if the name is another."""
    return _NAMES.get(name.casefold())


def divided(groups: Mapping[str, Sequence[T]], fractions: Fractions, what: str) -> dict[Split, list[T]]:
    """Splits each group at random, with a fixed seed, and mixes the groups within each split.

    Args:
        groups: examples by what errors call their group, such as the folder of a class.
        fractions: the shares of each group; a split with any share gets at least one of each group.
        what: the examples, for errors.

    Raises:
        UserError: a group has fewer examples than there are splits.
    """
    order: list[Split] = [split for split in ("test", "validation", "train") if fractions.of(split) > 1e-9]
    parts: dict[Split, list[T]] = {split: [] for split in SPLITS}
    for name, group in groups.items():
        if len(group) < len(order):
            raise UserError(
                f"{name} has {len(group)} {what}; at least {('one is', 'two are', 'three are')[len(order) - 1]} "
                "needed, one per split; add some, or set data.split to {test: 1} if nothing is to be trained"
            )
        left = [group[i] for i in np.random.default_rng(0).permutation(len(group))]
        for place, split in enumerate(order, 1):
            others = len(order) - place
            count = min(max(1, round(fractions.of(split) * len(group))), len(left) - others) if others else len(left)
            parts[split] += left[:count]
            left = left[count:]
    return {split: mixed(part) for split, part in parts.items()}


def planned(
    found: Collection[Split], fractions: Fractions | None, where: str
) -> tuple[dict[Split, Split], Fractions | None]:
    """Decides what becomes of data that come with some splits.

    What is not trained on judges the result: without `test`, that is `validation`. Without a `validation` that is left,
    or with `train` alone, a share of the training examples is held out. Without `train` the data are for evaluation
    only, and a split may be empty.

    Args:
        found: the splits that there are.
        fractions: the shares to hold out; by default those of `Fractions`.
        where: names the data.

    Returns:
        Which split of the data is used as which, and the shares by which their `train` is divided, if it is.

    Raises:
        UserError: fractions are given of which none is used.
    """
    shares = fractions or Fractions()
    if "train" not in found:
        if fractions is not None:
            raise UserError(f"{where} has no train split, of which a share could be held out; leave out data.split")
        return {"test": "validation"} if "test" not in found else {split: split for split in found}, None
    if set(found) == {"train"}:
        return {}, shares
    if set(found) == set(SPLITS):
        if fractions is not None:
            raise UserError(f"{where} has its own train, validation and test; leave out data.split")
        return {split: split for split in SPLITS}, None
    held_out = f"{shares.validation:.0%}".replace("%", " %")
    if "test" not in found:
        told = (
            f"no test split: its validation split judges the result, and {held_out} of its training examples validate"
        )
    else:
        told = f"no validation split: {held_out} of its training examples are for it"
    console.print(f"{where} has {told}", soft_wrap=True)
    return {"test": "test" if "test" in found else "validation"}, Fractions(validation=shares.validation, test=0)


def completed(
    parts: Mapping[Split, Sequence[T]],
    group: Callable[[T], str],
    fractions: Fractions | None,
    where: str,
    what: str,
) -> dict[Split, list[T]]:
    """Returns all three splits of data that come with some of them, as `planned`.

    Args:
        parts: the examples of the splits that there are.
        group: what errors call the class of an example.
        fractions: the shares to hold out; by default those of `Fractions`.
        where: names the data.
        what: the examples, for errors.

    Raises:
        UserError: there are too few examples, or fractions are given of which none is used.
    """
    if fractions == ALL_TEST:
        return {"train": [], "validation": [], "test": [one for part in parts.values() for one in part]}
    used, shares = planned(parts, fractions, where)
    splits: dict[Split, list[T]] = {split: list(parts[used[split]]) if split in used else [] for split in SPLITS}
    if shares is not None:
        splits |= {
            split: part for split, part in divided(_grouped(parts["train"], group), shares, what).items() if part
        }
    return splits


def _grouped(examples: Sequence[T], group: Callable[[T], str]) -> dict[str, list[T]]:
    groups: dict[str, list[T]] = {}
    for example in examples:
        groups.setdefault(group(example), []).append(example)
    return groups


def mixed(examples: Sequence[T]) -> list[T]:
    """Returns the examples in a seeded order, so that the first few are of many classes."""
    return [examples[i] for i in np.random.default_rng(0).permutation(len(examples))]
