"""Instructions of one inference on 64-bit Arm, packed files beside XNNPACK with the same values, in an emulator.

`make arm-count` builds what this needs and runs it. One thread; the second inference counts. Counts are the same from
run to run, and say nothing of how long an instruction takes: they are no substitute for a phone's milliseconds.

XNNPACK is TensorFlow Lite 2.18's for Linux, which has no kernels for matrix products (i8mm): on a processor that has
them, ours take them and it does not.
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

_LIBRARY = flags.DEFINE_string("library", "out/native-arm/libtfcompress_runtime.so", "The delegate for Arm Linux.")
_TOOLS = flags.DEFINE_string("tools", "out/arm-count", "The folder that benchmarks/arm/build.sh made.")
_FILES = flags.DEFINE_string("files", "out/runtime/deit_tiny_short", "Beginning of the four files' paths.")
_SYSTEM = flags.DEFINE_string("system", "/usr/aarch64-linux-gnu", "The C library for Arm Linux.")

_CPUS = {"max": "matrix products (i8mm)", "cortex-a76": "dot products", "cortex-a53": "neither"}
_PAIRS = {"float32": "float32_packed", "int8": "int8_packed"}
_TOLERANCE = {"float32": 1e-5, "int8": 0.03}
"""Of outputs, which are probabilities."""

_MOST = {
    ("float32", "max"): 0.95,
    ("float32", "cortex-a76"): 0.95,
    ("float32", "cortex-a53"): 0.95,
    ("int8", "max"): 0.54,
    ("int8", "cortex-a76"): 0.67,
    ("int8", "cortex-a53"): 0.91,
}
"""Packed over stock; more is a failure."""

_PARTS = ("rest", "FULLY_CONNECTED", "looking up weights", "GELU", "quantizing rows", "attention", "LayerNorm")
_ENTRIES = {"Dense": 1, "DenseInt8": 1, "QuantizeRows": 4, "Attention": 5, "Int8Attention": 5, "LayerNorm": 6}
"""Kernels, each the beginning of a part."""
_OF_DENSE = {"DecodeFloats": 2, "DecodeInt8": 2, "StoreFromStack": 3}
"""Functions of dense layers that are a part of their own."""


class _Symbol(NamedTuple):
    offset: int
    name: str


def main(arguments: Sequence[str]) -> None:
    """Counts, checks that outputs agree and prints the tables; ends with 1 if a count is above its bound."""
    if arguments[1:]:
        raise app.UsageError(f"unknown {arguments[1:]}")
    symbols = _symbols(Path(_LIBRARY.value))
    counts = {(name, cpu): _count(name, cpu, symbols) for cpu in _CPUS for pair in _PAIRS.items() for name in pair}
    _print(counts)
    wrong = [
        f"{stock} on {cpu}: {ratio:.3f} of XNNPACK's instructions; the most is {most}"
        for (stock, cpu), most in _MOST.items()
        if (ratio := _ratio(counts, stock, cpu)) > most
    ]
    for cpu in _CPUS:
        for stock, packed in _PAIRS.items():
            apart = float(np.abs(_output(packed, cpu) - _output(stock, cpu)).max())
            if not apart <= _TOLERANCE[stock]:
                wrong.append(f"{packed} on {cpu}: {apart} from {stock}; the most is {_TOLERANCE[stock]}")
    if _count("int8_packed", "max", symbols) != counts["int8_packed", "max"]:
        wrong.append("int8_packed on max: another count the second time")
    if wrong:
        sys.exit("\n".join(wrong))


def _symbols(library: Path) -> list[_Symbol]:
    """Returns the functions of our library by their place in it, without namespaces and arguments."""
    lines = subprocess.run(["nm", "--demangle", library], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^([0-9a-f]+) [tT] (?:void )?(?:tfcompress::)?(?:\(anonymous namespace\)::)?(\w+)", lines, re.M)
    return sorted(_Symbol(int(offset, 16), name) for offset, name in found)


def _count(name: str, cpu: str, symbols: list[_Symbol]) -> Counter[str]:
    """Returns the instructions of one inference by part."""
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
        place = int(part)
        at = bisect_right(offsets, int(address, 16) - int(base[1], 16)) - 1 if base else -1
        if at < 0 or at == len(offsets) - 1:  # TensorFlow Lite, or the C library
            place = 0
        elif place == 1:
            place = _OF_DENSE.get(symbols[at].name, place)
        parts[_PARTS[place]] += int(instructions)
    return parts


def _output_path(name: str, cpu: str) -> Path:
    return Path(_TOOLS.value) / f"{name}-{cpu}.out"


def _output(name: str, cpu: str) -> npt.NDArray[np.float32]:
    return np.fromfile(_output_path(name, cpu), np.float32)


def _ratio(counts: dict[tuple[str, str], Counter[str]], stock: str, cpu: str) -> float:
    return counts[_PAIRS[stock], cpu].total() / counts[stock, cpu].total()


def _print(counts: dict[tuple[str, str], Counter[str]]) -> None:
    table = Table("processor", "file", "XNNPACK", "packed", "ratio", *_PARTS[1:], _PARTS[0])
    table.title = "Million instructions of one inference; parts are the packed file's"
    for cpu, has in _CPUS.items():
        for stock, packed in _PAIRS.items():
            parts = counts[packed, cpu]
            both = (f"{counts[name, cpu].total() / 1e6:.2f}" for name in (stock, packed))
            each = (f"{parts[part] / 1e6:.2f}" for part in (*_PARTS[1:], _PARTS[0]))
            table.add_row(f"{cpu}: {has}", stock, *both, f"{_ratio(counts, stock, cpu):.3f}", *each)
    Console(width=160).print(table)


if __name__ == "__main__":
    app.run(main)
