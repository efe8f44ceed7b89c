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
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags

from benchmarks.reads import CACHE, bytes_read
from benchmarks.rows import Result, circumstances, heading, put_table
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

_BEGIN, _END = "<!-- begin of the table of energy -->", "<!-- end of the table of energy -->"
_COMMAND = "python -m benchmarks.energy --files=OUTPUT/deit_tiny"


@dataclass(frozen=True)
class Energies:
    """Picojoules of one thing each: a bit of memory, and a multiply-add in float32 and in int8 with an int32 sum."""

    bit: float
    float32: float
    int8: float


# A phone's LPDDR lies between stacked memory and DDR4. O'Connor et al., MICRO 2017, section 2: 3.92 pJ per bit of HBM2.
# Jouppi et al., ISCA 2021, table 2: 1,300 pJ per 64 bits of DDR4. The multiply-adds are Jouppi's of 7 nm, and those of
# 45 nm by Horowitz, ISSCC 2014, figure 1.1.9.
SOURCES = {
    "DDR4, 7 nm": Energies(1300 / 64, 1.31 + 0.38, 0.07 + 0.03),
    "DDR4, 45 nm": Energies(1300 / 64, 3.7 + 0.9, 0.2 + 0.1),
    "HBM2, 7 nm": Energies(3.92, 1.31 + 0.38, 0.07 + 0.03),
    "HBM2, 45 nm": Energies(3.92, 3.7 + 0.9, 0.2 + 0.1),
}
"""By memory and process; the first and the last differ most in what memory counts for."""


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
    print(table)
    if _TABLE.value:
        put_table(Path(_TABLE.value), _BEGIN, _END, table)


def _count_missing(folder: Path, save: Path) -> None:
    rows = read_json(save)["rows"] if save.is_file() else {}
    for name, row in ROWS.items():
        if name in rows:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "model.tflite"
            file.write_bytes(row.file(folder))
            rows[name] = {"date": environment.now(), "read": bytes_read(file)}
        rows[name] |= multiply_adds((folder / "float32.tflite").read_bytes())
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
    columns = ("file", "MB read", "of memory", *(f"energy: {source}" for source in SOURCES), "modelled saving")
    lines = [columns, ["--"] * len(columns)]
    base: dict[str, float] = {}
    for name, row in ROWS.items():
        if name not in found["rows"]:
            continue
        figures = found["rows"][name]
        energies = {source: _millijoules(row, figures, each) for source, each in SOURCES.items()}
        base = base if "clusters" in row.title else energies
        shares = [figures["read"] * 8e-9 * each.bit / energies[source] for source, each in SOURCES.items()]
        savings = [1 - energies[source] / base[source] for source in SOURCES]
        lines.append(
            [
                row.title,
                f"{figures['read'] / 1e6:.1f}",
                _range(shares),
                *(f"{value:.2f} mJ" for value in energies.values()),
                _range(savings) if base is not energies else "–",
            ]
        )
    return f"{heading(found, ('ai-edge-litert',))}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _millijoules(row: Row, figures: Mapping[str, float], energies: Energies) -> float:
    """Returns the modelled energy of one inference."""
    each = asdict(energies)
    computing: float = figures["layers"] * each[row.layers] + figures["attention"] * each[row.attention]
    return (figures["read"] * 8 * energies.bit + computing) * 1e-9


def _range(values: Iterable[float]) -> str:
    values = list(values)
    return f"{min(values):.0%} to {max(values):.0%}"


if __name__ == "__main__":
    app.run(main)
