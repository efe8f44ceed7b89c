"""Builds packed files from docs/format.md and computes their outputs in numpy, independently of the packer."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from math import erf

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.build import build, constant, graph, node, tensor
from tfcompress.tflite import reading, writing

TOKENS, WIDTH, HEADS, ROWS = 7, 32, 2, 30


def planes(bits: int):
    """Yields the width in bits and the lowest bit of each bit plane of an index with `bits` bits."""
    low = 0
    for width in (8, 4, 2, 1):
        if bits & width:
            yield width, low
            low += width


def matrix(indices: np.ndarray, bits: int) -> np.ndarray:
    """Packs the indices of an (outputs, inputs) matrix in blocks of 16 outputs x 8 inputs."""
    outputs, inputs = indices.shape
    rows, columns = -(-outputs // 16), -(-inputs // 8)  # of packed blocks
    padded = np.zeros((rows * 16, columns * 8), np.uint8)
    padded[:outputs, :inputs] = indices
    halves = padded.reshape(rows, 16, columns, 2, 4).transpose(0, 2, 3, 1, 4).reshape(rows, columns, 2, 64)
    found = []
    for width, low in planes(bits):
        field = halves >> low & (2**width - 1)
        if width == 8:
            plane = field.reshape(rows, columns, 128)
        elif width == 4:
            plane = field[:, :, 0] | field[:, :, 1] << 4
        elif width == 2:
            quarters = field.reshape(rows, columns, 2, 4, 16)
            plane = sum(quarters[:, :, :, i] << 2 * i for i in range(4)).reshape(rows, columns, 32)
        else:
            plane = np.packbits(field.reshape(rows, columns, 128), axis=-1, bitorder="little")
        found.append(plane.astype(np.uint8))
    return np.concatenate(found, axis=-1).ravel()


def table(indices: np.ndarray, bits: int) -> np.ndarray:
    """Packs the indices of an embedding table row by row."""
    rows, width = indices.shape
    found = []
    for size, low in planes(bits):
        values = indices >> low & (2**size - 1)
        digits = values[..., None] >> np.arange(size) & 1
        line = np.zeros((rows, -(-width // 8) * 8 * size), np.uint8)
        line[:, : width * size] = digits.reshape(rows, -1)
        found.append(np.packbits(line, axis=-1, bitorder="little"))
    return np.concatenate(found, axis=-1).ravel()


@dataclass
class Packed:
    """A graph under construction, with a numpy implementation of each operator in `steps`."""

    seed: int = 0
    tensors: list[schema.TensorT] = field(default_factory=list)
    nodes: list[schema.OperatorT] = field(default_factory=list)
    steps: list = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def add(self, made: schema.TensorT) -> int:
        made.name = f"t{len(self.tensors)}"
        self.tensors.append(made)
        return len(self.tensors) - 1

    def constant(self, values: np.ndarray) -> int:
        return self.add(constant("", values))

    def operator(self, name: str, options: bytes, inputs, shapes, step, type: str = "float32") -> list[int]:
        """Adds an operator; `step` computes its outputs from the values of all tensors so far."""
        outputs = [self.add(tensor("", shape)) for shape in shapes]
        made = node(name, inputs, outputs)
        made.customOptions = np.frombuffer(bytearray(options), np.uint8) if options else None
        self.nodes.append(made)
        self.steps.append((inputs, outputs, step))
        return outputs

    def dense(self, x: int, outputs: int, *, bits=6, int8=False, activation=0, residual=-1, segments=1) -> list[int]:
        inputs = self.tensors[x].shape[-1]
        numbers, weights, biases = [x], [], []
        for _ in range(segments):
            indices = self.rng.integers(0, 2**bits, (outputs, inputs)).astype(np.uint8)
            codebook = np.sort(self.rng.normal(0, inputs**-0.5, 2**bits)).astype(np.float32)
            scale, sums = -1, -1
            if int8:
                factor = np.float32(np.abs(codebook).max() / 127)
                codebook = np.round(codebook / factor).astype(np.int8)
                scale = self.constant(np.array([factor]))
                sums = self.constant(codebook[indices].sum(1, dtype=np.int32))
            bias = self.rng.normal(size=outputs).astype(np.float32)
            weights.append(codebook[indices].astype(np.float32) * (factor if int8 else 1))
            biases.append(bias)
            numbers += [self.constant(matrix(indices, bits)), self.constant(codebook), scale, sums]
            numbers += [self.constant(bias), -1]
        if residual >= 0:
            numbers.append(residual)
        options = struct.pack("<8I", 1, inputs, outputs, bits, int8, activation, segments, residual >= 0)
        shape = (*self.tensors[x].shape[:-1], outputs)

        def step(values):
            given = rounded(values[x]) if int8 else values[x]
            added = values[residual] if residual >= 0 else 0
            return [activate(given @ w.T + b, activation) + added for w, b in zip(weights, biases, strict=True)]

        return self.operator("tfcompress.ClusteredFullyConnected", options, numbers, [shape] * segments, step)

    def embedding(self, ids: int, rows: int, width: int, bits: int = 5) -> int:
        indices = self.rng.integers(0, 2**bits, (rows, width)).astype(np.uint8)
        codebook = self.rng.normal(size=2**bits).astype(np.float32)
        numbers = [ids, self.constant(table(indices, bits)), self.constant(codebook), -1, -1]
        options = struct.pack("<4I", 1, rows, width, bits)
        shape = (*self.tensors[ids].shape, width)
        name = "tfcompress.ClusteredEmbedding"
        return self.operator(name, options, numbers, [shape], lambda values: [codebook[indices][values[ids]]])[0]

    def layer_norm(self, x: int) -> int:
        gamma, beta = self.rng.normal(size=(2, self.tensors[x].shape[-1])).astype(np.float32)

        def step(values):
            centred = values[x] - values[x].mean(-1, keepdims=True)
            return [centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * gamma + beta]

        numbers = [x, self.constant(gamma), self.constant(beta)]
        options = struct.pack("<If", 1, 1e-6)
        return self.operator("tfcompress.LayerNorm", options, numbers, [self.tensors[x].shape], step)[0]

    def attention(self, q: int, k: int, v: int, heads: int, int8: bool = False) -> int:
        batch, tokens, width = self.tensors[q].shape
        scale = np.float32((width / heads) ** -0.5)

        def step(values):
            shape = values[q].shape  # any batch, any length
            split = [values[t].reshape(*shape[:2], heads, width // heads).transpose(0, 2, 1, 3) for t in (q, k, v)]
            scores = split[0] @ split[1].transpose(0, 1, 3, 2) * scale
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = scores / scores.sum(-1, keepdims=True) @ split[2]
            return [mixed.transpose(0, 2, 1, 3).reshape(shape)]

        options = struct.pack("<IIfI", 1, heads, scale, int8)
        return self.operator("tfcompress.Attention", options, [q, k, v], [(batch, tokens, width)], step)[0]

    def file(self, output: int) -> bytes:
        """Returns the file, whose input is the first tensor."""
        content = build(graph(self.tensors, self.nodes, outputs=(output,)))
        return writing.write(reading.read(content), alignment=64)

    def expected(self, given: np.ndarray, output: int) -> np.ndarray:
        """Returns the expected output of the file."""
        values = {0: given}
        for _, outputs, step in self.steps:
            values.update(zip(outputs, step(values), strict=True))
        return values[output]


def activate(x: np.ndarray, activation: int) -> np.ndarray:
    if activation == 1:
        return np.maximum(x, 0)
    return x * (1 + np.vectorize(erf)(x / 2**0.5)) / 2 if activation == 2 else x


def rounded(x: np.ndarray) -> np.ndarray:
    """Quantizes each row to 8 bits and dequantizes it again."""
    low, high = np.minimum(x, 0).min(-1, keepdims=True), np.maximum(x, 0).max(-1, keepdims=True)
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    return (np.clip(np.round(x / scale) + zero, 0, 255) - zero) * scale


def text_encoder(int8: bool = False) -> tuple[Packed, int]:
    """Returns an encoder of token ids (1, TOKENS) with every packed operator and a stock one, and its output tensor."""
    made = Packed()
    ids = made.add(tensor("", (1, TOKENS), "int32"))
    x = made.embedding(ids, ROWS, WIDTH)
    x = made.operator("ADD", b"", [x, x], [(1, TOKENS, WIDTH)], lambda values, x=x: [values[x] * 2])[0]
    for _ in range(2):
        q, k, v = made.dense(made.layer_norm(x), WIDTH, int8=int8, segments=3)
        x = made.dense(made.attention(q, k, v, HEADS, int8), WIDTH, int8=int8, residual=x, bits=4)[0]
        wide = made.dense(made.layer_norm(x), 2 * WIDTH, int8=int8, activation=2, bits=7)[0]
        x = made.dense(wide, WIDTH, int8=int8, residual=x)[0]
    return made, x
