"""Which TFLite runtime loads a file.

TensorFlow's `tensorflow/compiler/mlir/lite/tools/versioning`, at commit 03f49db, has two lists of it. `runtimes.csv` is
its `runtime_version.cc`, the runtime of each version of an operator. Which version quantized weights need is from its
`op_version.cc`; it is asked because ai-edge-quantizer leaves the versions of the float model in the file: with these,
TFLite 2.14 loads int8 weights that have a scale a channel, and gives zeros.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

import numpy as np

from tfcompress.tflite.graph import Content, Model, Operator, OperatorCode
from tfcompress.tflite.reading import read
from tfcompress.tflite.tensor import ABSENT, Buffer

_WEIGHTS = {
    "CONV_2D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "DEQUANTIZE": 0,
    "EMBEDDING_LOOKUP": 1,
    "FULLY_CONNECTED": 1,
    "GATHER": 0,
}
"""Which input of an operator holds its weights."""

_NEEDED = {
    ("CONV_2D", "float32", "int8"): (2, 5),
    ("CONV_2D", "int8", "int4"): (7, 7),
    ("DEPTHWISE_CONV_2D", "float32", "int8"): (4, 6),
    ("DEPTHWISE_CONV_2D", "int8", "int4"): (7, 7),
    ("DEQUANTIZE", "int8", "int8"): (2, 5),
    ("DEQUANTIZE", "int4", "int4"): (6, 6),
    ("DEQUANTIZE", "int2", "int2"): (7, 7),
    ("DEQUANTIZE", "uint4", "uint4"): (8, 8),
    ("EMBEDDING_LOOKUP", "int32", "int8"): (1, 4),
    ("EMBEDDING_LOOKUP", "int32", "int4"): (4, 4),
    ("EMBEDDING_LOOKUP", "int32", "int2"): (5, 5),
    ("FULLY_CONNECTED", "float32", "int8"): (3, 12),
    ("FULLY_CONNECTED", "int16", "int4"): (13, 13),
    ("FULLY_CONNECTED", "int8", "int4"): (10, 10),
    ("FULLY_CONNECTED", "float32", "int2"): (14, 14),
    ("FULLY_CONNECTED", "int8", "int2"): (14, 14),
    ("GATHER", "int8", "int8"): (2, 2),
    ("GATHER", "int4", "int4"): (7, 7),
}
"""The version that an operator needs by the types of its first input and its weights, for one scale and for several."""

_ENTRY = "min_runtime_version"
"""The metadata entry that says which runtime a file needs."""

Custom = Mapping[str, str]
"""The oldest TFLite version that runs a custom operator, by its name; nothing is known of those that are missing."""

NONE: Custom = MappingProxyType({})


@dataclass(frozen=True)
class Requirement:
    """An operator in one version that a runtime must have to load a file.

    Attributes:
        operator: the schema's name, such as `FULLY_CONNECTED`, or a custom operator's own.
        version: of the operator: as the file states, or what its weights need if that is more.
        runtime: the first TFLite version that has it, such as `2.17.0`; empty where TensorFlow does not say: others'
            custom operators, versions that it does not list, weights of four bits beside float inputs, scales a block.
    """

    operator: str
    version: int
    runtime: str


def requirements(content: Content | Model, custom: Custom = NONE) -> list[Requirement]:
    """Returns what a runtime must have to run the file, an operator and version each, the newest runtime first.

    Operators count even where no node uses them: a runtime looks up all that a file lists.

    Args:
        content: of the file, or what was read of it.
        custom: the custom operators that are known.

    Raises:
        UserError: it is not a valid `.tflite`.
    """
    file = content if isinstance(content, Model) else read(content)
    used = {(operator.code, requirement(operator, custom)) for operator in file.operators()}
    unused = set(file.codes) - {code for code, _ in used}
    found = {needed for _, needed in used} | {stated(code, custom) for code in unused}
    return sorted(found, key=lambda one: (tuple(-part for part in _parts(one.runtime)), one.operator, one.version))


def minimum_runtime(content: Content | Model, custom: Custom = NONE) -> str:
    """Returns the oldest TFLite version that runs the file: the newest that its metadata or an operator asks for.

    Args:
        content: of the file, or what was read of it.
        custom: the custom operators that are known.

    Returns:
        For example `2.17.0`; empty if nothing says so. Operators whose runtime is not known do not count.

    Raises:
        UserError: it is not a valid `.tflite`.
    """
    file = content if isinstance(content, Model) else read(content)
    named = [one.runtime for one in requirements(file, custom)]
    for entry in file.metadata:
        text = entry.data.tobytes().rstrip(b"\0")
        if entry.name == _ENTRY and re.fullmatch(rb"\d{1,4}(\.\d{1,4}){1,3}", text):
            named.append(text.decode())
    return max(named, key=_parts, default="")


def state_runtime(model: Model, at_least_as_before: bool, custom: Custom = NONE) -> None:
    """Writes into a model's metadata, where it has an entry for it, which runtime its kinds of operators need.

    Args:
        model: is changed.
        at_least_as_before: leave a newer runtime that the entry names; else it is replaced.
        custom: the custom operators that are known.
    """
    needed = max((stated(code, custom).runtime for code in model.codes), key=_parts, default="")
    for entry in model.metadata:
        if entry.name != _ENTRY:
            continue
        before = entry.data.tobytes().rstrip(b"\0").decode("ascii", "replace")
        runtime = max(before, needed, key=_parts) if at_least_as_before else needed
        if not runtime:
            continue
        if entry.buffer.data is None:  # Tensors without data share such a buffer.
            entry.buffer = Buffer()
        entry.buffer.data = np.frombuffer(runtime.encode().ljust(16, b"\0"), np.uint8)


def newer(a: str, b: str) -> bool:
    """Tells whether version `a` is newer than `b`; `2.16` is `2.16.0`, and an empty one is older than all."""
    return _parts(a) > _parts(b)


def stated(code: OperatorCode, custom: Custom = NONE) -> Requirement:
    """Returns what the file states of a kind of operator."""
    runtime = custom.get(code.name, "") if code.custom else _table().get((code.name, code.version), "")
    return Requirement(code.name, code.version, runtime)


def requirement(operator: Operator, custom: Custom = NONE) -> Requirement:
    """Returns what one operator needs."""
    as_stated = stated(operator.code, custom)
    place = _WEIGHTS.get(operator.kind, len(operator.inputs))
    if operator.code.custom or place >= len(operator.inputs):
        return as_stated
    first, weights = operator.inputs[0], operator.inputs[place]
    if first is ABSENT or weights is ABSENT:
        return as_stated
    needed = _NEEDED.get((operator.kind, first.dtype, weights.dtype))
    if weights.scale_tensors or (weights.bits in (2, 4) and needed is None):
        return Requirement(operator.kind, operator.code.version, "")
    version = needed[len(weights.scales) > 1] if needed else 0
    if version <= operator.code.version:
        return as_stated
    return stated(OperatorCode(operator.kind, version, custom=False), custom)


@cache
def _table() -> dict[tuple[str, int], str]:
    with resources.files(__package__).joinpath("runtimes.csv").open(encoding="ascii") as lines:
        return {(row["operator"], int(row["version"])): row["runtime"] for row in csv.DictReader(lines)}


def _parts(version: str) -> tuple[int, int, int]:
    """Returns the first three numbers of a version, which may lack some."""
    major, minor, patch, *_ = (*(int(part) for part in re.findall(r"\d+", version)), 0, 0, 0)
    return major, minor, patch
