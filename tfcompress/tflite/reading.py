"""Reading a `.tflite` flatbuffer, without copies and without trusting it.

Constants are views of the file. A garbled file ends in a `UserError`: no length in it is believed before it was held
against the size of the file, and all that is read of the graph comes off an allowance that a valid file cannot exceed.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tfcompress.errors import UserError
from tfcompress.tflite.damage import LIBRARY_ERRORS
from tfcompress.tflite.graph import Bytes, Graph, Operator, OperatorCode, Signature, Tensor

Content = bytes | bytearray | mmap.mmap

TYPES: dict[int, str] = {code: name.lower() for name, code in vars(schema.TensorType).items() if isinstance(code, int)}
OPERATORS: dict[int, str] = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
"""The schema's names by their codes; of types in small letters."""

_SCHEMA_VERSION = 3
_TABLE_BYTES = 16  # at least, with its place in a vector; Python needs about 10 µs for one
_MOST_GRAPH_BYTES = 64 << 20
_MOST_NAME_BYTES = 1 << 16
_MOST_DIMENSIONS = 64  # NumPy's
_MOST_ELEMENTS = 1 << 62  # of a sparse tensor, few of which are stored


@dataclass(frozen=True, eq=False)
class Flatbuffer:
    """All of a file.

    Attributes:
        content: of the file.
        codes: kinds of operators, in the file's order.
        graphs: the first is what runs where no signature is named.
        signatures: may be empty.
        metadata: name and bytes of each entry.
        buffers: the bytes of each, those behind the flatbuffer too.
    """

    content: Content
    codes: tuple[OperatorCode, ...]
    graphs: tuple[Graph, ...]
    signatures: tuple[Signature, ...]
    metadata: tuple[tuple[str, Bytes], ...]
    buffers: tuple[Bytes, ...]


def open_file(path: Path) -> Flatbuffer:
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


def read(content: Content, name: str = "this content") -> Flatbuffer:
    """Reads what `content` holds; errors call it `name`.

    Raises:
        UserError: it is not a valid `.tflite`.
    """
    try:
        return _Reader(content).file()
    except _GarbledError as error:
        raise UserError(f"{name} is not a valid .tflite: {error}") from error
    except LIBRARY_ERRORS as error:
        reason = "it is cut off or garbled; copy or convert it again"
        raise UserError(f"{name} is not a valid .tflite: {reason}") from error


class _GarbledError(Exception):
    """What is wrong with a file."""


class _Reader:
    """Reads a file once, front to back of its tables; `schema` is the generated, unchecked access to them."""

    def __init__(self, content: Content) -> None:
        self.content, self.bytes = content, np.frombuffer(content, np.uint8)
        # Tables that several others point to may be read more than once.
        self.graph_bytes_left = min(4 * len(content) + 4096, _MOST_GRAPH_BYTES)
        self.buffers: list[Bytes] = []
        self.codes: list[OperatorCode] = []

    def file(self) -> Flatbuffer:
        if not schema.Model.ModelBufferHasIdentifier(self.content, 0):
            raise _GarbledError("TFL3 does not stand at byte 4; a model of another kind must be converted first")
        model = schema.Model.GetRootAs(self.content, 0)
        if model.Version() != _SCHEMA_VERSION:
            raise _GarbledError(f"schema version {model.Version()} instead of {_SCHEMA_VERSION}")
        self.buffers = [self.data(buffer) for buffer in self.tables(model, "Buffers")]
        if sum(len(buffer) for buffer in self.buffers) > 4 * len(self.content):
            raise _GarbledError("its buffers are larger than the file")
        self.codes = [self.code(code) for code in self.tables(model, "OperatorCodes")]
        graphs = [self.graph(graph) for graph in self.tables(model, "Subgraphs")]
        if not graphs:
            raise _GarbledError("it has no graph")
        signatures = [self.signature(one, graphs) for one in self.tables(model, "SignatureDefs")]
        entries = [(self.text(one.Name()), self.buffers[one.Buffer()]) for one in self.tables(model, "Metadata")]
        return Flatbuffer(
            self.content, tuple(self.codes), tuple(graphs), tuple(signatures), tuple(entries), tuple(self.buffers)
        )

    def spend(self, amount: int) -> None:
        self.graph_bytes_left -= amount
        if self.graph_bytes_left < 0:
            raise _GarbledError("it lists more than a file of its size can hold")

    def tables(self, owner: Any, field: str) -> Iterator[Any]:
        count = getattr(owner, f"{field}Length")()
        self.spend(_TABLE_BYTES * count)
        return (getattr(owner, field)(index) for index in range(count))

    def array(self, owner: Any, field: str) -> npt.NDArray[Any]:
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
            raise _GarbledError(f"a name of {len(content):,} bytes")
        return content.decode(errors="replace")

    def data(self, buffer: Any) -> Bytes:
        place, size = buffer.Offset(), buffer.Size()
        if place <= 1:  # 1 is a place kept free for an offset.
            return self.array(buffer, "Data")
        if place + size > len(self.content):
            raise _GarbledError(f"a buffer of {size:,} bytes at {place:,} in a file of {len(self.content):,}")
        return self.bytes[place : place + size]

    def code(self, code: Any) -> OperatorCode:
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        custom = number == schema.BuiltinOperator.CUSTOM
        own = self.text(code.CustomCode())
        name = own or "CUSTOM" if custom else OPERATORS.get(number, f"operator {number}")
        return OperatorCode(name, code.Version(), custom)

    def graph(self, graph: Any) -> Graph:
        tensors = [self.tensor(tensor) for tensor in self.tables(graph, "Tensors")]
        operators = [
            Operator(
                self.codes[operator.OpcodeIndex()],
                self.indices(operator, "Inputs", len(tensors), -1),
                self.indices(operator, "Outputs", len(tensors)),
                self.options(operator),
            )
            for operator in self.tables(graph, "Operators")
        ]
        inputs, outputs = (self.indices(graph, field, len(tensors)) for field in ("Inputs", "Outputs"))
        for tensor in tensors:
            if any(index >= len(tensors) for index in tensor.scale_tensors):
                raise _GarbledError(f"tensor {tensor.name!r} has its scales in a tensor that is not there")
        return Graph(self.text(graph.Name()), tuple(tensors), tuple(operators), inputs, outputs)

    def options(self, operator: Any) -> bytes:
        if not self.codes[operator.OpcodeIndex()].custom:
            return b""
        place, size = operator.LargeCustomOptionsOffset(), operator.LargeCustomOptionsSize()
        found = self.array(operator, "CustomOptions") if place <= 1 else self.bytes[place : place + size]
        self.spend(found.nbytes)
        return found.tobytes()

    def indices(self, owner: Any, field: str, count: int, lowest: int = 0) -> tuple[int, ...]:
        found = self.numbers(owner, field)
        if found and not lowest <= min(found) <= max(found) < count:
            raise _GarbledError(f"tensor {max(found, key=abs)} of {count} is used")
        return found

    def tensor(self, tensor: Any) -> Tensor:
        quantization = tensor.Quantization()
        none = np.zeros(0)
        type_code = tensor.Type()
        read = Tensor(
            name=self.text(tensor.Name()),
            shape=self.numbers(tensor, "Shape"),
            type=TYPES.get(type_code, f"type {type_code}"),
            buffer=tensor.Buffer(),
            data=self.buffers[tensor.Buffer()],
            scales=(self.array(quantization, "Scale") if quantization else none).astype(np.float32, copy=False),
            zero_points=(self.array(quantization, "ZeroPoint") if quantization else none).astype(np.int64, copy=False),
            axis=quantization.QuantizedDimension() if quantization else 0,
            sparse=tensor.Sparsity() is not None,
            scale_tensors=_scale_tensors(quantization),
        )
        _check_size(read)
        return read

    def signature(self, signature: Any, graphs: list[Graph]) -> Signature:
        tensors = len(graphs[signature.SubgraphIndex()].tensors)
        named: dict[str, dict[str, int]] = {}
        for field in ("Inputs", "Outputs"):
            named[field] = {self.text(one.Name()): one.TensorIndex() for one in self.tables(signature, field)}
            if any(index >= tensors for index in named[field].values()):
                raise _GarbledError("a signature names a tensor that is not there")
        name = self.text(signature.SignatureKey())
        return Signature(name, signature.SubgraphIndex(), named["Inputs"], named["Outputs"])


def _scale_tensors(quantization: Any) -> tuple[int, ...]:
    details = {
        schema.QuantizationDetails.BlockwiseQuantization: schema.BlockwiseQuantization,
        schema.QuantizationDetails.MultiAxisQuantization: schema.MultiAxisQuantization,
    }
    kind = details.get(quantization.DetailsType()) if quantization else None
    if kind is None:
        return ()
    table, found = quantization.Details(), kind()
    found.Init(table.Bytes, table.Pos)
    return tuple(index for index in (found.Scales(), found.ZeroPoints()) if index > 0)


def _check_size(tensor: Tensor) -> None:
    """Checks that a constant has the bytes of its shape, as the runtime does when it loads a file."""
    if not len(tensor.data) or not tensor.bits:
        return
    if min(tensor.shape, default=0) < 0 or len(tensor.shape) > _MOST_DIMENSIONS or tensor.elements > _MOST_ELEMENTS:
        raise _GarbledError(f"constant {tensor.name!r} has shape {tensor.shape}")
    expected = -(-tensor.elements * tensor.bits // 8)
    whole = len(tensor.data) * 8 % max(tensor.bits, 8) == 0
    if len(tensor.data) > expected or not whole or (len(tensor.data) < expected and not tensor.sparse):
        raise _GarbledError(
            f"{tensor.name!r}, {tensor.type} {tensor.shape}, takes {expected:,} bytes and has {len(tensor.data):,}"
        )
