"""Converts the flatbuffer of TFLite Metadata from and to nested dictionaries.

Tables and fields are those of `metadata_schema.fbs`, version 1.5.0, in google-ai-edge/mediapipe
(mediapipe/tasks/metadata), which tflite-support shares. Only those that a model of images or texts needs are here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np

IDENTIFIER = b"M001"

Fields = dict[str, Any]
"""A table: the values of its fields, by name. A union is a dictionary with one entry, its member by table name."""

_TABLES: dict[str, dict[str, tuple[int, str | dict[int, str]]]] = {
    "ModelMetadata": {
        "name": (0, "string"),
        "description": (1, "string"),
        "subgraph_metadata": (3, "[SubGraphMetadata]"),
        "min_parser_version": (7, "string"),
    },
    "SubGraphMetadata": {
        "input_tensor_metadata": (2, "[TensorMetadata]"),
        "output_tensor_metadata": (3, "[TensorMetadata]"),
        "associated_files": (4, "[AssociatedFile]"),
        "input_process_units": (5, "[ProcessUnit]"),
        "custom_metadata": (9, "[CustomMetadata]"),
    },
    "TensorMetadata": {
        "name": (0, "string"),
        "description": (1, "string"),
        "content": (3, "Content"),
        "process_units": (4, "[ProcessUnit]"),
        "associated_files": (6, "[AssociatedFile]"),
    },
    "AssociatedFile": {"name": (0, "string"), "description": (1, "string"), "type": (2, "byte")},
    "Content": {"content_properties": (1, {2: "ImageProperties"})},
    "ImageProperties": {"color_space": (0, "byte"), "default_size": (1, "ImageSize")},
    "ImageSize": {"width": (0, "uint"), "height": (1, "uint")},
    "ProcessUnit": {"options": (1, {1: "NormalizationOptions", 4: "BertTokenizerOptions"})},
    "NormalizationOptions": {"mean": (0, "[float]"), "std": (1, "[float]")},
    "BertTokenizerOptions": {"vocab_file": (0, "[AssociatedFile]")},
    "CustomMetadata": {"name": (0, "string"), "data": (1, "string")},  # Strings are stored as bytes are.
}
"""The slot and type of each field. The slot before a union says which member it has."""

_MAX_TABLES = 10_000


def pack(model: Fields) -> bytes:
    """Serializes a `ModelMetadata`."""
    builder = flatbuffers.Builder()
    builder.Finish(_pack(builder, "ModelMetadata", model), IDENTIFIER)
    return bytes(builder.Output())


def unpack(content: bytes) -> Fields:
    """Parses a `ModelMetadata`, ignoring fields that are not in `_TABLES`.

    Raises:
        ValueError, struct.error: `content` is damaged.
    """
    if content[4:8] != IDENTIFIER:
        raise ValueError(f"its metadata is marked {bytes(content[4:8])!r}, not {IDENTIFIER!r}")
    reader = _Reader(content)
    return reader.table("ModelMetadata", reader.target(0))


def _pack(builder: flatbuffers.Builder, table: str, fields: Fields) -> int:
    """Writes a table after everything that it refers to, and returns its offset."""
    slots: list[tuple[Callable[[int, int, int], None], int, int]] = []
    for name, value in fields.items():
        slot, kind = _TABLES[table][name]
        if isinstance(kind, dict):
            ((member, value),) = value.items()
            code = next(code for code, known in kind.items() if known == member)
            slots.append((builder.PrependUint8Slot, slot - 1, code))
            kind = member
        if kind == "byte":
            slots.append((builder.PrependUint8Slot, slot, value))
        elif kind == "uint":
            slots.append((builder.PrependUint32Slot, slot, value))
        else:
            slots.append((builder.PrependUOffsetTRelativeSlot, slot, _pack_apart(builder, kind, value)))
    builder.StartObject(1 + max(slot for slot, _ in _TABLES[table].values()))
    for prepend, slot, value in slots:
        prepend(slot, value, 0)
    place: int = builder.EndObject()
    return place


def _pack_apart(builder: flatbuffers.Builder, kind: str, value: Any) -> int:
    """Writes a value that a table refers to: a string, a vector or another table. Returns its offset."""
    place: int
    if kind == "string":
        place = builder.CreateString(value.encode("utf-8", "replace"))
    elif kind == "[float]":
        place = builder.CreateNumpyVector(np.asarray(value, np.float32))
    elif kind.startswith("["):
        tables = [_pack(builder, kind.strip("[]"), fields) for fields in value]
        builder.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            builder.PrependUOffsetTRelative(table)
        place = builder.EndVector()
    else:
        place = _pack(builder, kind, value)
    return place


class _Reader:
    """Reads tables that may be damaged: nothing outside `content`, and a limited number of them."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._left = _MAX_TABLES

    def table(self, kind: str, place: int) -> Fields:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"its metadata has over {_MAX_TABLES} tables")
        slots = place - self._number("<i", place)
        if slots < 0:
            raise ValueError("its metadata has a table that begins before the file")
        size = self._number("<H", slots)

        def offset(slot: int) -> int:
            entry = 4 + 2 * slot
            return self._number("<H", slots + entry) if entry + 2 <= size else 0

        found = {}
        for name, (slot, held) in _TABLES[kind].items():
            if not (at := offset(slot)):
                continue
            if isinstance(held, dict):
                code = self._number("<B", place + offset(slot - 1)) if offset(slot - 1) else 0
                if code in held:
                    found[name] = {held[code]: self._value(held[code], place + at)}
            else:
                found[name] = self._value(held, place + at)
        return found

    def target(self, place: int) -> int:
        """Follows the reference at `place`."""
        return place + self._number("<I", place)

    def _value(self, kind: str, place: int) -> Any:
        if kind == "byte":
            return self._number("<B", place)
        if kind == "uint":
            return self._number("<I", place)
        if kind == "string":
            start, length = self._vector(place, 1)
            return self._content[start : start + length].decode("utf-8", "replace")
        if kind == "[float]":
            start, length = self._vector(place, 4)
            return struct.unpack_from(f"<{length}f", self._content, start)
        if kind.startswith("["):
            start, length = self._vector(place, 4)
            return [self.table(kind.strip("[]"), self.target(start + 4 * item)) for item in range(length)]
        return self.table(kind, self.target(place))

    def _vector(self, place: int, width: int) -> tuple[int, int]:
        """Returns the offset of the first item of a vector, and the number of items."""
        start = self.target(place) + 4
        length = self._number("<I", start - 4)
        if length * width > len(self._content) - start:
            raise ValueError("its metadata has a vector that ends after the file")
        return start, length

    def _number(self, format: str, place: int) -> int:
        number: int
        (number,) = struct.unpack_from(format, self._content, place)
        return number
