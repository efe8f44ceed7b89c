"""A graph of a `.tflite` while it is rewritten: what makes and reads each tensor, and new tensors and operators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tfcompress.packed.options import PREFIX, Options
from tfcompress.tflite.reading import OPERATORS, TYPES

Shape = tuple[int, ...]
Array = npt.NDArray[Any]

_NUMPY = ("float32", "float16", "int8", "uint8", "int32", "int64", "bool")
_EFFECTS = ("ASSIGN_VARIABLE", "CALL_ONCE", "CALL", "IF", "WHILE", "HASHTABLE", "HASHTABLE_IMPORT", "VAR_HANDLE")
"""Operators that do something even where nothing reads their outputs."""


class Net:
    """One graph; `operators` are in the order they run in, tensors are indices.

    Attributes:
        model: the whole file, as `rewriting.read` returns it.
        graph: that is rewritten.
    """

    def __init__(self, model: Any, graph: Any) -> None:
        self.model, self.graph = model, graph
        graph.tensors = graph.tensors or []
        graph.operators = graph.operators or []
        graph.inputs, graph.outputs = _indices(graph.inputs), _indices(graph.outputs)
        for operator in graph.operators:
            operator.inputs, operator.outputs = _indices(operator.inputs), _indices(operator.outputs)
        self._links: tuple[dict[int, Any], dict[int, list[Any]]] | None = None

    @property
    def operators(self) -> list[Any]:
        """The operators; whoever changes one calls `changed`."""
        found: list[Any] = self.graph.operators
        return found

    def kind(self, operator: Any) -> str:
        """Returns the schema's name of an operator, or a custom operator's own."""
        if operator is None:
            return ""
        code = self.model.operatorCodes[operator.opcodeIndex]
        if code.customCode:
            return _text(code.customCode)
        return OPERATORS.get(_number(code), "")

    def name(self, tensor: int) -> str:
        """Returns a tensor's name."""
        return _text(self.graph.tensors[tensor].name)

    def type(self, tensor: int) -> str:
        """Returns a tensor's type, such as `float32`."""
        return TYPES.get(self.graph.tensors[tensor].type, "")

    def shape(self, tensor: int) -> Shape:
        """Returns a tensor's shape, with -1 for what is free."""
        found = self.graph.tensors[tensor]
        shape = found.shape if found.shapeSignature is None else found.shapeSignature
        return () if shape is None else tuple(int(size) for size in shape)

    def scales(self, tensor: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], int]:
        """Returns scales, zero points and the axis along which they differ; empty if it has none."""
        found = self.graph.tensors[tensor].quantization
        scales = np.asarray([] if found is None or found.scale is None else found.scale, np.float32)
        points = np.asarray([] if found is None or found.zeroPoint is None else found.zeroPoint, np.int64)
        return scales, points, 0 if found is None else found.quantizedDimension

    def constant(self, tensor: int) -> Array | None:
        """Returns the numbers of a constant in its shape, also of a float16 one behind a DEQUANTIZE."""
        if tensor < 0:
            return None
        found = self.graph.tensors[tensor]
        data = self.model.buffers[found.buffer].data
        if data is None or not len(data):
            maker = self.producer(tensor)
            if self.kind(maker) == "DEQUANTIZE" and self.type(maker.inputs[0]) == "float16":
                half = self.constant(maker.inputs[0])
                return None if half is None else half.astype(np.float32)
            return None
        if self.type(tensor) not in _NUMPY or found.sparsity is not None:
            return None
        return np.asarray(data, np.uint8).view(np.dtype(self.type(tensor)).newbyteorder("<")).reshape(found.shape)

    def scalar(self, tensor: int) -> float | None:
        """Returns the value of a constant of one element."""
        values = self.constant(tensor)
        return float(values.ravel()[0]) if values is not None and values.size == 1 else None

    def producer(self, tensor: int) -> Any:
        """Returns the operator that makes a tensor, or None."""
        return self._linked()[0].get(tensor)

    def consumers(self, tensor: int) -> list[Any]:
        """Returns the operators that read a tensor."""
        return self._linked()[1].get(tensor, [])

    def only_consumer(self, tensor: int) -> Any:
        """Returns the operator that reads a tensor, if it is one and the graph does not give the tensor."""
        readers = self.consumers(tensor)
        return readers[0] if len(readers) == 1 and tensor not in self.graph.outputs else None

    def changed(self) -> None:
        """Forgets what makes and reads tensors."""
        self._links = None

    def _linked(self) -> tuple[dict[int, Any], dict[int, list[Any]]]:
        if self._links is None:
            made = {tensor: operator for operator in self.operators for tensor in operator.outputs}
            read: dict[int, list[Any]] = {}
            for operator in self.operators:
                for tensor in dict.fromkeys(operator.inputs):
                    read.setdefault(tensor, []).append(operator)
            self._links = made, read
        return self._links

    def add_tensor(self, name: str, shape: Sequence[int], type: str = "float32") -> int:
        """Adds a tensor that is computed; -1 in the shape is free."""
        fixed = [abs(size) for size in shape]
        made = schema.TensorT(fixed, getattr(schema.TensorType, type.upper()), 0, name.encode(), hasRank=True)
        made.shapeSignature = list(shape) if -1 in shape else None
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def add_constant(self, name: str, values: Array, scales: npt.NDArray[np.float32] | None = None) -> int:
        """Adds a constant of the type and shape of `values`; int8 ones may have one scale, or one a row."""
        made = self.add_tensor(name, values.shape, str(values.dtype))
        self.model.buffers.append(schema.BufferT(np.ascontiguousarray(values).reshape(-1).view(np.uint8)))
        self.graph.tensors[made].buffer = len(self.model.buffers) - 1
        if scales is not None and len(scales):
            quantization = schema.QuantizationParametersT(scale=scales, zeroPoint=np.zeros(len(scales), np.int64))
            self.graph.tensors[made].quantization = quantization
        return made

    def make(
        self, kind: str, inputs: Sequence[int], outputs: Sequence[int], version: int = 1, options: Any = None
    ) -> Any:
        """Returns a new operator that stands nowhere yet.

        Args:
            kind: the schema's name.
            inputs: of it.
            outputs: of it.
            version: of it.
            options: an object of the schema.
        """
        made = schema.OperatorT(self._code(kind, version), list(inputs), list(outputs))
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        return made

    def make_custom(self, options: Options, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
        """Returns a new operator of ours that stands nowhere yet."""
        made = schema.OperatorT(self._code(options.name, 1), list(inputs), list(outputs))
        made.customOptions = np.frombuffer(options.pack(), np.uint8)
        return made

    def reshape(self, tensor: int, out: int) -> Any:
        """Returns a RESHAPE of a tensor to the shape of another one, of which at most one axis may be free."""
        shape = np.array(self.shape(out), np.int32)
        assert np.count_nonzero(shape == -1) <= 1, f"{self.name(out)} has the shape {shape.tolist()}"
        target = self.add_constant(f"{self.name(out)}_shape", shape)
        return self.make("RESHAPE", [tensor, target], [out], options=schema.ReshapeOptionsT(newShape=shape))

    def _code(self, kind: str, version: int) -> int:
        codes = self.model.operatorCodes
        custom = kind.startswith(PREFIX)
        number = schema.BuiltinOperator.CUSTOM if custom else getattr(schema.BuiltinOperator, kind)
        for index, code in enumerate(codes):
            if (_number(code), code.version, _text(code.customCode)) == (number, version, kind if custom else ""):
                return index
        codes.append(schema.OperatorCodeT(min(number, 127), kind.encode() if custom else None, version, number))
        return len(codes) - 1

    def replace(self, replacements: Iterable[tuple[Any, Sequence[Any]]]) -> None:
        """Puts operators in the places of others."""
        instead = {id(old): new for old, new in replacements}
        self.graph.operators = [new for old in self.operators for new in instead.get(id(old), [old])]
        self.changed()

    def read_instead(self, instead: dict[int, int]) -> None:
        """Makes all that reads a tensor read another; the graph gives what it gave."""
        for operator in self.operators:
            operator.inputs = [instead.get(tensor, tensor) for tensor in operator.inputs]
        self.changed()

    def drop_unused(self) -> None:
        """Removes operators whose outputs nothing reads."""
        used, kept = set(self.graph.outputs), []
        for operator in reversed(self.operators):
            effect = not operator.outputs or self.kind(operator) in _EFFECTS
            if effect or used.intersection(operator.outputs):
                kept.append(operator)
                used.update(operator.inputs)
        self.graph.operators = kept[::-1]
        self.changed()


def is_packed(model: Any) -> bool:
    """Tells whether a model has operators of ours."""
    return any(_text(code.customCode).startswith(PREFIX) for code in model.operatorCodes or [])


def option(operator: Any, name: str) -> Any:
    """Returns an option of a stock operator by the schema's name; 0, which is false, where the file has none."""
    return getattr(operator.builtinOptions, name, 0)


def _number(code: Any) -> int:
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _text(content: bytes | None) -> str:
    return (content or b"").decode(errors="replace")


def _indices(values: Any) -> list[int]:
    return [] if values is None else [int(value) for value in values]
