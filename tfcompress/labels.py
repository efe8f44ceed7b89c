"""Matches the classes that a model names to those of the data by their names, never by their place."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from tfcompress.errors import UserError

_SHOWN = 12


def places(labels: Sequence[str], classes: Sequence[str], model: str, data: str, remedy: str) -> tuple[int, ...]:
    """Returns for each class the index of the model's label for it.

    Names are equal if they differ only in case, spaces, underscores and hyphens. Labels like `LABEL_0` are no names:
    they are matched to classes that are the same numbers, and any other classes take them in their order.

    Args:
        labels: names of the model's scores, in their order.
        classes: names of the data's classes, as many.
        model: names the model in errors.
        data: names the data in errors.
        remedy: what to do if the names do not match, for errors.

    Raises:
        UserError: the names do not match, or two labels of the model have the same name.
    """
    names, wanted = list(labels), list(classes)
    if are_placeholders(labels) and not are_placeholders(classes):
        names = [label.removeprefix("LABEL_") for label in labels]
        if sorted(names) != sorted(wanted):
            return tuple(range(len(names)))
    if sorted(names) != sorted(wanted):  # Exact names may tell apart what looks alike in lower case.
        names, wanted = [_normal(name) for name in names], [_normal(name) for name in wanted]
    if names == wanted:
        return tuple(range(len(names)))
    if sorted(names) != sorted(wanted):
        raise UserError(f"{model} names its classes {listed(labels)}, but {data} has {listed(classes)}; {remedy}")
    found = {name: place for place, name in enumerate(names)}
    if len(found) < len(names):
        twice = next(labels[place] for place, name in enumerate(names) if found[name] != place)
        raise UserError(f"{model} names the class {twice!r} twice, so its scores cannot be told apart; {remedy}")
    return tuple(found[name] for name in wanted)


def places_of_some(
    labels: Sequence[str], classes: Sequence[str], model: str, data: str, remedy: str
) -> tuple[int, ...]:
    """Returns for each class the index of the model's label for it, where the model may have more labels.

    Names are equal as in `places`; labels like `LABEL_0` are classes that are called `0` or `LABEL_0`.

    Args:
        labels: names of the model's scores, in their order.
        classes: names of the data's classes, all of them different.
        model: names the model in errors.
        data: names the data in errors.
        remedy: what to do if the names do not match, for errors.

    Raises:
        UserError: a class is not among the labels, or is more than one of them.
    """
    names, wanted = list(labels), list(classes)
    if are_placeholders(labels) and not are_placeholders(classes):
        names = [label.removeprefix("LABEL_") for label in labels]
    if not set(wanted) <= set(names):  # Exact names may tell apart what looks alike in lower case.
        names, wanted = [_normal(name) for name in names], [_normal(name) for name in wanted]
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        found.setdefault(name, []).append(place)
    missing = [own for own, name in zip(classes, wanted, strict=True) if name not in found]
    if missing:
        raise UserError(
            f"{model} names its classes {listed(labels)}, but {data} has {listed(classes)}, of which "
            f"{listed(missing)} {'is' if len(missing) == 1 else 'are'} not among them; {remedy}"
        )
    for own, name in zip(classes, wanted, strict=True):
        if len(found[name]) > 1:
            raise UserError(f"{model} names {len(found[name])} classes {own!r}, so {data} cannot be judged; {remedy}")
    return tuple(found[name][0] for name in wanted)


def are_placeholders(labels: Sequence[str]) -> bool:
    """Returns whether all labels are like `LABEL_0`, which transformers writes where a class has no name."""
    return all(re.fullmatch(r"LABEL_\d+", label) for label in labels)


def _normal(name: str) -> str:
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFC", name.casefold()))


def listed(names: Sequence[str]) -> str:
    """Returns names for an error, the first of many."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
