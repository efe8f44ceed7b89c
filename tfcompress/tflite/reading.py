"""Reads a `.tflite` file, without copying its constants and without trusting it.

Constants are views of the file. A damaged file ends in a `UserError`: every length in it is checked against the size of
the file, and whatever is read of the graph is charged to an allowance that no valid file exceeds.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.errors import UserError
from tfcompress.tflite.damage import DAMAGE_ERRORS
from tfcompress.tflite.graph import Content, Graph, Metadata, Model, Operator, OperatorCode, Signature
from tfcompress.tflite.tensor import ABSENT, TYPES, Array, Buffer, Bytes, Tensor

OPERATORS: dict[int, str] = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
"""The names of operators in the schema, by their codes."""

_SCHEMA_VERSION = 3
_TABLE_BYTES = 16  # the least that a table takes, with its entry in a vector; Python reads one in about 10 µs
_MAX_GRAPH_BYTES = 64 << 20
_MAX_NAME_BYTES = 1 << 16
_MAX_DIMENSIONS = 64  # the limit of NumPy
_MAX_ELEMENTS = 1 << 62  # A sparse tensor stores only few of them.


def open_file(path: Path) -> Model:
    """Maps a file into memory and reads it.

    Raises:
        UserError: the file cannot be read or is not a valid `.tflite` file.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a file; give the path of a .tflite file")
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise UserError(f"{path} is not a valid .tflite file: it is empty; copy or convert it again")
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give the path of a .tflite file") from error
    return read(content, str(path))


def read(content: Content, name: str = "this content") -> Model:
    """Reads the content of a file, which error messages call `name`.

    Raises:
        UserError: it is not a valid `.tflite` file.
    """
    try:
        return _Reader(content).model()
    except _DamagedError as error:
        raise UserError(f"{name} is not a valid .tflite file: {error}; copy or convert it again") from error
    except DAMAGE_ERRORS as error:
        reason = "it is cut off or damaged; copy or convert it again"
        raise UserError(f"{name} is not a valid .tflite file: {reason}") from error


class _DamagedError(Exception):
    """The file is damaged; the message says where."""


class _Reader:
    """Reads a file once. `schema` is the generated code that accesses its tables and checks nothing."""

    def __init__(self, content: Content) -> None:
        self.content, self.bytes = content, np.frombuffer(content, np.uint8)
        # A table that several others point to is read several times, so the allowance exceeds the size of the file.
        self.graph_bytes_left = min(4 * len(content) + 4096, _MAX_GRAPH_BYTES)
        self.buffers: list[Buffer] = []
        self.codes: list[OperatorCode] = []

    def model(self) -> Model:
        if not schema.Model.ModelBufferHasIdentifier(self.content, 0):
            raise _DamagedError("it does not have TFL3 at byte 4")
        model = schema.Model.GetRootAs(self.content, 0)
        if model.Version() != _SCHEMA_VERSION:
            raise _DamagedError(f"it has schema version {model.Version()} instead of {_SCHEMA_VERSION}")
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
        """Charges bytes that are read to the allowance."""
        self.graph_bytes_left -= amount
        if self.graph_bytes_left < 0:
            raise _DamagedError("it lists more than a file of its size can contain")

    def tables(self, owner: object, field: str) -> Iterator[Any]:
        """Returns the tables in a vector."""
        count = getattr(owner, f"{field}Length")()
        self.spend(_TABLE_BYTES * count)
        return (getattr(owner, field)(index) for index in range(count))

    def array(self, owner: object, field: str) -> Array:
        """Returns a view of a vector. NumPy refuses one that is not within the file."""
        length = getattr(owner, f"{field}Length")()
        return getattr(owner, f"{field}AsNumpy")() if length else np.zeros(0, np.uint8)

    def numbers(self, owner: object, field: str) -> tuple[int, ...]:
        array = self.array(owner, field)
        self.spend(array.nbytes)
        return tuple(array.tolist())

    def text(self, content: bytes | None) -> str:
        content = content or b""
        self.spend(len(content))
        if len(content) > _MAX_NAME_BYTES:
            raise _DamagedError(f"it has a name of {len(content):,} bytes")
        return content.decode(errors="replace")

    def data(self, buffer: schema.Buffer) -> Bytes | None:
        place, size = buffer.Offset(), buffer.Size()
        if place <= 1:  # 1 means that the offset was never filled in.
            return None if buffer.DataIsNone() else self.array(buffer, "Data")
        if place + size > len(self.content):
            raise _DamagedError(f"it has a buffer of {size:,} bytes at {place:,} but only {len(self.content):,} bytes")
        return self.bytes[place : place + size]

    def code(self, code: schema.OperatorCode) -> OperatorCode:
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        custom = number == schema.BuiltinOperator.CUSTOM
        own = self.text(code.CustomCode())
        name = own or "CUSTOM" if custom else OPERATORS.get(number, f"operator {number}")
        return OperatorCode(name, code.Version(), custom, code)

    def graph(self, graph: schema.SubGraph) -> Graph:
        tables = list(self.tables(graph, "Tensors"))
        tensors = [self.tensor(table) for table in tables]
        for tensor, table in zip(tensors, tables, strict=True):
            self.add_scale_tensors(tensor, table.Quantization(), tensors)
        operators = [self.operator(table, tensors) for table in self.tables(graph, "Operators")]
        inputs, outputs = (self.listed_tensors(graph, field, tensors) for field in ("Inputs", "Outputs"))
        return Graph(self.text(graph.Name()), tensors, operators, inputs, outputs, graph)

    def operator(self, table: schema.Operator, tensors: list[Tensor]) -> Operator:
        code = self.codes[table.OpcodeIndex()]
        made = Operator(
            code,
            self.listed_tensors(table, "Inputs", tensors, optional=True),
            self.listed_tensors(table, "Outputs", tensors),
            custom_options=self.custom_options(table) if code.custom else b"",
            source=table,
        )
        if not table.IntermediatesIsNone():
            made.intermediates = tuple(self.listed_tensors(table, "Intermediates", tensors, optional=True))
        return made

    def custom_options(self, operator: schema.Operator) -> bytes:
        place, size = operator.LargeCustomOptionsOffset(), operator.LargeCustomOptionsSize()
        found = self.array(operator, "CustomOptions") if place <= 1 else self.bytes[place : place + size]
        self.spend(found.nbytes)
        return found.tobytes()

    def listed_tensors(self, owner: object, field: str, tensors: list[Tensor], optional: bool = False) -> list[Tensor]:
        """Returns the tensors at the indices in a vector; if `optional`, -1 stands for a missing one."""
        found = self.numbers(owner, field)
        if found and not -optional <= min(found) <= max(found) < len(tensors):
            raise _DamagedError(f"it uses tensor {max(found, key=abs)} of {len(tensors)} tensors")
        return [tensors[index] if index >= 0 else ABSENT for index in found]

    def tensor(self, table: schema.Tensor) -> Tensor:
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

    def add_scale_tensors(
        self, tensor: Tensor, quantization: schema.QuantizationParameters, tensors: list[Tensor]
    ) -> None:
        indices = _scale_tensors(quantization)
        if any(index >= len(tensors) for index in indices.values()):
            raise _DamagedError(f"tensor {tensor.name!r} has its scales in a tensor that does not exist")
        if indices:
            tensor.scale_tensors = {field: tensors[index] for field, index in indices.items()}

    def signature(self, signature: schema.SignatureDef, graphs: list[Graph]) -> Signature:
        graph = graphs[signature.SubgraphIndex()]
        named: list[dict[str, Tensor]] = []
        for field in ("Inputs", "Outputs"):
            indices = {self.text(one.Name()): one.TensorIndex() for one in self.tables(signature, field)}
            if any(index >= len(graph.tensors) for index in indices.values()):
                raise _DamagedError("a signature names a tensor that does not exist")
            named.append({name: graph.tensors[index] for name, index in indices.items()})
        return Signature(self.text(signature.SignatureKey()), graph, *named)


def _scale_tensors(quantization: schema.QuantizationParameters) -> dict[str, int]:
    """Returns the indices of the tensors with a tensor's scales and zero points per block, by field of the schema."""
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
    """Checks that a constant has as many bytes as its shape needs, as the runtime does when it loads a file."""
    if not len(tensor.data) or not tensor.bits:
        return
    if min(tensor.shape, default=0) < 0 or len(tensor.shape) > _MAX_DIMENSIONS or tensor.elements > _MAX_ELEMENTS:
        raise _DamagedError(f"constant {tensor.name!r} has shape {tensor.shape}")
    expected = -(-tensor.elements * tensor.bits // 8)
    whole = len(tensor.data) * 8 % max(tensor.bits, 8) == 0
    if len(tensor.data) > expected or not whole or (len(tensor.data) < expected and not tensor.sparse):
        raise _DamagedError(
            f"{tensor.name!r}, {tensor.dtype} {tensor.shape}, needs {expected:,} bytes and has {len(tensor.data):,}"
        )
