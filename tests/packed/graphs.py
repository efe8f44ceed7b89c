"""Builds graphs by hand, and compares stock files in LiteRT with packed ones in NumPy and in the packed runtime."""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tests.build import build, constant, graph, node, tensor
from tests.native import has_runtime
from tests.packed import reference
from tests.packed.reference import kinds
from tfcompress import runtime
from tfcompress.packed.packer import pack
from tfcompress.packed.unpacker import unpack

DENSE = "ClusteredFullyConnected"
K, N = 24, 40


class Model:
    """A graph that grows operator by operator. Tensor 0 is its input."""

    def __init__(self, *shape: int, seed: int = 0, type: str = "float32") -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors, self.nodes = [], []
        self.tensor(shape, type)

    def tensor(self, shape, type="float32", **more) -> int:
        self.tensors.append(tensor(f"t{len(self.tensors)}", shape, type, **more))
        return len(self.tensors) - 1

    def constant(self, values, kind=np.float32, **more) -> int:
        self.tensors.append(constant(f"c{len(self.tensors)}", np.asarray(values, kind), **more))
        return len(self.tensors) - 1

    def add(self, kind: str, inputs, shape, version: int = 1, type: str = "float32", own=None, **more) -> int:
        out = self.tensor(shape, type, **more)
        made = node(kind, inputs, [out], version)
        if own is not None:
            made.builtinOptions = own
            made.builtinOptionsType = getattr(schema.BuiltinOptions, own.__class__.__name__.removesuffix("T"))
        self.nodes.append(made)
        return out

    def clustered(self, outputs: int, inputs: int, clusters: int = 16) -> np.ndarray:
        centroids = self.rng.normal(0, inputs**-0.5, clusters).astype(np.float32)
        return centroids[self.rng.integers(0, clusters, (outputs, inputs))]

    def dense(self, x, shape, weights=None, bias=True, fused=0, **more) -> int:
        weights = self.clustered(shape[-1], self.tensors[x].shape[-1]) if weights is None else weights
        weights = self.constant(weights, **more) if isinstance(weights, np.ndarray) else weights
        offset = self.constant(self.rng.normal(size=shape[-1])) if bias else -1
        own = schema.FullyConnectedOptionsT(fused, keepNumDims=len(shape) > 2)
        return self.add("FULLY_CONNECTED", (x, weights, offset), shape, 5, own=own)

    def file(self, out: int) -> bytes:
        return build(graph(self.tensors, self.nodes, outputs=(out,)))


def stock(content: bytes, *inputs: np.ndarray, delegates=()) -> np.ndarray:
    interpreter = Interpreter(model_content=content, experimental_delegates=list(delegates))
    interpreter.allocate_tensors()
    for detail, values in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def same(content: bytes, *inputs: np.ndarray) -> list[str]:
    """Checks that a packed and an unpacked file give the outputs of the stock file; returns the packed operators."""
    packed = pack(content, allow_larger=True)
    expected = stock(content, *inputs)
    tolerance = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(reference.run(packed, *inputs), expected, atol=tolerance)
    if has_runtime():
        found = stock(packed, *inputs, delegates=[runtime.load_delegate()])
        np.testing.assert_allclose(found, expected, atol=tolerance)
    unpacked = unpack(packed)
    np.testing.assert_allclose(stock(unpacked, *inputs), expected, atol=tolerance)
    assert pack(unpacked, allow_larger=True) == packed
    return kinds(packed)


def some(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)
