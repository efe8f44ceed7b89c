"""What a search may vary: the values that stand beside `search` in a recipe, and the recipes that they make."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

from pydantic import JsonValue, model_validator

from tfcompress.errors import UserError
from tfcompress.runs.recipe import SEARCH, Place, Recipe, searched, written
from tfcompress.settings import Settings

PRESENT = "present"
"""The key beside a technique that says whether it is part of the recipe."""

_CLUSTER, _BITS = "cluster", "bits"
_MOST_COMBINATIONS = 256
_INSIDE = 1e-3
"""How far inside a range without steps, as a share of it, its ends are checked: the ends themselves are not drawn."""

Values = Mapping[str, JsonValue]
"""A value for each place that may vary, by the place as `--set` takes it."""

ByLayer = Callable[[float], dict[str, Any]]
"""Returns a technique's settings by layer, so that the layers have so many bits on average."""


@dataclass(frozen=True)
class Choice:
    """Some values to choose from."""

    place: Place
    options: tuple[JsonValue, ...]


class _Limits(Settings):
    low: float
    high: float
    log: bool = False
    step: float | None = None

    @model_validator(mode="after")
    def _possible(self) -> _Limits:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}; low must be less")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs a low above 0, and no step")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(f"step is {self.step:g}; it must be above 0, and at most high - low")
        return self


@dataclass(frozen=True)
class Range:
    """A range of numbers.

    Attributes:
        place: in the recipe.
        low, high: its ends.
        log: whether small numbers are drawn as often as large ones.
        step: between the numbers, or None for any.
        whole: whether the numbers are integers.
        by_layer: whether they are bits per weight on average, which each trial shares out among the layers.
    """

    place: Place
    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False
    by_layer: bool = False

    def number(self, value: float) -> float:
        """Returns a value as recipes get it: short, because more digits make no difference."""
        return round(value) if self.whole else float(f"{value:.4g}")


Parameter = Choice | Range


class Space:
    """The recipes that a search may choose from.

    Args:
        content: of a recipe, as `read_recipe` returns it.
        source: names it in errors.

    Attributes:
        parameters: what may vary, by its place as `--set` takes it.

    Raises:
        UserError: nothing is to be searched, or something that cannot be; or a recipe that can come out is wrong, such
            as techniques in an order that is not legal.
    """

    def __init__(self, content: Any, source: str) -> None:
        self._content, self._source = content, source
        self.parameters = {written(place): self._parameter(place, given) for place, given in searched(content)}
        if not self.parameters:
            raise UserError(
                f"{source} has no `search`; write what may vary in the place of a value, such as "
                "`clusters: {search: [16, 32, 64]}`, or give the recipe to `tfcompress run`"
            )
        for values in self._extremes():
            try:
                self.recipe(values)
            except UserError as error:
                raise UserError(f"{error} (with {self.described(values)})") from None

    def first(self) -> dict[str, JsonValue]:
        """Returns the first of the choices, and the middle of ranges; all techniques that may be absent are present."""
        return {name: _first(one) for name, one in self.parameters.items()}

    def starts(self) -> list[dict[str, JsonValue]]:
        """Returns the values of the first trials: `first`, with several numbers of bits if they are shared out."""
        shares = [one for one in self.parameters.values() if isinstance(one, Range) and one.by_layer]
        return [
            self.first() | {written(one.place): one.low + share * (one.high - one.low) for one in shares}
            for share in ((1.0, 0.6, 0.3, 0.0) if shares else (1.0,))
        ]

    def content(self, values: Values, by_layer: ByLayer | None = None) -> dict[str, Any]:
        """Returns the content of the recipe with these values.

        Args:
            values: of all parameters.
            by_layer: shares bits out among layers; by default no layer has settings of its own.
        """
        content = deepcopy(self._content)
        for name, parameter in self.parameters.items():
            value = self.short(name, values[name])
            if isinstance(parameter, Range) and parameter.by_layer:
                value = by_layer(cast(float, value)) if by_layer else {}
            _put(content, parameter.place, value)
        steps = content.get("techniques")
        if isinstance(steps, list):
            content["techniques"] = [one for one in map(_without_presence, steps) if one is not None]
            export = content.get("export")
            if isinstance(export, dict) and not any(_CLUSTER in step for step in content["techniques"]):
                export.pop("clustered", None)  # It packs what `cluster` did.
        return cast(dict[str, Any], content)

    def recipe(self, values: Values, by_layer: ByLayer | None = None) -> Recipe:
        """Returns the recipe with these values; see `content`."""
        return Recipe.checked(self.content(values, by_layer), self._source)

    def recipes(self) -> Iterator[tuple[str, Recipe]]:
        """Yields recipes in which each value occurs that may be wrong by itself, each with its values in words."""
        for values in self._extremes():
            yield self.described(values), self.recipe(values)

    def described(self, values: Values) -> str:
        """Returns values in words."""
        return ", ".join(f"{name} {self.short(name, values[name])}" for name in self.parameters)

    def short(self, name: str, value: JsonValue) -> JsonValue:
        """Returns the value of a parameter as the recipe has it; of bits that are shared out, their mean."""
        parameter = self.parameters[name]
        return parameter.number(cast(float, value)) if isinstance(parameter, Range) else value

    def _extremes(self) -> Iterator[dict[str, JsonValue]]:
        """Yields all combinations of techniques; and each option and end of a range, with the first of all others."""
        first = self.first()
        presence = {name: one for name, one in self.parameters.items() if one.place[-1] == PRESENT}
        options = [one.options for one in presence.values() if isinstance(one, Choice)]
        for chosen in itertools.islice(itertools.product(*options), _MOST_COMBINATIONS):
            yield first | dict(zip(presence, chosen, strict=True))
        for name, one in self.parameters.items():
            if name not in presence:
                yield from (first | {name: value} for value in _ends(one) if value != first[name])

    def _parameter(self, place: Place, given: object) -> Parameter:
        where = written((*place, SEARCH))
        if place[0] not in ("techniques", "export"):
            raise UserError(
                f"{self._source}: {where}: all trials have the same data and base model, from which the budget counts; "
                "search in techniques and in export"
            )
        by_layer = place[-2:] == (_CLUSTER, "layers")
        if by_layer:
            if not isinstance(given, dict) or list(given) != [_BITS]:
                raise UserError(
                    f"{self._source}: {where}: {given!r} is not {{bits: {{low: 2.5, high: 5}}}}, the bits per weight "
                    "that are shared out among the layers; or search in the settings of each layer"
                )
            given = given[_BITS]
        if isinstance(given, list) and not by_layer:
            if len(given) < 2 or any(value in given[:number] for number, value in enumerate(given)):
                raise UserError(f"{self._source}: {where}: {given} are not two or more different values")
            if place[-1] == PRESENT and not all(isinstance(value, bool) for value in given):
                raise UserError(f"{self._source}: {where}: {given} are not true and false")
            options = sorted(given, reverse=True) if place[-1] == PRESENT else given
            return Choice(place, tuple(options))
        if not isinstance(given, dict) or place[-1] == PRESENT:
            raise UserError(
                f"{self._source}: {where}: {given!r} is neither a list of values nor {{low: 0.1, high: 0.9}}"
            )
        limits = _Limits.checked(given, f"{self._source}: {where}")
        if by_layer and not 2 <= limits.low < limits.high <= 8:
            raise UserError(f"{self._source}: {where}: bits are {limits.low:g} to {limits.high:g}; they may be 2 to 8")
        whole = not by_layer and all(isinstance(given[end], int) for end in ("low", "high"))
        if whole and limits.step is not None and limits.step % 1:
            raise UserError(f"{self._source}: {where}: step is {limits.step:g} between whole numbers; it must be whole")
        return Range(place, limits.low, limits.high, limits.log, limits.step, whole, by_layer)


def _first(parameter: Parameter) -> JsonValue:
    if isinstance(parameter, Choice):
        return parameter.options[0]
    low, high, step = parameter.low, parameter.high, parameter.step
    middle = (low * high) ** 0.5 if parameter.log else (low + high) / 2
    if step is not None:
        middle = low + step * round((middle - low) / step)
    return round(middle) if parameter.whole else middle


def _ends(parameter: Parameter) -> Iterator[JsonValue]:
    if isinstance(parameter, Choice):
        yield from parameter.options
    elif not parameter.by_layer:
        exact = parameter.whole or parameter.step is not None
        inside = 0.0 if exact else _INSIDE * (parameter.high - parameter.low)
        yield from (parameter.low + inside, parameter.high - inside)


def _put(content: Any, place: Place, value: object) -> None:
    for part in place[:-1]:
        content = content[part]
    content[place[-1]] = value


def _without_presence(step: Any) -> Any:
    """Returns a step without the key that says whether it is present; None if it is not."""
    if not isinstance(step, dict) or PRESENT not in step:
        return step
    left = {key: value for key, value in step.items() if key != PRESENT}
    return left if step[PRESENT] is True else None
