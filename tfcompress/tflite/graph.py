"""What a `.tflite` file holds: graphs of operators and tensors, which can be changed, and where one enters them."""

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

_EFFECTS = ("ASSIGN_VARIABLE", "CALL_ONCE", "CALL", "IF", "WHILE", "HASHTABLE", "HASHTABLE_IMPORT", "VAR_HANDLE")
"""Operators that do something even if nothing reads their outputs."""


@dataclass(eq=False)
class OperatorCode:
    """A kind of operator that the file lists.

    Attributes:
        name: the schema's, such as `FULLY_CONNECTED`, or a custom operator's own.
        version: of the operator.
        custom: whether it is not one of TFLite's own operators.
        source: where it was read from.
    """

    name: str
    version: int
    custom: bool
    source: schema.OperatorCode | None = None

    @property
    def value(self) -> tuple[str, int, bool]:
        """What makes two codes the same kind of operator."""
        return self.name, self.version, self.custom


class Operator:
    """An operator of a graph.

    Attributes:
        code: its kind.
        custom_options: of a custom operator, as the file has them.
        intermediates: tensors that hold the quantization of what is computed inside it; None if it lists none.
        source: where it was read from; what this class does not know is written as it was there.
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
        self._graph: weakref.ref[Graph] | None = None  # Not a cycle: a file is let go with the last who reads it.
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._options, self._has_options = options, options is not None

    @property
    def kind(self) -> str:
        """The name of its kind."""
        return self.code.name

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors that it reads, with `ABSENT` for an optional one that is left out."""
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
        """The options of one of TFLite's operators, an object of the schema; None if it has none."""
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
        """Returns one of its options by the schema's name; 0, which is also false, if the file has none."""
        return getattr(self.options, name, 0)

    def set_option(self, name: str, value: float) -> None:
        """Sets one of its options by the schema's name."""
        self.options = copy.copy(self.options)
        setattr(self.options, name, value)

    def replace_input(self, place: int, tensor: Tensor) -> None:
        """Makes it read another tensor at one place."""
        self.inputs = (*self.inputs[:place], tensor, *self.inputs[place + 1 :])

    @property
    def graph(self) -> Graph | None:
        """The graph that it is in, if it is in one."""
        return None if self._graph is None else self._graph()

    def place_in(self, graph: Graph | None) -> None:
        """Called by a graph that takes it in or removes it."""
        self._graph = None if graph is None else weakref.ref(graph)

    def _forget_links(self) -> None:
        if self.graph is not None:
            self.graph.forget_links()


class Graph:
    """A subgraph.

    Attributes:
        name: as in the file, often empty.
        tensors: in the order of the file; new ones that operators use are added when the file is written.
        inputs, outputs: of the graph.
        source: where it was read from.
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
        """Called by whatever changes what operators read and compute."""
        self._links = None

    def producer(self, tensor: Tensor, kind: str | None = None) -> Operator | None:
        """Returns the operator that computes a tensor, if there is one, and if it is of `kind`."""
        made = self._linked()[0].get(tensor)
        return made if made is not None and kind in (None, made.kind) else None

    def consumers(self, tensor: Tensor) -> Sequence[Operator]:
        """Returns the operators that read a tensor."""
        return self._linked()[1].get(tensor, [])

    def only_consumer(self, tensor: Tensor) -> Operator | None:
        """Returns the operator that reads a tensor, if it is the only one and the tensor is no output of the graph."""
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
        """Returns a constant's numbers in its shape, also those of a float16 one behind a DEQUANTIZE."""
        if not len(tensor.data):
            unpacked = self.producer(tensor, "DEQUANTIZE")
            if unpacked is not None and unpacked.inputs[0].dtype == "float16":
                half = self.numbers(unpacked.inputs[0])
                return None if half is None else half.astype(np.float32)
        return tensor.numbers()

    def scalar(self, tensor: Tensor) -> float | None:
        """Returns the value of a constant of one element; None for all other tensors."""
        values = self.numbers(tensor)
        return float(values.ravel()[0]) if values is not None and values.size == 1 else None

    def replace(self, replacements: Iterable[tuple[Operator, Sequence[Operator]]]) -> None:
        """Puts operators in the places of others."""
        instead = dict(replacements)
        self.operators = tuple(new for old in self.operators for new in instead.get(old, [old]))

    def read_instead(self, instead: dict[Tensor, Tensor]) -> None:
        """Makes all operators that read a tensor read another one; the outputs of the graph stay as they are."""
        for operator in self.operators:
            operator.inputs = tuple(instead.get(tensor, tensor) for tensor in operator.inputs)

    def drop_unused(self) -> None:
        """Removes operators whose outputs nothing reads."""
        used, kept = set(self.outputs), []
        for operator in reversed(self.operators):
            effect = not operator.outputs or operator.kind in _EFFECTS
            if effect or used.intersection(operator.outputs):
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
    """All of a file.

    Attributes:
        content: of the file that it was read from.
        codes: the kinds of operators that the file lists, in its order.
        graphs: the first is what runs if no signature is named.
        signatures: may be empty.
        metadata: may be empty.
        buffers: those of the file in its order, also those that nothing uses and those behind the flatbuffer.
        metadata_buffer: an older form of `metadata`: indices of buffers, int32; None if there is none.
        source: where it was read from; what this class does not know is written as it was there.
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
        """Returns the first metadata entry of a name."""
        return next((entry for entry in self.metadata if entry.name == name), None)


def operator(
    kind: str,
    inputs: Iterable[Tensor],
    outputs: Iterable[Tensor],
    version: int = 1,
    options: object | None = None,
) -> Operator:
    """Makes one of TFLite's operators, which is in no graph yet; `options` is an object of the schema."""
    return Operator(OperatorCode(kind, version, custom=False), inputs, outputs, options)


def custom_operator(name: str, inputs: Iterable[Tensor], outputs: Iterable[Tensor], options: bytes) -> Operator:
    """Makes a custom operator of version 1, which is in no graph yet."""
    return Operator(OperatorCode(name, 1, custom=True), inputs, outputs, custom_options=options)


def reshape(tensor: Tensor, out: Tensor) -> Operator:
    """Makes a RESHAPE of a tensor to the shape of another one, of which at most one length may be free."""
    shape = np.array(out.free_shape, np.int32)
    assert np.count_nonzero(shape == -1) <= 1, f"{out.name} has the shape {shape.tolist()}"
    target = constant(f"{out.name}_shape", shape)
    return operator("RESHAPE", [tensor, target], [out], options=schema.ReshapeOptionsT(newShape=shape))
