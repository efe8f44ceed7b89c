"""Bits for each layer under a budget: the fewest bytes with which a file clustered without training loses little."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter
from scipy.optimize import Bounds, LinearConstraint, milp

from tfcompress.errors import UserError
from tfcompress.files import read_json, write_json
from tfcompress.measure.interpreter import Example, FloatArray
from tfcompress.post_training.clustering import cluster
from tfcompress.post_training.damage import Damage, average_divergence, damages, results
from tfcompress.post_training.floats import check_float, check_straight, unpack_weights
from tfcompress.post_training.kernels import SMALLEST_KERNEL, find_kernels
from tfcompress.post_training.method import Settings
from tfcompress.progress import bar
from tfcompress.runs.workdir import claim
from tfcompress.study.kept import Kept
from tfcompress.tflite.damage import reporting_damage
from tfcompress.tflite.reading import read
from tfcompress.tflite.writing import write

WIDTHS = (3, 4, 5, 6, 7, 8)
"""The bits of an index that a layer can get."""

MEASURED = 64
"""On how many calibration examples the damage of each layer is measured."""

_START = 5
"""A budget in points is first tried with the bound that this width for every layer would need."""

_SMALLEST_BOUND = 1e-12


@dataclass(frozen=True)
class Selection:
    """Data that a budget in points is judged on, never test data.

    Attributes:
        name: for messages.
        examples: features without a batch axis.
        score: of the outputs `(n, …)` for all examples, where 1 is 100 points; see `top1`.
    """

    name: str
    examples: Sequence[Example]
    score: Callable[[FloatArray], float]


@dataclass(frozen=True)
class Budget:
    """What a file may lose, as nats or as points; one of them is given.

    Attributes:
        divergence: the mean Kullback-Leibler divergence of the outputs from those of the float file, in nats.
        points: of a selection's score.

    Raises:
        UserError: none or both are given, or the number is not positive.
    """

    divergence: float | None = None
    points: float | None = None

    def __post_init__(self) -> None:
        amounts = [amount for amount in (self.divergence, self.points) if amount is not None]
        if len(amounts) != 1:
            raise UserError("give a budget in points of the score, such as 0.3pt, or one in KL, such as 0.01")
        if not 0 < amounts[0] < math.inf:
            raise UserError(f"a budget of {amounts[0]:g} was given; it must be a number above 0")

    def __str__(self) -> str:
        return f"a KL of {self.divergence:g}" if self.points is None else f"a budget of {self.points:g} points"

    def check(self, selection: Selection | None) -> None:
        """Raises a `UserError` if the budget is in points, and finer than one example of the selection."""
        if self.points is None:
            return
        if selection is None:
            raise UserError("a budget in points needs labelled data for selection; give some, or use --budget-kl")
        count, needed = len(selection.examples), math.ceil(100 / self.points - 1e-9)
        if count < needed:
            raise UserError(
                f"{self.points:g} points are less than one of the {count} examples of {selection.name}; give at least "
                f"{needed:,} examples, or a budget in KL (--budget-kl), which needs no labels"
            )

    def lost(self, before: Whole, after: Whole) -> str:
        """Returns what was lost in the unit of the budget."""
        if self.points is None:
            return f"the KL is {after.divergence:.2g}"
        return f"the score falls by {after.points_below(before):.2f} points"

    def holds(self, before: Whole, after: Whole) -> bool:
        """Returns whether a file keeps it, by the point estimate."""
        if self.divergence is not None:
            return after.divergence <= self.divergence
        return self.points is not None and after.points_below(before) <= self.points + 1e-9


@dataclass(frozen=True)
class LayerBits:
    """A layer, what it costs at each width, and the width that it got.

    Attributes:
        name: of its kernel.
        weights: their number.
        damages: by bits; of the layer clustered alone.
        bits: the chosen width.
    """

    name: str
    weights: int
    damages: dict[int, Damage]
    bits: int


@dataclass(frozen=True)
class Whole:
    """All layers clustered: the mean divergence of the outputs in nats, and the score if a `Selection` was given."""

    divergence: float
    score: float | None

    def points_below(self, before: Whole) -> float:
        """Returns how many points the score has fallen; there are scores."""
        assert self.score is not None
        assert before.score is not None
        return 100 * (before.score - self.score)


@dataclass(frozen=True)
class Bits:
    """Which layer got how many bits.

    Attributes:
        budget: as it is written, `0.3pt` or `KL 0.01`.
        judged: on which examples, such as `64 calibration examples`.
        before: of the float file.
        after: with the chosen bits.
        layers: in the order in which the file uses them.
    """

    budget: str
    judged: str
    before: Whole
    after: Whole
    layers: tuple[LayerBits, ...]

    @property
    def bytes(self) -> int:
        """Of the packed layers."""
        return sum(layer.damages[layer.bits].bytes for layer in self.layers)

    @property
    def float_bytes(self) -> int:
        """Of the layers in float32."""
        return 4 * sum(layer.weights for layer in self.layers)

    def settings(self, settings: Settings | None = None) -> dict[str, Settings]:
        """Returns what `cluster` takes, by layer, with all else as in `settings`."""
        return {layer.name: _with_bits(settings or Settings(), layer.bits) for layer in self.layers}

    def save(self, path: Path) -> None:
        """Writes the study as JSON."""
        write_json(path, TypeAdapter(Bits).dump_python(self, mode="json"))

    @classmethod
    def load(cls, path: Path) -> Bits:
        """Reads a study that `save` wrote."""
        return TypeAdapter(cls).validate_python(read_json(path))


def top1(labels: npt.ArrayLike, order: Sequence[int] | None = None) -> Callable[[FloatArray], float]:
    """Returns the score of a `Selection` with a label for each example: the share that is classified correctly.

    Args:
        labels: (n,), places among the classes.
        order: the place among the outputs of the score of each class; None if they have the same order.
    """
    places = slice(None) if order is None else list(order)
    return lambda outputs: float((outputs[:, places].argmax(axis=1) == np.asarray(labels)).mean())


def choose_bits(
    content: bytes,
    examples: Sequence[Example],
    workdir: Path,
    budget: Budget,
    selection: Selection | None = None,
    settings: Settings | None = None,
) -> Bits:
    """Finds the bits of each layer that make the file smallest and keep its loss within a budget.

    Each layer is clustered alone at each width, and the outputs are compared on the first `MEASURED` examples. An
    integer program chooses the widths with the fewest bytes whose divergences add up to at most a bound; the bound is
    doubled as long as the whole file, clustered with these widths, keeps the budget, or else halved until it does.

    Args:
        content: the bytes of a float `.tflite` file that `cluster` takes.
        examples: calibration data without labels, features without a batch axis.
        workdir: keeps each outcome, so that the same call resumes an interrupted one; so does one with another budget.
        budget: what may be lost on the selection, or else on the calibration examples.
        selection: needed for a budget in points.
        settings: how to cluster; `clusters` is not used.

    Raises:
        UserError: the budget is finer than one example of the selection; the file cannot be clustered,
            see `cluster`, or has no scores; no choice keeps the budget; or the folder holds another study.
    """
    budget.check(selection)
    content, weights = _opened(content)
    settings = settings or Settings()
    judge = _Judge(content, examples, selection, settings, workdir / "wholes")
    claim(workdir, "study", _description(content, examples, settings))
    finest = dict.fromkeys(weights, WIDTHS[-1])
    before, after = judge.before, judge.whole(finest)
    if not budget.holds(before, after):
        raise UserError(
            f"{budget} cannot be kept: with {WIDTHS[-1]} bits for every layer, {budget.lost(before, after)}; give a "
            "larger budget"
        )
    found = _damages(content, examples, list(weights), settings, Kept(workdir / "damages", Damage))
    chosen = _search(found, finest, budget, lambda choice: budget.holds(before, judge.whole(choice)))
    layers = tuple(LayerBits(name, weights[name], found[name], bits) for name, bits in chosen.items())
    return Bits(str(budget), judge.on, before, judge.whole(chosen), layers)


class _Judge:
    """Clusters whole files and compares them with the float one, each once.

    Raises:
        UserError: see `choose_bits`.
    """

    def __init__(
        self,
        content: bytes,
        examples: Sequence[Example],
        selection: Selection | None,
        settings: Settings,
        folder: Path,
    ) -> None:
        self._content, self._examples, self._settings = content, examples, settings
        self._judged = selection.examples if selection else examples
        self._score = selection.score if selection else None
        self._expected = results(content, self._judged)
        if not np.isfinite(self._expected).all():
            raise UserError("the file gives NaN or infinity for the examples; repair it, or give other examples")
        self.before = Whole(0.0, self._score(self._expected) if self._score else None)
        # The score stands for the labels.
        self._kept = Kept(folder / f"{_digest(self._judged)[:16]}-{self.before.score}", Whole)
        self.on = f"{len(self._judged)} examples of {selection.name if selection else 'the calibration data'}"

    def whole(self, choice: Mapping[str, int]) -> Whole:
        """Returns the outcome with these bits by layer."""
        key = hashlib.sha256(repr(sorted(choice.items())).encode()).hexdigest()[:16]
        return self._kept.of(key, lambda: self._measured(choice))

    def _measured(self, choice: Mapping[str, int]) -> Whole:
        by_name = {name: _with_bits(self._settings, bits) for name, bits in choice.items()}
        found = results(cluster(self._content, by_name, self._examples).content, self._judged)
        return Whole(average_divergence(found, self._expected), self._score(found) if self._score else None)


_Damages = Mapping[str, dict[int, Damage]]


def _damages(
    content: bytes, examples: Sequence[Example], names: Sequence[str], settings: Settings, kept: Kept[Damage]
) -> _Damages:
    """Returns the damage of each layer at each width, and measures only what is not kept."""
    keys = {(name, bits): f"{place:03}-{bits}" for place, name in enumerate(names) for bits in WIDTHS}
    wanted = {name: [bits for bits in WIDTHS if kept.get(keys[name, bits]) is None] for name in names}
    with bar("each layer alone", sum(map(len, wanted.values()))) as shown:
        if any(wanted.values()):
            for name, bits, damage in damages(content, examples, wanted, settings, MEASURED):
                kept.put(keys[name, bits], damage)
                shown.advance(note=name)
    found: dict[str, dict[int, Damage]] = {name: {} for name in names}
    for (name, bits), key in keys.items():
        damage_kept = kept.get(key)
        assert damage_kept is not None
        found[name][bits] = damage_kept
    return found


def _search(
    found: _Damages, finest: dict[str, int], budget: Budget, holds: Callable[[dict[str, int]], bool]
) -> dict[str, int]:
    """Returns the smallest choice of those that the program finds for one doubled or halved bound, that holds."""
    least = sum(min(damage.bytes for damage in of.values()) for of in found.values())
    bound = _first_bound(found, budget)
    choice = fewest_bytes(found, bound) or finest
    if holds(choice):
        while _bytes(found, choice) > least and holds(coarser := fewest_bytes(found, 2 * bound) or finest):
            choice, bound = coarser, 2 * bound
        return choice
    while not holds(choice):
        bound /= 2
        choice = (fewest_bytes(found, bound) if bound > _SMALLEST_BOUND else None) or finest
    return choice


def _first_bound(found: _Damages, budget: Budget) -> float:
    """Returns a power of two, so that similar budgets try the same bounds."""
    bound = budget.divergence or sum(of[_START].divergence for of in found.values())
    return float(2.0 ** math.floor(math.log2(min(max(bound, _SMALLEST_BOUND), 1e6))))


def fewest_bytes(found: _Damages, bound: float) -> dict[str, int] | None:
    """Solves the integer program: one width for each layer, with the fewest bytes whose damages add up to a bound.

    Args:
        found: the damages of each layer by bits.
        bound: for the sum of the divergences, in nats.

    Returns:
        The bits by layer; None if no choice keeps the bound.
    """
    options = [
        (place, name, bits, damage)
        for place, (name, of) in enumerate(found.items())
        for bits, damage in of.items()
        if damage.divergence <= bound
    ]
    if len({name for _, name, _, _ in options}) < len(found):
        return None
    once = np.zeros((len(found), len(options)))
    once[[place for place, *_ in options], range(len(options))] = 1
    # Shares of the bound, because a solver takes differences below 1e-6 for none.
    shares = np.array([[damage.divergence / bound for *_, damage in options]])
    solved = milp(
        np.array([damage.bytes for *_, damage in options], float),
        integrality=np.ones(len(options)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(once, 1, 1), LinearConstraint(shares, -np.inf, 1)],
        options={"mip_rel_gap": 0},
    )
    if solved.x is None:
        return None
    return {name: bits for (_, name, bits, _), share in zip(options, solved.x, strict=True) if share > 0.5}


def _bytes(found: _Damages, choice: Mapping[str, int]) -> int:
    return sum(found[name][bits].bytes for name, bits in choice.items())


def _opened(content: bytes) -> tuple[bytes, dict[str, int]]:
    """Returns a file with float32 weights, and the numbers of weights of its layers, which may be none."""
    model = read(content)
    with reporting_damage("the file"):
        check_float(model)
        check_straight(model)
        unpack_weights(model)
        kernels = [kernel for kernel in find_kernels(model) if kernel.tensor.elements >= SMALLEST_KERNEL]
        return write(model), {kernel.name: kernel.tensor.elements for kernel in kernels}


def _with_bits(settings: Settings, bits: int) -> Settings:
    return replace(settings, clusters=1 << bits)


def _description(content: bytes, examples: Sequence[Example], settings: Settings) -> dict[str, object]:
    return {
        "file": hashlib.sha256(content).hexdigest(),
        "calibration": {"examples": len(examples), "sha256": _digest(examples)},
        "settings": {"scales": settings.scales, "compensated": settings.compensated},
    }


def _digest(examples: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        for name, values in sorted(example.items()) if isinstance(example, dict) else [("", example)]:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
