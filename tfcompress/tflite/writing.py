"""Changing a `.tflite` flatbuffer: to the schema's object tree and back, with constants where a runtime wants them."""

from __future__ import annotations

import copy
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tfcompress.errors import UserError
from tfcompress.tflite import reading
from tfcompress.tflite.damage import LIBRARY_ERRORS
from tfcompress.tflite.reading import Content

ALIGNMENT = 16
"""Bytes; what the schema asks of constants."""

_IDENTIFIER = b"TFL3"
_LARGEST = 2**31 - 1  # A flatbuffer's offsets are signed.
_ROOM = 1 << 20


def read(content: Content) -> schema.ModelT:
    """Parses a whole, valid file; constants are views of `content`.

    Constants and custom options that lie behind the flatbuffer are brought in, so that `write` has all; other data
    behind it, such as an archive, is not.

    Raises:
        UserError: `content` is no valid `.tflite` file, or is cut off.
    """
    buffers = reading.read(content).buffers
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    except LIBRARY_ERRORS as error:
        raise UserError(f"this is not a valid .tflite: {error}; copy or convert it again") from error
    for buffer, data in zip(model.buffers or [], buffers, strict=True):
        if buffer.offset > 1:  # 1 is a place kept free for an offset.
            buffer.data = data
        buffer.offset = buffer.size = 0
    for graph in model.subgraphs:
        for operator in graph.operators or []:
            begin, size = operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize
            if begin > 1:
                operator.customOptions = np.frombuffer(content, np.uint8)[begin : begin + size]
            operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0
    return model


def write(model: schema.ModelT, alignment: int = ALIGNMENT) -> bytes:
    """Serializes a model; it is not changed.

    Args:
        model: data of its buffers are uint8 arrays, bytes or lists, or None.
        alignment: of every buffer's data in the file, in bytes; a power of two, at least 16. The generated code ignores
            the schema's own.

    Raises:
        UserError: the file would have 2 GiB or more, which a flatbuffer cannot.
    """
    assert alignment >= ALIGNMENT, alignment
    assert alignment.bit_count() == 1, alignment
    aligned = copy.copy(model)
    aligned.buffers = [_AlignedBuffer(buffer, alignment) for buffer in model.buffers or []]
    size = sum(len(buffer.data) + alignment for buffer in aligned.buffers if buffer.data is not None)
    if size + _ROOM > _LARGEST:
        raise UserError(f"the constants of this model take {size} bytes; a .tflite file holds less than 2 GiB")
    builder = flatbuffers.Builder(size + _ROOM)
    builder.Finish(aligned.Pack(builder), _IDENTIFIER)
    return bytes(memoryview(builder.Bytes)[builder.Head() :])


class _AlignedBuffer(schema.BufferT):
    """A buffer that packs its data with an alignment and in one copy."""

    def __init__(self, buffer: schema.BufferT, alignment: int) -> None:
        super().__init__(None if buffer.data is None else _bytes(buffer.data), buffer.offset, buffer.size)
        self._alignment = alignment

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 (the schema's name)
        """Writes the data, then the table."""
        data = None
        if self.data is not None:
            builder.StartVector(1, len(self.data), self._alignment)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data.data
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        place: int = schema.BufferEnd(builder)
        return place


def _bytes(data: Any) -> npt.NDArray[np.uint8]:
    """Returns data of a buffer as a contiguous array."""
    if isinstance(data, bytes | bytearray | memoryview):
        return np.frombuffer(data, np.uint8)
    return np.ascontiguousarray(data, np.uint8)
