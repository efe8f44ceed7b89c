"""Unpacking: a stock `.tflite` with the weights of a packed one, bit for bit, for runtimes without ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.errors import UserError
from tfcompress.packed import finish
from tfcompress.packed.float_activations import HYBRID
from tfcompress.packed.net import Array, Net, Shape, is_packed
from tfcompress.packed.options import (
    GELU,
    GELU_TANH,
    INT8,
    NONE,
    PREFIX,
    RELU,
    TANH,
    AttentionOptions,
    DenseOptions,
    NormOptions,
    TableOptions,
    read_options,
)
from tfcompress.packed.weights import StoredWeights, dense_weights, table_weights
from tfcompress.tflite import writing
from tfcompress.tflite.attached import with_files_of
from tfcompress.tflite.damage import check, rewriting_carefully

_RELU = 1  # of the schema's ActivationFunctionType


def unpack(content: bytes) -> bytes:
    """Returns a packed file as a stock one.

    Weights are those of the file that was packed: float32, or int8 with their scales, which a dense layer that computed
    in int8 quantizes its input for, as TFLite does it. Other operators become TFLite's own of the oldest versions.

    Args:
        content: of a packed `.tflite`.

    Raises:
        UserError: the file is none, not packed, garbled or of another version.
    """
    model = writing.read(content)
    if not is_packed(model):
        raise UserError("the file is not packed; it runs as it is in TFLite")
    with rewriting_carefully("the packed file"):
        nets = [Net(model, graph) for graph in model.subgraphs]
        for net in nets:
            ours = [operator for operator in net.operators if net.kind(operator).startswith(PREFIX)]
            weights: dict[int, int] = {}
            net.replace((operator, _Stock(net, weights).of(operator)) for operator in ours)
        return with_files_of(content, finish.finish(nets, packed=False))


class _Stock:
    """Makes stock operators of one of ours; `weights` are those made before, by the tensor of their indices."""

    def __init__(self, net: Net, weights: dict[int, int]) -> None:
        self.net, self.weights, self.made = net, weights, list[Any]()
        self.name = ""

    def of(self, operator: Any) -> list[Any]:
        content = b"" if operator.customOptions is None else bytes(operator.customOptions)
        options = read_options(self.net.kind(operator), content)
        self.name = self.net.name(operator.outputs[0])
        if isinstance(options, DenseOptions):
            self._dense(operator, options)
        elif isinstance(options, TableOptions):
            self._table(operator, options)
        elif isinstance(options, AttentionOptions):
            self._attention(operator, options)
        else:
            self._norm(operator, options)
        return self.made

    def _add(self, kind: str, inputs: Sequence[int], output: int | Shape, options: Any = None, version: int = 1) -> int:
        """Adds an operator; its output is a tensor that is there, or a new one of a shape."""
        made = output if isinstance(output, int) else self.net.add_tensor(f"{self.name}/{len(self.made)}", output)
        self.made.append(self.net.make(kind, inputs, [made], version, options))
        return made

    def _constant(self, name: str, values: Array) -> int:
        return self.net.add_constant(f"{self.name}/{name}", values)

    def _unpacked(self, stored: StoredWeights) -> int:
        if stored.tensor not in self.weights:
            name = self.net.name(stored.tensor)
            self.weights[stored.tensor] = self.net.add_constant(name, stored.values(), stored.stock_scale)
        return self.weights[stored.tensor]

    def _dense(self, operator: Any, options: DenseOptions) -> None:
        weights = dense_weights(options, tuple(operator.inputs), self.net.constant)
        check(len(operator.outputs) == len(weights), "a dense layer has not one output a segment")
        for segment, out in zip(weights, operator.outputs, strict=True):
            self.name = self.net.name(out)
            shape = self.net.shape(out)
            given = out if options.activation in (NONE, RELU) and not options.residual else shape
            y = self._product(operator.inputs[0], segment, options, given)
            if options.activation in (GELU, GELU_TANH, TANH):
                kind = "TANH" if options.activation == TANH else "GELU"
                gelu = schema.GeluOptionsT(options.activation == GELU_TANH) if kind == "GELU" else None
                y = self._add(kind, [y], shape if options.residual else out, gelu)
            if options.residual:
                self._add("ADD", [y, operator.inputs[-1]], out, schema.AddOptionsT())

    def _product(self, x: int, segment: StoredWeights, options: DenseOptions, out: int | Shape) -> int:
        net = self.net
        weights = self._unpacked(segment)
        rank = len(net.shape(x))
        kept = schema.FullyConnectedOptionsT(_RELU if options.activation == RELU else 0, keepNumDims=rank != 2)
        version = 1 if rank == 2 else 5
        if net.type(weights) == "int8" and options.computing == INT8:
            kept.asymmetricQuantizeInputs = True
            version = HYBRID[len(segment.scale) > 1]
        elif net.type(weights) == "int8":
            weights = self._dequantized(weights, len(segment.scale) > 1)
        return self._add("FULLY_CONNECTED", [x, weights, segment.bias], out, kept, version)

    def _dequantized(self, tensor: int, per_channel: bool, out: int | None = None) -> int:
        given = self.net.shape(tensor) if out is None else out
        return self._add("DEQUANTIZE", [tensor], given, schema.DequantizeOptionsT(), 5 if per_channel else 2)

    def _table(self, operator: Any, options: TableOptions) -> None:
        net, out = self.net, operator.outputs[0]
        weights = table_weights(options, tuple(operator.inputs), net.constant)
        table = self._unpacked(weights)
        if not len(weights.stock_scale):
            self._add("GATHER", [table, operator.inputs[0]], out, schema.GatherOptionsT())
            return
        rows = net.add_tensor(f"{self.name}/rows", net.shape(out), "int8")
        net.graph.tensors[rows].quantization = net.graph.tensors[table].quantization
        self._add("GATHER", [table, operator.inputs[0]], rows, schema.GatherOptionsT(), 2)
        self._dequantized(rows, False, out)

    def _norm(self, operator: Any, options: NormOptions) -> None:
        net, out = self.net, operator.outputs[0]
        check(len(operator.inputs) == 3, "a LayerNorm has not three inputs")
        x, gamma, beta = operator.inputs
        shape = net.shape(x)
        check(bool(shape), "a LayerNorm is of a number")
        one = (*shape[:-1], 1)
        axes = self._constant("axis", np.array([len(shape) - 1], np.int32))
        epsilon = self._constant("epsilon", np.array(options.epsilon, np.float32))
        keep = schema.ReducerOptionsT(keepDims=True)
        mean = self._add("MEAN", [x, axes], one, keep)
        difference = self._add("SQUARED_DIFFERENCE", [x, mean], shape, schema.SquaredDifferenceOptionsT())
        variance = self._add("MEAN", [difference, axes], one, keep)
        more = self._add("ADD", [variance, epsilon], one, schema.AddOptionsT())
        inverse = self._add("RSQRT", [more], one)
        scale = self._add("MUL", [inverse, gamma], shape, schema.MulOptionsT())
        scaled = self._add("MUL", [x, scale], shape, schema.MulOptionsT())
        moved = self._add("MUL", [mean, scale], shape, schema.MulOptionsT())
        shift = self._add("SUB", [beta, moved], shape, schema.SubOptionsT())
        self._add("ADD", [scaled, shift], out, schema.AddOptionsT())

    def _attention(self, operator: Any, options: AttentionOptions) -> None:
        net, out = self.net, operator.outputs[0]
        check(len(operator.inputs) in (3, 4), "an attention has not three or four inputs")
        shape = net.shape(operator.inputs[0])
        check(len(shape) == 3 and shape[2] % options.heads == 0, "an attention's q does not divide into heads")
        batch, tokens, width = shape
        if tokens == -1:
            raise UserError(f"{net.name(out)}: attention over a free number of tokens cannot be unpacked")
        split = (batch, tokens, options.heads, width // options.heads)
        turned = (batch, options.heads, tokens, split[3])
        scores = (batch, options.heads, tokens, tokens)
        order = self._constant("order", np.array([0, 2, 1, 3], np.int32))
        parts = []
        for tensor in operator.inputs[:3]:
            target = net.add_tensor(f"{self.name}/split", split)
            self.made.append(net.reshape(tensor, target))
            parts.append(self._add("TRANSPOSE", [target, order], turned, schema.TransposeOptionsT()))
        query, key, value = parts
        if options.scale != 1:
            scale = self._constant("scale", np.array(options.scale, np.float32))
            query = self._add("MUL", [query, scale], turned, schema.MulOptionsT())
        product = schema.BatchMatMulOptionsT(adjY=True)
        logits = self._add("BATCH_MATMUL", [query, key], scores, product)
        if len(operator.inputs) == 4 and operator.inputs[3] >= 0:
            mask = self._mask(operator.inputs[3], batch, tokens)
            logits = self._add("ADD", [logits, mask], scores, schema.AddOptionsT())
        shares = self._add("SOFTMAX", [logits], scores, schema.SoftmaxOptionsT(beta=1.0))
        context = self._add("BATCH_MATMUL", [shares, value], turned, schema.BatchMatMulOptionsT())
        joined = self._add("TRANSPOSE", [context, order], split, schema.TransposeOptionsT())
        self.made.append(net.reshape(joined, out))

    def _mask(self, mask: int, batch: int, tokens: int) -> int:
        """Returns the mask in a shape that is the same for all heads and queries."""
        shape = self.net.shape(mask)
        if shape[-1:] == (tokens,) and (shape[:-1] == (batch, 1, 1) or all(size == 1 for size in shape[:-1])):
            return mask
        target = self.net.add_tensor(f"{self.name}/mask", (-1, 1, 1, tokens))
        self.made.append(self.net.reshape(mask, target))
        return target
