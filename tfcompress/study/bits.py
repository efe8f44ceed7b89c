"""Bits for each layer under a budget: the fewest bytes with which a file clustered without training loses little."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter
from scipy.optimize import Bounds, LinearConstraint, milp

from tfcompress.errors import UserError
from tfcompress.files import read_json, write_json
from tfcompress.measure.interpreter import Example
from tfcompress.post_training.damage import Damage, damages
from tfcompress.post_training.floats import check_float, check_straight, unpack_weights
from tfcompress.post_training.kernels import SMALLEST_KERNEL, find_kernels
from tfcompress.post_training.method import Settings
from tfcompress.progress import bar
from tfcompress.runs.workdir import claim
from tfcompress.study.judging import Budget, Judge, Selection, Whole, digest, with_bits
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

_STEPS = (2**0.5, 2**0.25)
"""By what the bound is raised once more, as far as the budget holds."""


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
class Bits:
    """Which layer got how many bits.

    Attributes:
        budget: in words, such as `a KL of 0.01`.
        judged: on which examples, such as `64 examples of the calibration data`.
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
        return {layer.name: with_bits(settings or Settings(), layer.bits) for layer in self.layers}

    def save(self, path: Path) -> None:
        """Writes the study as JSON."""
        write_json(path, TypeAdapter(Bits).dump_python(self, mode="json"))

    @classmethod
    def load(cls, path: Path) -> Bits:
        """Reads a study that `save` wrote."""
        return TypeAdapter(cls).validate_python(read_json(path))


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
    doubled as long as the whole file, clustered with these widths, keeps the budget, or else halved until it does, and
    at the end raised twice by less.

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
    content, weights = opened(content)
    settings = settings or Settings()
    judge = Judge(content, examples, selection, settings, workdir / "wholes")
    claim(workdir, "study", _description(content, examples, settings))
    finest = dict.fromkeys(weights, WIDTHS[-1])
    before = judge.before

    def holds(choice: dict[str, int]) -> bool:
        return budget.holds(before, judge.whole(choice))

    found: Damages = {}
    chosen = finest
    if budget.holds(before, judge.whole(finest, calibrated=False)) or holds(finest):
        found = layer_damages(content, examples, list(weights), settings, Kept(workdir / "damages", Damage))
        chosen = _search(found, finest, budget, holds)
    if not holds(chosen):
        raise UserError(
            f"{budget} cannot be kept: with {WIDTHS[-1]} bits for every layer, "
            f"{budget.lost(before, judge.whole(chosen))}; give a larger budget"
        )
    layers = tuple(LayerBits(name, weights[name], found[name], bits) for name, bits in chosen.items())
    return Bits(str(budget), judge.on, before, judge.whole(chosen), layers)


Damages = Mapping[str, dict[int, Damage]]
"""What each layer costs that is clustered alone, by bits."""


def layer_damages(
    content: bytes,
    examples: Sequence[Example],
    names: Sequence[str],
    settings: Settings,
    kept: Kept[Damage],
    widths: Sequence[int] = WIDTHS,
) -> Damages:
    """Returns the damage of each layer at each width, and measures only what is not kept.

    Args:
        content: what `opened` returns.
        examples: calibration data without labels, features without a batch axis.
        names: of the kernels.
        settings: how to cluster; `clusters` is not used.
        kept: the outcomes of earlier calls.
        widths: the bits of an index.
    """
    keys = {(name, bits): f"{place:03}-{bits}" for place, name in enumerate(names) for bits in widths}
    wanted = {name: [bits for bits in widths if kept.get(keys[name, bits]) is None] for name in names}
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
    found: Damages, finest: dict[str, int], budget: Budget, holds: Callable[[dict[str, int]], bool]
) -> dict[str, int]:
    """Returns the smallest choice that holds, of those that the program finds for the bounds that are tried.

    If none holds, that is the finest.
    """
    least = sum(min(damage.bytes for damage in of.values()) for of in found.values())

    def chosen(bound: float) -> dict[str, int]:
        return (fewest_bytes(found, bound) if bound > _SMALLEST_BOUND else None) or finest

    bound = _first_bound(found, budget)
    choice = chosen(bound)
    if holds(choice):
        while _bytes(found, choice) > least and holds(coarser := chosen(2 * bound)):
            choice, bound = coarser, 2 * bound
    else:
        while choice != finest and not holds(choice):
            bound /= 2
            choice = chosen(bound)
    for step in _STEPS:
        coarser = chosen(bound * step)
        if _bytes(found, coarser) < _bytes(found, choice) and holds(coarser):
            choice, bound = coarser, bound * step
    return choice


def _first_bound(found: Damages, budget: Budget) -> float:
    """Returns a power of two, so that similar budgets try the same bounds."""
    bound = budget.divergence or sum(of[_START].divergence for of in found.values())
    return float(2.0 ** math.floor(math.log2(min(max(bound, _SMALLEST_BOUND), 1e6))))


def fewest_bytes(found: Damages, bound: float) -> dict[str, int] | None:
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


def _bytes(found: Damages, choice: Mapping[str, int]) -> int:
    return sum(found[name][bits].bytes for name, bits in choice.items())


def opened(content: bytes) -> tuple[bytes, dict[str, int]]:
    """Returns a file with float32 weights, and the numbers of weights of its layers, which may be none.

    Raises:
        UserError: the file cannot be clustered, see `tfcompress.post_training.clustering.cluster`.
    """
    model = read(content)
    with reporting_damage("the file"):
        check_float(model)
        check_straight(model)
        unpack_weights(model)
        kernels = [kernel for kernel in find_kernels(model) if kernel.tensor.elements >= SMALLEST_KERNEL]
        return write(model), {kernel.name: kernel.tensor.elements for kernel in kernels}


def _description(content: bytes, examples: Sequence[Example], settings: Settings) -> dict[str, object]:
    return {
        "file": hashlib.sha256(content).hexdigest(),
        "calibration": {"examples": len(examples), "sha256": digest(examples)},
        "settings": {"scales": settings.scales, "compensated": settings.compensated},
    }
