"""Counts the instructions of one inference on emulated 64-bit Arm, for packed files and for XNNPACK.

Both have the same weights. `make arm-count` builds what this needs and runs it. It uses one thread and counts the
second inference. The counts are deterministic, but they do not tell how long an instruction takes, so they cannot
replace measurements on a phone.

XNNPACK is that of TensorFlow Lite 2.18 for Linux, whose compute kernels do not use the matrix product instructions
(i8mm). Ours use them on processors that have them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from absl import app, flags
from rich.console import Console
from rich.table import Table

_LIBRARY = flags.DEFINE_string(
    "library", "out/native-arm/libtfcompress_runtime.so", "Path of the delegate for Arm Linux."
)
_TOOLS = flags.DEFINE_string("tools", "out/arm-count", "Folder that benchmarks/arm/build.sh writes to.")
_FILES = flags.DEFINE_string("files", "out/runtime/deit_tiny_short", "Common prefix of the paths of the four files.")
_SYSTEM = flags.DEFINE_string("system", "/usr/aarch64-linux-gnu", "Folder of the C library for Arm Linux.")

_CPUS = {"max": "matrix products (i8mm)", "cortex-a76": "dot products", "cortex-a53": "neither"}
_PAIRS = {"float32": "float32_packed", "int8": "int8_packed"}
_TOLERANCE = {"float32": 1e-5, "int8": 0.03}
"""The largest accepted difference between outputs, which are probabilities."""

_MAX_RATIO = {
    ("float32", "max"): 0.95,
    ("float32", "cortex-a76"): 0.95,
    ("float32", "cortex-a53"): 0.95,
    ("int8", "max"): 0.54,
    ("int8", "cortex-a76"): 0.67,
    ("int8", "cortex-a53"): 0.91,
}
"""The largest accepted ratio of the instructions of the packed file to those of the stock file."""

_PARTS = ("rest", "FULLY_CONNECTED", "looking up weights", "GELU", "quantizing rows", "attention", "LayerNorm")
_ENTRIES = {"Dense": 1, "DenseInt8": 1, "QuantizeRows": 4, "Attention": 5, "Int8Attention": 5, "LayerNorm": 6}
"""The entry points of the compute kernels, and the index of the part in `_PARTS` that each begins."""
_DENSE_PARTS = {"DecodeFloats": 2, "DecodeInt8": 2, "StoreFromStack": 3}
"""Functions that dense layers call and that are counted as separate parts."""


class _Symbol(NamedTuple):
    offset: int
    name: str


def main(arguments: Sequence[str]) -> None:
    """Counts instructions, compares outputs and prints the table; exits with 1 if a bound is exceeded."""
    if arguments[1:]:
        raise app.UsageError(f"unknown arguments {arguments[1:]}; only flags are accepted")
    symbols = _symbols(Path(_LIBRARY.value))
    counts = {(name, cpu): _count(name, cpu, symbols) for cpu in _CPUS for pair in _PAIRS.items() for name in pair}
    _print(counts)
    wrong = [
        f"{stock} on {cpu}: {ratio:.3f} of XNNPACK's instructions; at most {limit} is accepted"
        for (stock, cpu), limit in _MAX_RATIO.items()
        if (ratio := _ratio(counts, stock, cpu)) > limit
    ]
    for cpu in _CPUS:
        for stock, packed in _PAIRS.items():
            difference = float(np.abs(_output(packed, cpu) - _output(stock, cpu)).max())
            if not difference <= _TOLERANCE[stock]:
                wrong.append(
                    f"{packed} on {cpu}: the outputs differ by {difference} from {stock}; at most {_TOLERANCE[stock]} "
                    "is accepted"
                )
    if _count("int8_packed", "max", symbols) != counts["int8_packed", "max"]:
        wrong.append("int8_packed on max: a second run gave another count")
    if wrong:
        sys.exit("\n".join(wrong))


def _symbols(library: Path) -> list[_Symbol]:
    """Returns the functions of our library, without namespaces and arguments, sorted by offset."""
    lines = subprocess.run(["nm", "--demangle", library], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^([0-9a-f]+) [tT] (?:void )?(?:tfcompress::)?(?:\(anonymous namespace\)::)?(\w+)", lines, re.M)
    return sorted(_Symbol(int(offset, 16), name) for offset, name in found)


def _count(name: str, cpu: str, symbols: list[_Symbol]) -> Counter[str]:
    """Returns the number of instructions of one inference by part."""
    tools = Path(_TOOLS.value)
    command = ["qemu-aarch64", "-cpu", cpu, "-L", _SYSTEM.value, "-plugin", str(tools / "count.so"), str(tools / "run")]
    command += [f"{_FILES.value}-{name}.tflite", str(_output_path(name, cpu))]
    if name in _PAIRS.values():
        command += [_LIBRARY.value]
        command += [f"{s.offset:x}:{_ENTRIES[s.name]}" for s in symbols if s.name in _ENTRIES]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{child.stderr}")
    base = re.search(rf"^library (\w+) .*{Path(_LIBRARY.value).name}$", child.stdout, re.MULTILINE)
    offsets = [symbol.offset for symbol in symbols]
    parts: Counter[str] = Counter()
    for address, part, instructions in re.findall(r"^count (\w+) (\d+) (\d+)$", child.stdout, re.MULTILINE):
        index = int(part)
        at = bisect_right(offsets, int(address, 16) - int(base[1], 16)) - 1 if base else -1
        if at < 0 or at == len(offsets) - 1:  # TensorFlow Lite, or the C library
            index = 0
        elif index == 1:
            index = _DENSE_PARTS.get(symbols[at].name, index)
        parts[_PARTS[index]] += int(instructions)
    return parts


def _output_path(name: str, cpu: str) -> Path:
    return Path(_TOOLS.value) / f"{name}-{cpu}.out"


def _output(name: str, cpu: str) -> npt.NDArray[np.float32]:
    return np.fromfile(_output_path(name, cpu), np.float32)


def _ratio(counts: dict[tuple[str, str], Counter[str]], stock: str, cpu: str) -> float:
    return counts[_PAIRS[stock], cpu].total() / counts[stock, cpu].total()


def _print(counts: dict[tuple[str, str], Counter[str]]) -> None:
    table = Table("processor", "file", "XNNPACK", "packed", "ratio", *_PARTS[1:], _PARTS[0])
    table.title = "Million instructions per inference; the parts are those of the packed file"
    for cpu, instructions in _CPUS.items():
        for stock, packed in _PAIRS.items():
            parts = counts[packed, cpu]
            both = (f"{counts[name, cpu].total() / 1e6:.2f}" for name in (stock, packed))
            each = (f"{parts[part] / 1e6:.2f}" for part in (*_PARTS[1:], _PARTS[0]))
            table.add_row(f"{cpu}: {instructions}", stock, *both, f"{_ratio(counts, stock, cpu):.3f}", *each)
    Console(width=160).print(table)


if __name__ == "__main__":
    app.run(main)
