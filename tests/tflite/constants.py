"""The places of constants in a file."""

import flatbuffers
from ai_edge_litert import schema_py_generated as schema


def places(content: bytes) -> list[int]:
    """The offset of the data of each buffer in a file."""
    model = schema.Model.GetRootAs(content, 0)
    tables = [model.Buffers(i)._tab for i in range(model.BuffersLength()) if model.Buffers(i).DataLength()]
    return [table.Vector(table.Offset(4)) for table in tables]


def with_constants_after(content: bytes) -> bytes:
    """The file with its larger constants after the flatbuffer, where litert-quantizer stores large ones."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    moved = [
        (buffer, bytes(buffer.data)) for buffer in model.buffers if buffer.data is not None and len(buffer.data) > 99
    ]
    assert moved
    for _ in range(2):  # The first time determines the length of the flatbuffer.
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
