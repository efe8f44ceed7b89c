"""Writes a model as a `.tflite` flatbuffer, with its constants aligned as a runtime needs them.

Fields of a file that was read and that `tfcompress.tflite.graph` does not know are written unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import TypeVar

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.errors import UserError
from tfcompress.tflite.damage import DAMAGE_ERRORS
from tfcompress.tflite.graph import Graph, Metadata, Model, Operator, OperatorCode, Signature
from tfcompress.tflite.tensor import TYPES, Buffer, Shape, Tensor

_T = TypeVar("_T")

ALIGNMENT = 16
"""The alignment of constants that the schema asks for, in bytes."""

_IDENTIFIER = b"TFL3"
_MAX_BYTES = 2**31 - 1  # The offsets of a flatbuffer are signed.
_ROOM_FOR_GRAPH = 1 << 20
_MAX_DEPRECATED_CODE = 127  # The older field for the code of an operator is a signed byte.


def write(model: Model, alignment: int = ALIGNMENT) -> bytes:
    """Serializes a model, without changing it.

    Constants and custom options that were stored after the flatbuffer move into it. Anything else that followed the
    flatbuffer, such as an archive, is not written.

    Args:
        model: what to write.
        alignment: of the data of every buffer in the file, in bytes; a power of two, at least 16. The generated code
            ignores the alignment that the schema gives.

    Raises:
        UserError: the file would have 2 GiB or more, which a flatbuffer cannot, or the model was read from a damaged
            file.
    """
    return bytes(_serialized(model, alignment))


def write_file(model: Model, path: Path) -> None:
    """Writes what `write` returns to a file, with one copy less in memory; for errors see there."""
    path.write_bytes(_serialized(model, ALIGNMENT))


def _serialized(model: Model, alignment: int) -> memoryview:
    assert alignment >= ALIGNMENT, alignment
    assert alignment.bit_count() == 1, alignment
    try:
        tree = _Writer(model, alignment).tree()
    except DAMAGE_ERRORS as error:
        raise UserError(f"this is not a valid .tflite file: {error}; copy or convert it again") from error
    size = sum(len(buffer.data) + alignment for buffer in tree.buffers if buffer.data is not None)
    if size + _ROOM_FOR_GRAPH > _MAX_BYTES:
        raise UserError(
            f"the constants of this model take {size:,} bytes, but a .tflite file has less than 2 GiB; "
            "compress or split the model"
        )
    builder = flatbuffers.Builder(size + _ROOM_FOR_GRAPH)
    builder.Finish(tree.Pack(builder), _IDENTIFIER)
    return memoryview(builder.Bytes)[builder.Head() :]


class _Writer:
    """Builds the schema's object tree of a model. New buffers and kinds of operators follow those that were read."""

    def __init__(self, model: Model, alignment: int) -> None:
        self.model, self.alignment = model, alignment
        self.tensors = {graph: _tensors(graph) for graph in model.graphs}
        owners: Iterable[Tensor | Metadata] = chain(*self.tensors.values(), model.metadata)
        added = (owner.buffer for owner in owners if owner.buffer is not None)
        self.buffers = {buffer: place for place, buffer in enumerate(dict.fromkeys((*model.buffers, *added)))}
        self.codes = list(model.codes)
        self.places = {code: place for place, code in enumerate(self.codes)}

    def tree(self) -> schema.ModelT:
        model, source = self.model, self.model.source
        graphs = [self.graph(graph) for graph in model.graphs]
        tree = schema.ModelT(source.Version(), [_code(code) for code in self.codes], graphs, source.Description())
        tree.buffers = [_AlignedBuffer(buffer, self.alignment) for buffer in self.buffers]
        tree.metadataBuffer = model.metadata_buffer
        if model.metadata or not source.MetadataIsNone():
            tree.metadata = [schema.MetadataT(one.name.encode(), self.buffers[one.buffer]) for one in model.metadata]
        if model.signatures or not source.SignatureDefsIsNone():
            tree.signatureDefs = [self.signature(signature) for signature in model.signatures]
        tree.externalBufferGroups = _copies(source, "ExternalBufferGroups", schema.ExternalBufferGroupT.InitFromObj)
        tree.externalBuffers = _copies(source, "ExternalBuffers", schema.ExternalBufferT.InitFromObj)
        return tree

    def graph(self, graph: Graph) -> schema.SubGraphT:
        place = {tensor: number for number, tensor in enumerate(self.tensors[graph])}
        made = schema.SubGraphT(
            [self.tensor(tensor, place) for tensor in self.tensors[graph]],
            [place[tensor] for tensor in graph.inputs],
            [place[tensor] for tensor in graph.outputs],
            [self.operator(operator, place) for operator in graph.operators],
        )
        if graph.source is not None:
            made.name, made.debugMetadataIndex = graph.source.Name(), graph.source.DebugMetadataIndex()
        return made

    def tensor(self, tensor: Tensor, place: dict[Tensor, int]) -> schema.TensorT:
        made = _new_tensor(tensor) if tensor.source is None else _read_tensor(tensor, place)
        made.buffer = 0 if tensor.buffer is None else self.buffers[tensor.buffer]
        return made

    def operator(self, operator: Operator, place: dict[Tensor, int]) -> schema.OperatorT:
        made = schema.OperatorT() if operator.source is None else schema.OperatorT.InitFromObj(operator.source)
        made.opcodeIndex = self.code(operator.code)
        made.inputs = [place.get(tensor, -1) for tensor in operator.inputs]
        made.outputs = [place[tensor] for tensor in operator.outputs]
        if operator.intermediates is not None:
            made.intermediates = [place.get(tensor, -1) for tensor in operator.intermediates]
        if operator.has_read_options and operator.options is not None:
            made.builtinOptions = operator.options
            kind = type(operator.options).__name__.removesuffix("T")
            made.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        if operator.code.custom and (operator.custom_options or made.customOptions is not None):
            made.customOptions = np.frombuffer(operator.custom_options, np.uint8)
        made.largeCustomOptionsOffset = made.largeCustomOptionsSize = 0
        return made

    def code(self, code: OperatorCode) -> int:
        """Returns the index of a kind of operator in the list of the file, to which a new kind is added."""
        if code not in self.places:
            same = (other for other in self.codes if other.key == code.key)
            known = next(same, None)
            if known is None:
                self.places[code] = len(self.codes)
                self.codes.append(code)
            else:
                self.places[code] = self.places[known]
        return self.places[code]

    def signature(self, signature: Signature) -> schema.SignatureDefT:
        place = {tensor: number for number, tensor in enumerate(self.tensors[signature.graph])}

        def named_tensors(named: dict[str, Tensor]) -> list[schema.TensorMapT]:
            return [schema.TensorMapT(name.encode(), place[tensor]) for name, tensor in named.items()]

        graph = self.model.graphs.index(signature.graph)
        return schema.SignatureDefT(
            named_tensors(signature.inputs), named_tensors(signature.outputs), signature.name.encode(), graph
        )


def _tensors(graph: Graph) -> list[Tensor]:
    """Returns the tensors of a graph; new ones follow those of the file."""
    used = (tensor for operator in graph.operators for tensor in (*operator.inputs, *operator.outputs) if tensor.dtype)
    return list(dict.fromkeys((*graph.tensors, *used)))


def _new_tensor(tensor: Tensor) -> schema.TensorT:
    kind = getattr(schema.TensorType, tensor.dtype.upper())
    made = schema.TensorT(list(tensor.shape), kind, name=tensor.name.encode(), hasRank=True)
    made.shapeSignature = list(tensor.free_shape) if -1 in tensor.free_shape else None
    if len(tensor.scales):
        points = tensor.zero_points
        made.quantization = schema.QuantizationParametersT(scale=tensor.scales, zeroPoint=points)
        made.quantization.quantizedDimension = tensor.axis
    return made


def _read_tensor(tensor: Tensor, place: dict[Tensor, int]) -> schema.TensorT:
    """Makes a tensor as it was in the file, with the changes since."""
    made = schema.TensorT.InitFromObj(tensor.source)
    if tensor.name != (made.name or b"").decode(errors="replace"):
        made.name = tensor.name.encode()
    if tensor.shape != _lengths(made.shape):
        made.shape = list(tensor.shape)
    if tensor.dtype != TYPES.get(made.type, tensor.dtype):
        made.type = getattr(schema.TensorType, tensor.dtype.upper())
    for field, scale_tensor in tensor.scale_tensors.items():
        setattr(made.quantization.details, field, place[scale_tensor])
    return made


def _lengths(shape: Iterable[int] | None) -> Shape:
    return () if shape is None else tuple(int(length) for length in shape)


def _code(code: OperatorCode) -> schema.OperatorCodeT:
    if code.source is not None:
        made = schema.OperatorCodeT.InitFromObj(code.source)
        made.version = code.version
        # TensorFlow up to 2.3 filled in the older field alone, in which other readers find the operator ADD.
        made.builtinCode = max(made.builtinCode, made.deprecatedBuiltinCode)
        return made
    number = schema.BuiltinOperator.CUSTOM if code.custom else getattr(schema.BuiltinOperator, code.name)
    own = code.name.encode() if code.custom else None
    return schema.OperatorCodeT(min(number, _MAX_DEPRECATED_CODE), own, code.version, number)


def _copies(owner: schema.Model, field: str, copy: Callable[[object], _T]) -> list[_T] | None:
    """Returns copies of the tables in a vector; None if the file does not have the vector."""
    if getattr(owner, f"{field}IsNone")():
        return None
    return [copy(getattr(owner, field)(index)) for index in range(getattr(owner, f"{field}Length")())]


class _AlignedBuffer(schema.BufferT):
    """A buffer that writes its data aligned, and copies it only once."""

    def __init__(self, buffer: Buffer, alignment: int) -> None:
        super().__init__(None if buffer.data is None else np.ascontiguousarray(buffer.data, np.uint8))
        self._alignment = alignment

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 (the name in the generated schema)
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
