"""Which TFLite runtime a file needs.

Both tables come from TensorFlow's `tensorflow/compiler/mlir/lite/tools/versioning` at commit 03f49db. `runtimes.csv` is
`runtime_version.cc`: the first runtime that has a version of an operator. `_VERSIONS_FOR_WEIGHTS` is from
`op_version.cc`: the version that quantized weights need. It matters because litert-quantizer keeps the versions of the
float model in the file, with which TFLite 2.14 loads int8 weights that have one scale per channel and computes zeros.
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

_WEIGHT_INPUT = {
    "CONV_2D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "DEQUANTIZE": 0,
    "EMBEDDING_LOOKUP": 1,
    "FULLY_CONNECTED": 1,
    "GATHER": 0,
}
"""Which input of an operator holds its weights."""

_VERSIONS_FOR_WEIGHTS = {
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
"""The versions that an operator needs, with one scale and with several, by the types of its first input and weights."""

_ENTRY = "min_runtime_version"
"""The metadata entry that states which runtime a file needs."""

CustomRuntimes = Mapping[str, str]
"""The oldest TFLite version that runs a custom operator, by its name. Nothing is known about missing ones."""

NO_CUSTOM_OPERATORS: CustomRuntimes = MappingProxyType({})


@dataclass(frozen=True)
class Requirement:
    """A version of an operator that a runtime must have to run a file.

    Attributes:
        operator: the name in the schema, such as `FULLY_CONNECTED`, or the name of a custom operator.
        version: as the file states, or the version that the operator's weights need if that is newer.
        runtime: the first TFLite version that has it, such as `2.17.0`. It is empty where TensorFlow does not say:
            unknown custom operators, unlisted versions, 4-bit weights with float inputs, and scales per block.
    """

    operator: str
    version: int
    runtime: str


def requirements(content: Content | Model, custom: CustomRuntimes = NO_CUSTOM_OPERATORS) -> list[Requirement]:
    """Returns what a runtime must have to run a file, sorted from the newest runtime to the oldest.

    Kinds of operators that the file lists but does not use count too, because a runtime looks them all up.

    Args:
        content: the bytes of the file, or the model that was read from it.
        custom: the known custom operators.

    Raises:
        UserError: the content is not a valid `.tflite` file.
    """
    file = content if isinstance(content, Model) else read(content)
    used = {(operator.code, requirement(operator, custom)) for operator in file.operators()}
    unused = set(file.codes) - {code for code, _ in used}
    found = {needed for _, needed in used} | {stated_requirement(code, custom) for code in unused}
    return sorted(found, key=lambda one: (tuple(-part for part in _numbers(one.runtime)), one.operator, one.version))


def minimum_runtime(content: Content | Model, custom: CustomRuntimes = NO_CUSTOM_OPERATORS) -> str:
    """Returns the oldest TFLite version that runs a file: the newest one that its metadata or an operator asks for.

    Args:
        content: the bytes of the file, or the model that was read from it.
        custom: the known custom operators.

    Returns:
        For example `2.17.0`; empty if nothing asks for a version. Operators whose runtime is unknown do not count.

    Raises:
        UserError: the content is not a valid `.tflite` file.
    """
    file = content if isinstance(content, Model) else read(content)
    named = [one.runtime for one in requirements(file, custom)]
    for entry in file.metadata:
        text = entry.data.tobytes().rstrip(b"\0")
        if entry.name == _ENTRY and re.fullmatch(rb"\d{1,4}(\.\d{1,4}){1,3}", text):
            named.append(text.decode())
    return max(named, key=_numbers, default="")


def state_runtime(model: Model, at_least_as_before: bool, custom: CustomRuntimes = NO_CUSTOM_OPERATORS) -> None:
    """Updates the metadata entry that states which runtime a model needs. A model without the entry does not get one.

    Args:
        model: the model to change.
        at_least_as_before: keep the entry if it names a newer runtime than the operators need.
        custom: the known custom operators.
    """
    needed = max((stated_requirement(code, custom).runtime for code in model.codes), key=_numbers, default="")
    for entry in model.metadata:
        if entry.name != _ENTRY:
            continue
        before = entry.data.tobytes().rstrip(b"\0").decode("ascii", "replace")
        runtime = max(before, needed, key=_numbers) if at_least_as_before else needed
        if not runtime:
            continue
        if entry.buffer.data is None:  # Computed tensors share such a buffer.
            entry.buffer = Buffer()
        entry.buffer.data = np.frombuffer(runtime.encode().ljust(16, b"\0"), np.uint8)


def newer(a: str, b: str) -> bool:
    """Returns whether version `a` is newer than `b`. `2.16` means `2.16.0`, and an empty version is the oldest."""
    return _numbers(a) > _numbers(b)


def stated_requirement(code: OperatorCode, custom: CustomRuntimes = NO_CUSTOM_OPERATORS) -> Requirement:
    """Returns what a kind of operator needs in the version that the file states."""
    runtime = custom.get(code.name, "") if code.custom else _runtimes().get((code.name, code.version), "")
    return Requirement(code.name, code.version, runtime)


def requirement(operator: Operator, custom: CustomRuntimes = NO_CUSTOM_OPERATORS) -> Requirement:
    """Returns what an operator needs, taking the types of its weights into account."""
    as_stated = stated_requirement(operator.code, custom)
    place = _WEIGHT_INPUT.get(operator.kind, len(operator.inputs))
    if operator.code.custom or place >= len(operator.inputs):
        return as_stated
    first, weights = operator.inputs[0], operator.inputs[place]
    if first is ABSENT or weights is ABSENT:
        return as_stated
    needed = _VERSIONS_FOR_WEIGHTS.get((operator.kind, first.dtype, weights.dtype))
    if weights.scale_tensors or (weights.bits in (2, 4) and needed is None):
        return Requirement(operator.kind, operator.code.version, "")
    version = needed[len(weights.scales) > 1] if needed else 0
    if version <= operator.code.version:
        return as_stated
    return stated_requirement(OperatorCode(operator.kind, version, custom=False), custom)


@cache
def _runtimes() -> dict[tuple[str, int], str]:
    with resources.files(__package__).joinpath("runtimes.csv").open(encoding="ascii") as lines:
        return {(row["operator"], int(row["version"])): row["runtime"] for row in csv.DictReader(lines)}


def _numbers(version: str) -> tuple[int, int, int]:
    """Returns the first three numbers of a version, with 0 for missing ones."""
    major, minor, patch, *_ = (*(int(part) for part in re.findall(r"\d+", version)), 0, 0, 0)
    return major, minor, patch
