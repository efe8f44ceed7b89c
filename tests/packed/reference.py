"""Runs packed files in NumPy in float64: the custom operators as docs/format.md defines them, and some stock ones."""

from __future__ import annotations

from math import erf

import numpy as np

from tfcompress.packed.options import DenseOptions, read_options
from tfcompress.packed.weights import weights_of
from tfcompress.tflite import reading
from tfcompress.tflite.tensor import ABSENT

_GELU_TANH = (2 / np.pi) ** 0.5
_ACTIVATIONS = (
    lambda x: x,
    lambda x: np.maximum(x, 0),
    lambda x: x * (1 + np.vectorize(erf)(x / 2**0.5)) / 2,
    lambda x: x * (1 + np.tanh(_GELU_TANH * (x + 0.044715 * x**3))) / 2,
    np.tanh,
)
_STOCK = {
    "ADD": lambda a, b: a + b,
    "MUL": lambda a, b: a * b,
    "RELU": lambda x: np.maximum(x, 0),
    "RELU6": lambda x: np.clip(x, 0, 6),
    "RESHAPE": lambda x, shape: x.reshape(shape),
    "TRANSPOSE": lambda x, order: x.transpose(order),
}


def kinds(content: bytes) -> list[str]:
    """The kinds of operators of a file in order; custom ones without their prefix."""
    return [node.kind.removeprefix("tfcompress.") for node in reading.read(content).graphs[0].operators]


def options(content: bytes, place: int):
    """The options of a custom operator."""
    node = reading.read(content).graphs[0].operators[place]
    return read_options(node.kind, node.custom_options)


def run(content: bytes, *inputs: np.ndarray) -> np.ndarray:
    """The first output of the first graph, always computed in floating point."""
    graph = reading.read(content).graphs[0]
    values = {tensor: tensor.values() for tensor in graph.tensors if len(tensor.data)}
    values |= dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.operators:
        given = [values.get(tensor) for tensor in node.inputs]
        name = node.kind.removeprefix("tfcompress.")
        step = _STOCK.get(name)
        found = [step(*given)] if step else _OURS[name](node, given)
        values |= dict(zip(node.outputs, found, strict=True))
    return values[graph.outputs[0]]


def _weights(node):
    for one in weights_of(node):
        scale = one.scale[:, None] if len(one.scale) > 1 else one.scale if len(one.scale) else 1
        yield one.codebook.astype(np.float64)[one.indices] * scale, one.bias


def _dense(node, given):
    own = read_options(node.kind, node.custom_options)
    assert isinstance(own, DenseOptions)
    residual = given[-1] if own.residual else 0
    found = []
    for weights, bias in _weights(node):
        product = given[0] @ weights.T + (bias.values() if bias is not ABSENT else 0)
        found.append(_ACTIVATIONS[own.activation](product) + residual)
    return found


def _table(node, given):
    return [next(_weights(node))[0][given[0]]]


def _attention(node, given):
    own = read_options(node.kind, node.custom_options)
    q, k, v, *mask = given
    batch, tokens, width = q.shape
    split = [x.reshape(batch, tokens, own.heads, -1).transpose(0, 2, 1, 3) for x in (q, k, v)]
    scores = split[0] @ split[1].transpose(0, 1, 3, 2) * own.scale
    if mask:
        scores = scores + mask[0].reshape(-1, 1, 1, tokens)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    context = shares / shares.sum(-1, keepdims=True) @ split[2]
    return [context.transpose(0, 2, 1, 3).reshape(batch, tokens, width)]


def _norm(node, given):
    x, gamma, beta = given
    epsilon = read_options(node.kind, node.custom_options).epsilon
    centred = x - x.mean(-1, keepdims=True)
    return [centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * gamma + beta]


_OURS = {
    "ClusteredFullyConnected": _dense,
    "ClusteredEmbedding": _table,
    "Attention": _attention,
    "LayerNorm": _norm,
}
