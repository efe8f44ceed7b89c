"""Builds `.tflite` files by hand, for content that the converter does not write."""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


def tensor(name: str, shape: Sequence[int], type: str = "float32", data: bytes | None = None, **more) -> schema.TensorT:
    """A tensor; `more` are `scales`, `zero_points`, `axis`, `scale_tensor` (for scales per block) and `sparsity`."""
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = more.get("scales"), more.get("zero_points")
    quantization.quantizedDimension = more.get("axis", 0)
    if "scale_tensor" in more:
        quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
        quantization.details = schema.BlockwiseQuantizationT(more["scale_tensor"], blockSize=32)
    made = schema.TensorT(list(shape), getattr(schema.TensorType, type.upper()), name=name, quantization=quantization)
    made.sparsity, made.data = more.get("sparsity"), data
    return made


def constant(name: str, values: np.ndarray, **more) -> schema.TensorT:
    """A constant with the type and shape of `values`."""
    return tensor(name, values.shape, str(values.dtype), values.tobytes(), **more)


def packed(values: np.ndarray, bits: int) -> bytes:
    """Packs small integers, the first into the lowest bits of a byte, and fills the last byte with zeros."""
    fields = values.ravel().astype(np.uint8) & (2**bits - 1)
    fields = np.pad(fields, (0, -len(fields) % (8 // bits))).reshape(-1, 8 // bits)
    return (fields << np.arange(0, 8, bits, dtype=np.uint8)).sum(1).astype(np.uint8).tobytes()


def node(operator: str, inputs: Sequence[int], outputs: Sequence[int], version: int = 1) -> schema.OperatorT:
    """An operator; with a name that the schema does not have it is a custom operator."""
    made = schema.OperatorT(inputs=list(inputs), outputs=list(outputs))
    made.operator, made.version = operator, version
    return made


def composite(name: str, inputs: Sequence[int], outputs: Sequence[int], body: int) -> schema.OperatorT:
    """An operator that is computed by another graph of the file unless a runtime knows it by name."""
    made = node("STABLEHLO_COMPOSITE", inputs, outputs)
    made.builtinOptions2Type = schema.BuiltinOptions2.StableHLOCompositeOptions
    made.builtinOptions2 = schema.StableHLOCompositeOptionsT(name, body, np.frombuffer(b"\0\0\1", np.uint8))
    return made


def graph(tensors, nodes, inputs=(0,), outputs=(), name: str = "") -> schema.SubGraphT:
    return schema.SubGraphT(tensors, list(inputs), list(outputs), nodes, name)


def build(*graphs: schema.SubGraphT, metadata: dict[str, bytes] | None = None, signatures=()) -> bytes:
    """The file of some graphs. Tensors whose data are the same object share a buffer.

    `signatures` are `(name, graph, inputs, outputs)`; inputs and outputs are indices of tensors by name.
    """
    codes: dict[tuple[str, int], int] = {}
    buffers, places = [schema.BufferT()], {}

    def place(data: bytes | None) -> int:
        if data is None:
            return 0
        if id(data) not in places:
            places[id(data)] = len(buffers)
            buffers.append(schema.BufferT(np.frombuffer(data, np.uint8)))
        return places[id(data)]

    for one in graphs:
        for made in one.tensors:
            made.buffer = place(made.data)
        for operator in one.operators:
            operator.opcodeIndex = codes.setdefault((operator.operator, operator.version), len(codes))
    model = schema.ModelT(3, [_code(*code) for code in codes], list(graphs), "by hand", buffers)
    model.metadata = [schema.MetadataT(name, place(data)) for name, data in (metadata or {}).items()]
    model.signatureDefs = [
        schema.SignatureDefT(
            *([schema.TensorMapT(*end) for end in ends.items()] for ends in (inputs, outputs)), name, at
        )
        for name, at, inputs, outputs in signatures
    ]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def dense_file(weights: schema.TensorT, x: str = "x", **more) -> bytes:
    """The file of one FULLY_CONNECTED with the weights `(outputs, inputs)`; `more` goes to `build`."""
    outputs, inputs = weights.shape[0], weights.shape[-1]
    tensors = [tensor(x, (1, inputs)), weights, tensor("y", (1, outputs))]
    return build(graph(tensors, [node("FULLY_CONNECTED", (0, 1, -1), (2,), 6)], outputs=(2,)), **more)


def _code(operator: str, version: int) -> schema.OperatorCodeT:
    number = getattr(schema.BuiltinOperator, operator, schema.BuiltinOperator.CUSTOM)
    own = operator if number == schema.BuiltinOperator.CUSTOM else None
    return schema.OperatorCodeT(min(number, 127), own, version, number)
