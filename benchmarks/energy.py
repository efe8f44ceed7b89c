"""Models the energy of an inference of DeiT-Tiny: what is read and multiplied, times published energies.

No energy is measured. The files come from `benchmarks.vit_clusters`, whose folder is named. What is read past a
simulated cache needs valgrind and minutes per file. The counts are kept in one JSON file; a row that has them is not
counted again.

python -m benchmarks.energy --files=out/vit_clusters/deit_tiny --save=benchmarks/results/energy.json \
  --table=docs/results.md
python -m benchmarks.energy --render --save=benchmarks/results/energy.json --table=docs/results.md
python -m benchmarks.energy --quick    # counts what a random model multiplies, and simulates no cache
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags

from benchmarks.reads import CACHE, bytes_read
from benchmarks.rows import Result, circumstances, heading, markdown, show
from benchmarks.training_free_tasks import VIT, prepare_quick
from tfcompress.export.quantizer import quantize
from tfcompress.files import read_json, write_json
from tfcompress.measure import environment
from tfcompress.tflite.reading import read

_FILES = flags.DEFINE_string("files", None, "The folder in which vit_clusters.py keeps the files of its rows.")
_SAVE = flags.DEFINE_string("save", None, "The JSON file of the counts, which keeps the rows that it has.")
_TABLE = flags.DEFINE_string("table", None, "Put the table between the markers of this Markdown file.")
_RENDER = flags.DEFINE_boolean("render", False, "Only put the table of --save into the page --table.")
_QUICK = flags.DEFINE_boolean("quick", False, "Count what a random model multiplies, to see that all works.")

_NAME = "the table of energy"
"""Of the table between its markers."""
_COMMAND = "python -m benchmarks.energy --files=OUTPUT/deit_tiny"


# A phone's LPDDR lies between stacked memory and DDR4. O'Connor et al., MICRO 2017, section 2: 3.92 pJ per bit of HBM2.
# Jouppi et al., ISCA 2021, table 2: 1,300 pJ per 64 bits of DDR4.
_MEMORIES = {"DDR4": 1300 / 64, "HBM2": 3.92}
"""Picojoules of a bit that is read."""

# Those of 7 nm are Jouppi's, those of 45 nm by Horowitz, ISSCC 2014, figure 1.1.9.
_PROCESSES = {
    "7 nm": {"float32": 1.31 + 0.38, "int8": 0.07 + 0.03},
    "45 nm": {"float32": 3.7 + 0.9, "int8": 0.2 + 0.1},
}
"""Picojoules of a multiply-add, by what is multiplied; products of int8 are added up in int32."""

_SOURCES = [(memory, process) for memory in _MEMORIES for process in _PROCESSES]


@dataclass(frozen=True)
class Row:
    """A file, and what it computes its layers and its attention in."""

    title: str
    file: Callable[[Path], bytes]
    layers: str
    attention: str


def _of(name: str) -> Callable[[Path], bytes]:
    return lambda folder: (folder / f"{name}.tflite").read_bytes()


def _stock_int8(folder: Path) -> bytes:
    return quantize((folder / "float32.tflite").read_bytes(), "dynamic")


ROWS = {
    "float32": Row("float32", _of("float32"), "float32", "float32"),
    "64-float32": Row("64 clusters, float32", _of("compensated-64-float32"), "float32", "float32"),
    "16-float32": Row("16 clusters, float32", _of("compensated-16-float32"), "float32", "float32"),
    "int8": Row("stock int8", _stock_int8, "int8", "float32"),
    "64-int8": Row("64 clusters, int8", _of("compensated-64-int8"), "int8", "int8"),
    "16-int8": Row("16 clusters, int8", _of("compensated-16-int8"), "int8", "int8"),
}
"""By name. Each is compared with the stock file before it that computes in the same type."""


def main(arguments: Sequence[str]) -> None:
    """Counts the rows that have no counts yet, and prints the table of all."""
    if arguments[1:]:
        raise app.UsageError(f"unknown arguments {arguments[1:]}")
    if _QUICK.value:
        with tempfile.TemporaryDirectory() as scratch:
            prepare_quick(Path(scratch), [VIT])
            counted = multiply_adds((Path(scratch) / VIT / "float32.tflite").read_bytes())
        print(f"{sum(counted.values())} multiply-adds were counted")
        return
    save = Path(_SAVE.value)
    if not _RENDER.value:
        _count_missing(Path(_FILES.value), save)
    table = _table(read_json(save))
    show(table, _NAME, _TABLE.value)


def _count_missing(folder: Path, save: Path) -> None:
    rows = read_json(save)["rows"] if save.is_file() else {}
    counted = multiply_adds((folder / "float32.tflite").read_bytes())
    for name, row in ROWS.items():
        if name in rows:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "model.tflite"
            file.write_bytes(row.file(folder))
            rows[name] = {"date": environment.now(), "read": bytes_read(file), **counted}
        write_json(save, {**circumstances(rows.values(), _COMMAND, {}), "cache": CACHE, "rows": rows})


def multiply_adds(content: bytes) -> dict[str, int]:
    """Counts the multiply-adds of a float32 file with one example.

    Returns:
        Those of `layers`, which have weights, and those of `attention`, which multiplies activations.
    """
    found = {"layers": 0, "attention": 0}
    for operator in read(content).operators():
        if operator.kind in ("FULLY_CONNECTED", "CONV_2D"):
            weights = operator.inputs[1].shape
            found["layers"] += math.prod(operator.outputs[0].shape) * math.prod(weights[1:])
        elif operator.kind == "BATCH_MATMUL":
            first = operator.inputs[0].shape
            found["attention"] += (
                math.prod(operator.outputs[0].shape) * first[-2 if getattr(operator.options, "adjX", False) else -1]
            )
    return found


def _table(found: Mapping[str, Result]) -> str:
    """Returns the circumstances in a line, and a Markdown table."""
    names = (f"energy: {memory}, {process}" for memory, process in _SOURCES)
    lines, base = [], [0.0]
    for name, row in ROWS.items():
        if name not in found["rows"]:
            continue
        figures = found["rows"][name]
        reading = [figures["read"] * 8e-9 * _MEMORIES[memory] for memory, _ in _SOURCES]
        energies = [
            read + _computing(row, figures, process) for read, (_, process) in zip(reading, _SOURCES, strict=True)
        ]
        base = base if "clusters" in row.title else energies
        lines.append(
            [
                row.title,
                f"{figures['read'] / 1e6:.1f}",
                _range(read / energy for read, energy in zip(reading, energies, strict=True)),
                *(f"{energy:.2f} mJ" for energy in energies),
                _range(1 - energy / before for energy, before in zip(energies, base, strict=True))
                if base is not energies
                else "–",
            ]
        )
    table = markdown(("file", "MB read", "of memory", *names, "modelled saving"), lines)
    return f"{heading(found, ('ai-edge-litert',))}\n\n{table}"


def _computing(row: Row, figures: Mapping[str, float], process: str) -> float:
    """Returns the modelled millijoules of the multiply-adds of one inference."""
    each = _PROCESSES[process]
    return (figures["layers"] * each[row.layers] + figures["attention"] * each[row.attention]) * 1e-9


def _range(values: Iterable[float]) -> str:
    values = list(values)
    return f"{min(values):.0%} to {max(values):.0%}"


if __name__ == "__main__":
    app.run(main)
