"""The rows of `ablations.py`: what each changes, and the row with the defaults that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.training_free_tasks import CALIBRATION, Features, Task
from tfcompress.packed.packer import pack
from tfcompress.post_training.clustering import cluster
from tfcompress.post_training.method import Settings

MOST_EXAMPLES = 1000
"""Of calibration."""


@dataclass(frozen=True)
class Row:
    """What a row changes.

    Attributes:
        ablation: what is changed, as the table says it.
        value: what to.
        reference: the row with the defaults; empty if it is one.
    """

    ablation: str
    value: str
    reference: str = ""


@dataclass(frozen=True)
class FreeRow(Row):
    """A row without training.

    Attributes:
        settings: of clustering; None: the float32 file.
        examples: the number for calibration; 0: none.
    """

    settings: Settings | None = None
    examples: int = CALIBRATION


_DEFAULTS = f"compensated, {CALIBRATION} examples, scales where they pay, damping {Settings().damping:g}"


def _free(clusters: int) -> dict[str, FreeRow]:
    default, about, usual = f"{clusters}-default", f"{clusters} clusters", Settings(clusters)
    without = Settings(clusters, compensated=False)
    return {
        default: FreeRow(f"{about}: defaults", _DEFAULTS, "", usual),
        f"{clusters}-k-means": FreeRow(f"{about}: initialisation", "k-means", default, without, 0),
        f"{clusters}-weighted": FreeRow(f"{about}: initialisation", "k-means weighted by inputs", default, without),
        **{
            f"{clusters}-examples-{n}": FreeRow(f"{about}: calibration examples", f"{n:,}", default, usual, n)
            for n in (32, 64, 128, 512, 1000)
        },
        **{
            f"{clusters}-scales-{name}": FreeRow(
                f"{about}: a scale per output", told, default, Settings(clusters, scales=scales)
            )
            for name, told, scales in (("never", "never (per tensor)", False), ("always", "always", True))
        },
        **{
            f"{clusters}-damping-{damping}": FreeRow(
                f"{about}: damping", f"{damping:g}", default, Settings(clusters, damping=damping)
            )
            for damping in (0.001, 0.1, 1.0)
        },
    }


FREE: dict[str, FreeRow] = {"deit-tiny": FreeRow("float32", ""), **_free(16), **_free(64)}
"""By name."""

_CHAIN = "prune-50+cluster-64+quantize-2"
TRAINED: dict[str, Row] = {
    "fashion-mnist": Row("float32", ""),
    **{
        name: row
        for n in (64, 16)
        for name, row in {
            f"cluster-{n}": Row(f"{n} clusters: defaults", "k-means++, not pruned"),
            **{
                f"cluster-{n}-{start}": Row(f"{n} clusters: initialisation", start, f"cluster-{n}")
                for start in ("linear", "density", "compensated")
            },
        }.items()
    },
    **{
        f"prune-{percent}+cluster-64": Row("64 clusters: sparsity", f"{percent} %", "cluster-64")
        for percent in (30, 50, 70)
    },
    _CHAIN: Row("order", "prune, cluster, quantize (default)"),
    "cluster-64+prune-50+quantize-2": Row("order", "cluster, prune, quantize", _CHAIN),
    "cluster-64+quantize-2": Row("steps of CQAT", "200 (default: 2 epochs)"),
    **{
        f"cluster-64+quantize-{epochs}": Row("steps of CQAT", f"{epochs}00", "cluster-64+quantize-2")
        for epochs in (1, 4, 8)
    },
    "whole-distil": Row("whole", "4 epochs of distillation"),
    **{
        f"{stage}{end}": Row(about, told)
        for stage, about in (("halve", "halved"), ("remove", "half of heads and neurons removed"))
        for end, told in (("", "not trained"), ("-distil", "4 epochs of distillation"))
    },
}
"""By name, which is that of the stages, see `ablations_trained`."""


@dataclass(frozen=True)
class Free:
    """Makes the files of rows without training: packed ones of DeiT-Tiny.

    Attributes:
        task: the model and its pictures.
        seeds: one, on which nothing depends: clustering without training draws nothing at random.
    """

    task: Task
    seeds: Sequence[int] = (0,)

    base = next(iter(FREE))
    """The row of the float32 file."""

    @property
    def examples(self) -> Sequence[Features]:
        """The pictures that are measured on."""
        return self.task.examples

    @property
    def labels(self) -> npt.NDArray[np.integer]:
        """Their classes `(examples,)`."""
        return self.task.targets

    def content(self, name: str, _: int) -> bytes:
        """Makes the packed file of a row, or the float32 file."""
        row, float32 = FREE[name], self.task.float32.read_bytes()
        if row.settings is None:
            return float32
        found = cluster(float32, row.settings, self.task.calibration[: row.examples] or None)
        return pack(found.content)
