"""Clusters a model without training within a budget, with the bits that each layer needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.commands.cluster import ClusteredFile, cluster_file
from tfcompress.commands.examples import examples_for
from tfcompress.errors import UserError
from tfcompress.files import atomic_write, check_outputs, has_suffix
from tfcompress.measure.interpreter import Example
from tfcompress.post_training.method import Settings
from tfcompress.report import plots
from tfcompress.study.bits import choose_bits
from tfcompress.study.judging import Budget, Selection
from tfcompress.study.table import print_bits

_POINTS = "pt"


def cluster_within(
    source: Any,
    output: Path,
    budget: str | None = None,
    budget_kl: float | None = None,
    selection: str | None = None,
    workdir: Path | None = None,
    calibration: str | Sequence[Example] | None = None,
    **settings: Any,
) -> ClusteredFile:
    """Clusters a model with the bits that `choose_bits` finds, and prints which layer got how many.

    `bits.json` and `bits.svg` in the working folder show the same.

    Args:
        source: what `cluster_file` takes.
        output: the `.tflite` file to write.
        budget: points of the task's first figure on the selection, such as `0.3pt`; in the figure's own unit if it is
            no percentage, such as `0.05`.
        budget_kl: or a divergence in nats; see `choose_bits`.
        selection: labelled data, `NAME` or `NAME:PATH`, of which the validation split counts, or all of it if the data
            set is for evaluation only.
        workdir: keeps what was measured; by default a folder beside `output`.
        calibration: unlabelled examples, as `cluster_file` takes them.
        settings: the other arguments of `cluster_file`, without `clusters` and `bits`.

    Raises:
        UserError: the arguments do not fit together; see `cluster_file` and `choose_bits`.
    """
    points = None if budget is None else parse_points(budget)
    asked = Budget(budget_kl, points)
    if settings.pop("clusters", None) is not None or settings.pop("bits", None) is not None:
        raise UserError("a budget decides the bits of each layer; leave out the number of clusters and of bits")
    if calibration is None:
        raise UserError("a budget needs calibration examples, a few hundred without labels; give --calibration")
    if points is not None and selection is None:
        raise UserError(
            "a budget in points is judged on labelled data; give --selection NAME[:PATH], or a budget in KL "
            "(--budget-kl), which needs no labels"
        )
    folder = workdir or output.with_name(f"{output.name}.bits")
    check_outputs([folder / "bits.json"])

    def choose(reference: Path, feed: Sequence[Example]) -> Mapping[str, Settings]:
        file = Path(source) if has_suffix(source, ".tflite") else reference
        judged = None if selection is None else _selection(selection, file)
        if judged is not None and budget is not None and not judged.metric.percent and _POINTS in budget:
            raise UserError(
                f"{judged.metric.name} on {judged.name} is no percentage, so it has no points; give the budget in its "
                f"own unit, such as {asked.points:g}"
            )
        study = choose_bits(reference.read_bytes(), feed, folder, asked, judged)
        study.save(folder / "bits.json")
        with atomic_write(folder / "bits.svg") as beside:
            rows = [(layer.name, layer.bits) for layer in study.layers]
            beside.write_text(plots.standalone(plots.widths("bits", rows)), encoding="utf-8")
        print_bits(study)
        return study.settings()

    return cluster_file(source, output, calibration=calibration, choose=choose, **settings)


def parse_points(budget: str) -> float:
    """Returns the number in a budget such as `0.3pt`, or in another unit such as `0.05`."""
    try:
        return float(budget.strip().removesuffix(_POINTS))
    except ValueError:
        raise UserError(f"budget {budget!r} is not a number of points; give one such as 0.3pt") from None


def _selection(data: str, file: Path) -> Selection:
    """Returns the labelled examples of a data set as a file takes them."""
    fed = examples_for([file], data, split="validation")
    if fed.labels is None:
        raise UserError(f"{fed.not_judged}; select with the model's own data")
    found = [one if isinstance(one, dict) else np.asarray(one) for one in fed.feeds[file]]
    return Selection(data, found, fed.labels, fed.metrics[0], fed.orders.get(file))
