"""The content of a `.tflite` file as objects that can be changed: graphs of operators and tensors, and signatures."""

from __future__ import annotations

import copy
import mmap
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.tflite.tensor import Array, Buffer, Bytes, Tensor, constant

Content = bytes | bytearray | mmap.mmap

_SIDE_EFFECTS = ("ASSIGN_VARIABLE", "CALL_ONCE", "CALL", "IF", "WHILE", "HASHTABLE", "HASHTABLE_IMPORT", "VAR_HANDLE")
"""Operators that must run even if nothing reads their outputs."""


@dataclass(eq=False)
class OperatorCode:
    """A kind of operator, as a file lists it.

    Attributes:
        name: the schema's name, such as `FULLY_CONNECTED`, or the name of a custom operator.
        version: the operator version.
        custom: whether it is a custom operator instead of one of TFLite's own.
        source: the table that it was read from; None if it is new.
    """

    name: str
    version: int
    custom: bool
    source: schema.OperatorCode | None = None

    @property
    def key(self) -> tuple[str, int, bool]:
        """Equal for two codes that stand for the same kind of operator."""
        return self.name, self.version, self.custom


class Operator:
    """An operator of a graph.

    Attributes:
        code: its kind.
        custom_options: the serialized options of a custom operator.
        intermediates: tensors with the quantization of values that the operator computes internally; None if it lists
            none.
        source: the table that it was read from; None if it is new. Fields that this class lacks are written unchanged.
    """

    def __init__(
        self,
        code: OperatorCode,
        inputs: Iterable[Tensor],
        outputs: Iterable[Tensor],
        options: object | None = None,
        custom_options: bytes = b"",
        source: schema.Operator | None = None,
    ) -> None:
        self.code, self.custom_options, self.source = code, custom_options, source
        self.intermediates: tuple[Tensor, ...] | None = None
        # A weak reference avoids a cycle, so a mapped file is closed with its model.
        self._graph: weakref.ref[Graph] | None = None
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._options, self._has_options = options, options is not None

    @property
    def kind(self) -> str:
        """The name of its kind, such as `FULLY_CONNECTED`."""
        return self.code.name

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors that it reads, with `ABSENT` in place of an optional one that is missing."""
        return self._inputs

    @inputs.setter
    def inputs(self, tensors: Iterable[Tensor]) -> None:
        self._inputs = tuple(tensors)
        self._forget_links()

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The tensors that it computes."""
        return self._outputs

    @outputs.setter
    def outputs(self, tensors: Iterable[Tensor]) -> None:
        self._outputs = tuple(tensors)
        self._forget_links()

    @property
    def options(self) -> object | None:
        """The options of one of TFLite's own operators, as an object of the schema; None if it has none."""
        if not self._has_options and self.source is not None:
            kind, table = self.source.BuiltinOptionsType(), self.source.BuiltinOptions()
            self._options = schema.BuiltinOptionsCreator(kind, table)
            self._has_options = True
        return self._options

    @options.setter
    def options(self, options: object) -> None:
        self._options, self._has_options = options, True

    @property
    def has_read_options(self) -> bool:
        """Whether the options have been read or assigned."""
        return self._has_options

    def option(self, name: str) -> float:
        """Returns an option by its name in the schema, or 0 (which is also false) if the file does not have it."""
        return getattr(self.options, name, 0)

    def set_option(self, name: str, value: float) -> None:
        """Sets an option by its name in the schema."""
        self.options = copy.copy(self.options)
        setattr(self.options, name, value)

    def replace_input(self, index: int, tensor: Tensor) -> None:
        """Replaces the input at an index."""
        self.inputs = (*self.inputs[:index], tensor, *self.inputs[index + 1 :])

    @property
    def graph(self) -> Graph | None:
        """The graph that contains it; None if no graph does."""
        return None if self._graph is None else self._graph()

    def place_in(self, graph: Graph | None) -> None:
        """Records which graph contains it. Only graphs call this."""
        self._graph = None if graph is None else weakref.ref(graph)

    def _forget_links(self) -> None:
        if self.graph is not None:
            self.graph.forget_links()


class Graph:
    """A graph, which the schema calls a subgraph.

    Attributes:
        name: in the file, often empty.
        tensors: in the order of the file. Writing adds new tensors that operators use.
        inputs, outputs: the tensors that the graph takes and returns.
        source: the table that it was read from; None if it is new.
    """

    def __init__(
        self,
        name: str,
        tensors: Iterable[Tensor],
        operators: Iterable[Operator],
        inputs: Iterable[Tensor],
        outputs: Iterable[Tensor],
        source: schema.SubGraph | None = None,
    ) -> None:
        self.name, self.tensors, self.source = name, list(tensors), source
        self.inputs, self.outputs = list(inputs), list(outputs)
        self._operators: tuple[Operator, ...] = ()
        self._links: tuple[dict[Tensor, Operator], dict[Tensor, list[Operator]]] | None = None
        self.operators = tuple(operators)

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The operators in the order in which they run."""
        return self._operators

    @operators.setter
    def operators(self, operators: Iterable[Operator]) -> None:
        for operator in self._operators:
            operator.place_in(None)
        self._operators = tuple(operators)
        for operator in self._operators:
            operator.place_in(self)
        self.forget_links()

    def forget_links(self) -> None:
        """Discards what is known of producers and consumers, because an operator has changed."""
        self._links = None

    def producer(self, tensor: Tensor, kind: str | None = None) -> Operator | None:
        """Returns the operator that computes a tensor; None if there is none, or if its kind is not `kind`."""
        made = self._linked()[0].get(tensor)
        return made if made is not None and kind in (None, made.kind) else None

    def consumers(self, tensor: Tensor) -> Sequence[Operator]:
        """Returns the operators that read a tensor."""
        return self._linked()[1].get(tensor, [])

    def only_consumer(self, tensor: Tensor) -> Operator | None:
        """Returns the only operator that reads a tensor; None if there are others or the tensor is a graph output."""
        readers = self.consumers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.outputs else None

    def _linked(self) -> tuple[dict[Tensor, Operator], dict[Tensor, list[Operator]]]:
        if self._links is None:
            made = {tensor: operator for operator in self.operators for tensor in operator.outputs}
            read: dict[Tensor, list[Operator]] = {}
            for operator in self.operators:
                for tensor in dict.fromkeys(operator.inputs):
                    read.setdefault(tensor, []).append(operator)
            self._links = made, read
        return self._links

    def numbers(self, tensor: Tensor) -> Array | None:
        """Returns the numbers of a constant in its shape, as float32 for dequantized float16; else None."""
        if not len(tensor.data):
            unpacked = self.producer(tensor, "DEQUANTIZE")
            if unpacked is not None and unpacked.inputs[0].dtype == "float16":
                half = self.numbers(unpacked.inputs[0])
                return None if half is None else half.astype(np.float32)
        return tensor.numbers()

    def scalar(self, tensor: Tensor) -> float | None:
        """Returns the value of a constant with one element; None for any other tensor."""
        values = self.numbers(tensor)
        return float(values.ravel()[0]) if values is not None and values.size == 1 else None

    def replace(self, replacements: Iterable[tuple[Operator, Sequence[Operator]]]) -> None:
        """Replaces each given operator with the operators that are given for it."""
        new = dict(replacements)
        self.operators = tuple(operator for old in self.operators for operator in new.get(old, [old]))

    def redirect_readers(self, old: Tensor, new: Tensor) -> None:
        """Makes all operators that read one tensor read another. The outputs of the graph do not change."""
        for operator in self.operators:
            operator.inputs = tuple(new if tensor is old else tensor for tensor in operator.inputs)

    def insert(self, place: int, added: Operator) -> None:
        """Inserts an operator before the one at an index."""
        self.operators = (*self.operators[:place], added, *self.operators[place:])

    def drop_unused(self) -> None:
        """Removes operators without side effects whose outputs nothing reads."""
        used, kept = set(self.outputs), []
        for operator in reversed(self.operators):
            has_effect = not operator.outputs or operator.kind in _SIDE_EFFECTS
            if has_effect or used.intersection(operator.outputs):
                kept.append(operator)
                used.update(operator.inputs)
        self.operators = tuple(kept[::-1])


@dataclass(eq=False)
class Signature:
    """An entry point: a graph, and its inputs and outputs by name."""

    name: str
    graph: Graph
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


@dataclass(eq=False)
class Metadata:
    """A named entry of the file's metadata."""

    name: str
    buffer: Buffer

    @property
    def data(self) -> Bytes:
        """Its bytes."""
        return np.zeros(0, np.uint8) if self.buffer.data is None else self.buffer.data


@dataclass(eq=False)
class Model:
    """The content of a `.tflite` file.

    Attributes:
        content: the bytes that it was read from.
        codes: the kinds of operators that the file lists, in its order.
        graphs: in the order of the file; the first one runs if no signature is named.
        signatures: in the order of the file, possibly none.
        metadata: in the order of the file, possibly none.
        buffers: all buffers in the order of the file, including unused ones and those stored after the flatbuffer.
        metadata_buffer: an older form of `metadata`, int32 indices of buffers; None if the file has none.
        source: the table that it was read from. Fields that this class lacks are written unchanged.
    """

    content: Content
    codes: list[OperatorCode]
    graphs: list[Graph]
    signatures: list[Signature]
    metadata: list[Metadata]
    buffers: list[Buffer]
    metadata_buffer: Array | None
    source: schema.Model

    def operators(self) -> Iterator[Operator]:
        """Yields the operators of all graphs."""
        for graph in self.graphs:
            yield from graph.operators

    def entry(self, name: str) -> Metadata | None:
        """Returns the first metadata entry with a name; None if there is none."""
        return next((entry for entry in self.metadata if entry.name == name), None)


def operator(
    kind: str,
    inputs: Iterable[Tensor],
    outputs: Iterable[Tensor],
    version: int = 1,
    options: object | None = None,
) -> Operator:
    """Makes one of TFLite's own operators, in no graph yet. `options` is an object of the schema."""
    return Operator(OperatorCode(kind, version, custom=False), inputs, outputs, options)


def custom_operator(name: str, inputs: Iterable[Tensor], outputs: Iterable[Tensor], options: bytes) -> Operator:
    """Makes a custom operator of version 1, in no graph yet."""
    return Operator(OperatorCode(name, 1, custom=True), inputs, outputs, custom_options=options)


def reshape(tensor: Tensor, out: Tensor) -> Operator:
    """Makes a RESHAPE of `tensor` to the shape of `out`, in which at most one length may be free."""
    shape = np.array(out.free_shape, np.int32)
    assert np.count_nonzero(shape == -1) <= 1, f"{out.name} has the shape {shape.tolist()}"
    target = constant(f"{out.name}_shape", shape)
    return operator("RESHAPE", [tensor, target], [out], options=schema.ReshapeOptionsT(newShape=shape))
