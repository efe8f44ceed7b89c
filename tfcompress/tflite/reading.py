"""Reading a `.tflite` flatbuffer, without copies and without trusting it.

Constants are views of the file. A garbled file ends in a `UserError`: no length in it is believed before it was held
against the size of the file, and all that is read of the graph comes off an allowance that a valid file cannot exceed.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.errors import UserError
from tfcompress.tflite.damage import LIBRARY_ERRORS
from tfcompress.tflite.graph import Content, Graph, Metadata, Model, Operator, OperatorCode, Signature
from tfcompress.tflite.tensor import ABSENT, TYPES, Array, Buffer, Bytes, Tensor

OPERATORS: dict[int, str] = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
"""The schema's names of operators by their codes."""

_SCHEMA_VERSION = 3
_TABLE_BYTES = 16  # at least, with its place in a vector; Python needs about 10 µs for one
_MOST_GRAPH_BYTES = 64 << 20
_MOST_NAME_BYTES = 1 << 16
_MOST_DIMENSIONS = 64  # NumPy's
_MOST_ELEMENTS = 1 << 62  # of a sparse tensor, few of which are stored


def open_file(path: Path) -> Model:
    """Reads a file, mapped into memory.

    Raises:
        UserError: it cannot be read, or is not a valid `.tflite`.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a file; give the path of a .tflite file")
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise UserError(f"{path} is not a valid .tflite: it is empty")
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give the path of a .tflite file") from error
    return read(content, str(path))


def read(content: Content, name: str = "this content") -> Model:
    """Reads what `content` holds; errors call it `name`.

    Raises:
        UserError: it is not a valid `.tflite`.
    """
    try:
        return _Reader(content).model()
    except _DamagedError as error:
        raise UserError(f"{name} is not a valid .tflite: {error}") from error
    except LIBRARY_ERRORS as error:
        reason = "it is cut off or garbled; copy or convert it again"
        raise UserError(f"{name} is not a valid .tflite: {reason}") from error


class _DamagedError(Exception):
    """What is wrong with a file."""


class _Reader:
    """Reads a file once, front to back of its tables; `schema` is the generated, unchecked access to them."""

    def __init__(self, content: Content) -> None:
        self.content, self.bytes = content, np.frombuffer(content, np.uint8)
        # Tables that several others point to may be read more than once.
        self.graph_bytes_left = min(4 * len(content) + 4096, _MOST_GRAPH_BYTES)
        self.buffers: list[Buffer] = []
        self.codes: list[OperatorCode] = []

    def model(self) -> Model:
        if not schema.Model.ModelBufferHasIdentifier(self.content, 0):
            raise _DamagedError("TFL3 does not stand at byte 4; a model of another kind must be converted first")
        model = schema.Model.GetRootAs(self.content, 0)
        if model.Version() != _SCHEMA_VERSION:
            raise _DamagedError(f"schema version {model.Version()} instead of {_SCHEMA_VERSION}")
        self.buffers = [Buffer(self.data(buffer)) for buffer in self.tables(model, "Buffers")]
        if sum(len(buffer.data) for buffer in self.buffers if buffer.data is not None) > 4 * len(self.content):
            raise _DamagedError("its buffers are larger than the file")
        self.codes = [self.code(code) for code in self.tables(model, "OperatorCodes")]
        graphs = [self.graph(graph) for graph in self.tables(model, "Subgraphs")]
        if not graphs:
            raise _DamagedError("it has no graph")
        signatures = [self.signature(one, graphs) for one in self.tables(model, "SignatureDefs")]
        metadata = [
            Metadata(self.text(one.Name()), self.buffers[one.Buffer()]) for one in self.tables(model, "Metadata")
        ]
        older = None if model.MetadataBufferIsNone() else model.MetadataBufferAsNumpy()
        return Model(self.content, self.codes, graphs, signatures, metadata, self.buffers, older, model)

    def spend(self, amount: int) -> None:
        self.graph_bytes_left -= amount
        if self.graph_bytes_left < 0:
            raise _DamagedError("it lists more than a file of its size can hold")

    def tables(self, owner: Any, field: str) -> Iterator[Any]:
        count = getattr(owner, f"{field}Length")()
        self.spend(_TABLE_BYTES * count)
        return (getattr(owner, field)(index) for index in range(count))

    def array(self, owner: Any, field: str) -> Array:
        """Returns a view; NumPy refuses one that does not lie in the file."""
        length = getattr(owner, f"{field}Length")()
        return getattr(owner, f"{field}AsNumpy")() if length else np.zeros(0, np.uint8)

    def numbers(self, owner: Any, field: str) -> tuple[int, ...]:
        array = self.array(owner, field)
        self.spend(array.nbytes)
        return tuple(array.tolist())

    def text(self, content: bytes | None) -> str:
        content = content or b""
        self.spend(len(content))
        if len(content) > _MOST_NAME_BYTES:
            raise _DamagedError(f"a name of {len(content):,} bytes")
        return content.decode(errors="replace")

    def data(self, buffer: Any) -> Bytes | None:
        place, size = buffer.Offset(), buffer.Size()
        if place <= 1:  # 1 is a place kept free for an offset.
            return None if buffer.DataIsNone() else self.array(buffer, "Data")
        if place + size > len(self.content):
            raise _DamagedError(f"a buffer of {size:,} bytes at {place:,} in a file of {len(self.content):,}")
        return self.bytes[place : place + size]

    def code(self, code: Any) -> OperatorCode:
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        custom = number == schema.BuiltinOperator.CUSTOM
        own = self.text(code.CustomCode())
        name = own or "CUSTOM" if custom else OPERATORS.get(number, f"operator {number}")
        return OperatorCode(name, code.Version(), custom, code)

    def graph(self, graph: Any) -> Graph:
        tables = list(self.tables(graph, "Tensors"))
        tensors = [self.tensor(table) for table in tables]
        for tensor, table in zip(tensors, tables, strict=True):
            self.add_scale_tensors(tensor, table.Quantization(), tensors)
        operators = [self.operator(table, tensors) for table in self.tables(graph, "Operators")]
        inputs, outputs = (self.chosen(graph, field, tensors) for field in ("Inputs", "Outputs"))
        return Graph(self.text(graph.Name()), tensors, operators, inputs, outputs, graph)

    def operator(self, table: Any, tensors: list[Tensor]) -> Operator:
        code = self.codes[table.OpcodeIndex()]
        made = Operator(
            code,
            self.chosen(table, "Inputs", tensors, optional=True),
            self.chosen(table, "Outputs", tensors),
            custom_options=self.custom_options(table) if code.custom else b"",
            source=table,
        )
        if not table.IntermediatesIsNone():
            made.intermediates = tuple(self.chosen(table, "Intermediates", tensors, optional=True))
        return made

    def custom_options(self, operator: Any) -> bytes:
        place, size = operator.LargeCustomOptionsOffset(), operator.LargeCustomOptionsSize()
        found = self.array(operator, "CustomOptions") if place <= 1 else self.bytes[place : place + size]
        self.spend(found.nbytes)
        return found.tobytes()

    def chosen(self, owner: Any, field: str, tensors: list[Tensor], optional: bool = False) -> list[Tensor]:
        """Returns the tensors that a list of indices names; -1 is one that is left out."""
        found = self.numbers(owner, field)
        if found and not -optional <= min(found) <= max(found) < len(tensors):
            raise _DamagedError(f"tensor {max(found, key=abs)} of {len(tensors)} is used")
        return [tensors[index] if index >= 0 else ABSENT for index in found]

    def tensor(self, table: Any) -> Tensor:
        quantization, code = table.Quantization(), table.Type()
        shape = self.numbers(table, "Shape")
        read = Tensor(
            name=self.text(table.Name()),
            shape=shape,
            dtype=TYPES.get(code, f"type {code}"),
            buffer=self.buffers[table.Buffer()],
            free_shape=shape if table.ShapeSignatureIsNone() else self.numbers(table, "ShapeSignature"),
            sparse=table.Sparsity() is not None,
            source=table,
        )
        if quantization:
            read.scales = self.array(quantization, "Scale").astype(np.float32, copy=False)
            read.zero_points = self.array(quantization, "ZeroPoint").astype(np.int64, copy=False)
            read.axis = quantization.QuantizedDimension()
        _check_size(read)
        return read

    def add_scale_tensors(self, tensor: Tensor, quantization: Any, tensors: list[Tensor]) -> None:
        indices = _scale_tensors(quantization)
        if any(index >= len(tensors) for index in indices.values()):
            raise _DamagedError(f"tensor {tensor.name!r} has its scales in a tensor that is not there")
        if indices:
            tensor.scale_tensors = {field: tensors[index] for field, index in indices.items()}

    def signature(self, signature: Any, graphs: list[Graph]) -> Signature:
        graph = graphs[signature.SubgraphIndex()]
        named: list[dict[str, Tensor]] = []
        for field in ("Inputs", "Outputs"):
            indices = {self.text(one.Name()): one.TensorIndex() for one in self.tables(signature, field)}
            if any(index >= len(graph.tensors) for index in indices.values()):
                raise _DamagedError("a signature names a tensor that is not there")
            named.append({name: graph.tensors[index] for name, index in indices.items()})
        return Signature(self.text(signature.SignatureKey()), graph, *named)


def _scale_tensors(quantization: Any) -> dict[str, int]:
    """Returns the indices of the tensors that hold a tensor's scales and zero points, by the schema's field."""
    details = {
        schema.QuantizationDetails.BlockwiseQuantization: schema.BlockwiseQuantization,
        schema.QuantizationDetails.MultiAxisQuantization: schema.MultiAxisQuantization,
    }
    kind = details.get(quantization.DetailsType()) if quantization else None
    if kind is None:
        return {}
    table, found = quantization.Details(), kind()
    found.Init(table.Bytes, table.Pos)
    indices = {"scales": found.Scales(), "zeroPoints": found.ZeroPoints()}
    return {field: index for field, index in indices.items() if index > 0}


def _check_size(tensor: Tensor) -> None:
    """Checks that a constant has the bytes of its shape, as the runtime does when it loads a file."""
    if not len(tensor.data) or not tensor.bits:
        return
    if min(tensor.shape, default=0) < 0 or len(tensor.shape) > _MOST_DIMENSIONS or tensor.elements > _MOST_ELEMENTS:
        raise _DamagedError(f"constant {tensor.name!r} has shape {tensor.shape}")
    expected = -(-tensor.elements * tensor.bits // 8)
    whole = len(tensor.data) * 8 % max(tensor.bits, 8) == 0
    if len(tensor.data) > expected or not whole or (len(tensor.data) < expected and not tensor.sparse):
        raise _DamagedError(
            f"{tensor.name!r}, {tensor.dtype} {tensor.shape}, takes {expected:,} bytes and has {len(tensor.data):,}"
        )
