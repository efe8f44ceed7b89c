"""Where the constants of a file lie."""

import flatbuffers
from ai_edge_litert import schema_py_generated as schema


def places(content: bytes) -> list[int]:
    """Where the data of each buffer begins in a file."""
    model = schema.Model.GetRootAs(content, 0)
    tables = [model.Buffers(i)._tab for i in range(model.BuffersLength()) if model.Buffers(i).DataLength()]
    return [table.Vector(table.Offset(4)) for table in tables]


def with_constants_behind(content: bytes) -> bytes:
    """The same file with its larger constants behind the flatbuffer, as ai-edge-quantizer writes large ones."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    moved = [
        (buffer, bytes(buffer.data)) for buffer in model.buffers if buffer.data is not None and len(buffer.data) > 99
    ]
    assert moved
    for _ in range(2):  # The first time for the flatbuffer's length.
        for buffer, data in moved:
            buffer.data, buffer.offset, buffer.size = None, buffer.offset or 2, len(data)
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        file = bytearray(builder.Output())
        for buffer, data in moved:
            file += bytes(-len(file) % 16)
            buffer.offset = len(file)
            file += data
    return bytes(file)
