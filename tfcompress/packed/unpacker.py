"""Unpacks a packed file into a stock `.tflite` file, with the same weights, which runs without the packed runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfcompress.errors import UserError
from tfcompress.packed.codebook import Codebook
from tfcompress.packed.float_activations import HYBRID_VERSIONS
from tfcompress.packed.options import (
    ALIGNMENT,
    METADATA_ENTRY,
    PREFIX,
    RUNTIMES,
    Activation,
    AttentionOptions,
    Computing,
    DenseOptions,
    LayerNormOptions,
    TableOptions,
    is_packed,
    read_options,
)
from tfcompress.packed.stock_codebooks import write_codebooks
from tfcompress.packed.weights import PackedWeights, check, dense_weights, table_weights
from tfcompress.tflite.attached import with_attached_files
from tfcompress.tflite.damage import reporting_damage
from tfcompress.tflite.graph import Content, Model, Operator, reshape
from tfcompress.tflite.graph import operator as stock_operator
from tfcompress.tflite.ordering import order_by_use
from tfcompress.tflite.reading import read
from tfcompress.tflite.runtimes import state_runtime
from tfcompress.tflite.tensor import ABSENT, Array, Shape, Tensor, computed, constant
from tfcompress.tflite.writing import write

_RELU = 1  # in the schema's ActivationFunctionType
_LOOKUP_VERSION = 4  # of EMBEDDING_LOOKUP in int8 tables with a scale per row


def unpack(source: Content | Model) -> bytes:
    """Turns a packed file back into a stock file.

    It has the weights of the file that was packed: float32, or int8 with their scales. A dense layer with int8 weights
    that computed in int8 quantizes its input at run time, as TFLite does. All operators become TFLite's own, in the
    oldest version that fits.

    Args:
        source: the bytes of a packed `.tflite` file, or what was read from them, which is changed.

    Raises:
        UserError: the file is not a valid `.tflite` file, not packed, damaged, or of another version of the format.
    """
    model = source if isinstance(source, Model) else read(source)
    if not is_packed(model):
        raise UserError("the file is not packed; TFLite runs it as it is")
    codebooks: dict[str, Codebook] = {}
    with reporting_damage("the packed file"):
        for graph in model.graphs:
            ours = [operator for operator in graph.operators if operator.kind.startswith(PREFIX)]
            weights: dict[Tensor, Tensor] = {}
            graph.replace((operator, _StockOperators(weights, codebooks).of(operator)) for operator in ours)
        write_codebooks(model, codebooks)
        model.metadata = [entry for entry in model.metadata if entry.name != METADATA_ENTRY]
        order_by_use(model)
        state_runtime(model, at_least_as_before=False, custom=RUNTIMES)
        return with_attached_files(model.content, write(model, ALIGNMENT))


class _StockOperators:
    """Builds the stock operators for one custom operator.

    Attributes:
        weights: the unpacked weights so far, by the tensor of their indices.
        codebooks: those of the unpacked weights so far, by their names.
        made: the operators built so far.
        name: the prefix of the names of new tensors.
    """

    def __init__(self, weights: dict[Tensor, Tensor], codebooks: dict[str, Codebook]) -> None:
        self.weights, self.codebooks, self.made = weights, codebooks, list[Operator]()
        self.name = ""

    def of(self, operator: Operator) -> list[Operator]:
        """Returns the stock operators that replace a custom operator."""
        options = read_options(operator.kind, operator.custom_options)
        self.name = operator.outputs[0].name
        if isinstance(options, DenseOptions):
            self._dense(operator, options)
        elif isinstance(options, TableOptions):
            self._table(operator, options)
        elif isinstance(options, AttentionOptions):
            self._attention(operator, options)
        else:
            self._layer_norm(operator, options)
        return self.made

    def _add(
        self,
        kind: str,
        inputs: Sequence[Tensor],
        output: Tensor | Shape,
        options: object | None = None,
        version: int = 1,
    ) -> Tensor:
        """Adds an operator with a given output tensor, or with a new one of a given shape. Returns the output."""
        made = output if isinstance(output, Tensor) else computed(f"{self.name}/{len(self.made)}", output)
        self.made.append(stock_operator(kind, inputs, [made], version, options))
        return made

    def _constant(self, name: str, values: Array) -> Tensor:
        return constant(f"{self.name}/{name}", values)

    def _unpacked(self, packed: PackedWeights) -> Tensor:
        if packed.tensor not in self.weights:
            book = packed.stock_codebook
            self.codebooks[packed.tensor.name] = book
            self.weights[packed.tensor] = constant(packed.tensor.name, book.values(), packed.stock_scale)
        return self.weights[packed.tensor]

    def _dense(self, operator: Operator, options: DenseOptions) -> None:
        weights = dense_weights(options, operator.inputs)
        check(len(operator.outputs) == len(weights), "a dense layer does not have one output per segment")
        for segment, out in zip(weights, operator.outputs, strict=True):
            self.name = out.name
            shape = out.free_shape
            given = out if options.activation in (Activation.NONE, Activation.RELU) and not options.residual else shape
            y = self._product(operator.inputs[0], segment, options, given)
            if options.activation in (Activation.GELU, Activation.GELU_TANH, Activation.TANH):
                kind = "TANH" if options.activation == Activation.TANH else "GELU"
                gelu = schema.GeluOptionsT(options.activation == Activation.GELU_TANH) if kind == "GELU" else None
                y = self._add(kind, [y], shape if options.residual else out, gelu)
            if options.residual:
                self._add("ADD", [y, operator.inputs[-1]], out, schema.AddOptionsT())

    def _product(self, x: Tensor, segment: PackedWeights, options: DenseOptions, out: Tensor | Shape) -> Tensor:
        weights = self._unpacked(segment)
        rank = len(x.free_shape)
        kept = schema.FullyConnectedOptionsT(
            _RELU if options.activation == Activation.RELU else 0, keepNumDims=rank != 2
        )
        version = 1 if rank == 2 else 5
        if weights.dtype == "int8" and options.computing == Computing.INT8:
            kept.asymmetricQuantizeInputs = True
            version = HYBRID_VERSIONS[len(segment.scale) > 1]
        elif weights.dtype == "int8":
            weights = self._dequantized(weights, len(segment.scale) > 1)
        return self._add("FULLY_CONNECTED", [x, weights, segment.bias], out, kept, version)

    def _dequantized(self, tensor: Tensor, per_channel: bool, out: Tensor | None = None) -> Tensor:
        given = tensor.free_shape if out is None else out
        return self._add("DEQUANTIZE", [tensor], given, schema.DequantizeOptionsT(), 5 if per_channel else 2)

    def _table(self, operator: Operator, options: TableOptions) -> None:
        out = operator.outputs[0]
        weights = table_weights(options, operator.inputs)
        table = self._unpacked(weights)
        ids = operator.inputs[0]
        if not len(weights.stock_scale):
            self._add("GATHER", [table, ids], out, schema.GatherOptionsT())
            return
        if len(weights.stock_scale) > 1:
            self._lookup(ids, table, out)
            return
        rows = computed(f"{self.name}/rows", out.free_shape, "int8")
        rows.scales, rows.zero_points = table.scales, table.zero_points
        self._add("GATHER", [table, ids], rows, schema.GatherOptionsT(), 2)
        self._dequantized(rows, False, out)

    def _lookup(self, ids: Tensor, table: Tensor, out: Tensor) -> None:
        """Looks up the rows of an int8 table that have a scale each, which only EMBEDDING_LOOKUP can."""
        flat, rows = ids, out
        if len(ids.free_shape) != 1:
            flat = computed(f"{self.name}/ids", (-1,), "int32")
            self.made.append(reshape(ids, flat))
            rows = computed(f"{self.name}/rows", (-1, table.free_shape[1]))
        self._add("EMBEDDING_LOOKUP", [flat, table], rows, version=_LOOKUP_VERSION)
        if rows is not out:
            self.made.append(reshape(rows, out))

    def _layer_norm(self, operator: Operator, options: LayerNormOptions) -> None:
        out = operator.outputs[0]
        check(len(operator.inputs) == 3, "a LayerNorm does not have three inputs")
        x, gamma, beta = operator.inputs
        shape = x.free_shape
        check(bool(shape), "the input of a LayerNorm has no axes")
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

    def _attention(self, operator: Operator, options: AttentionOptions) -> None:
        out = operator.outputs[0]
        check(len(operator.inputs) in (3, 4), "an attention does not have three or four inputs")
        shape = operator.inputs[0].free_shape
        check(
            len(shape) == 3 and shape[2] % options.heads == 0,
            "the width of an attention is not a multiple of its heads",
        )
        batch, tokens, width = shape
        if tokens == -1:
            raise UserError(
                f"{out.name}: attention over a free number of tokens cannot be unpacked; use the stock file"
            )
        split = (batch, tokens, options.heads, width // options.heads)
        turned = (batch, options.heads, tokens, split[3])
        scores = (batch, options.heads, tokens, tokens)
        order = self._constant("order", np.array([0, 2, 1, 3], np.int32))
        parts = []
        for tensor in operator.inputs[:3]:
            target = computed(f"{self.name}/split", split)
            self.made.append(reshape(tensor, target))
            parts.append(self._add("TRANSPOSE", [target, order], turned, schema.TransposeOptionsT()))
        query, key, value = parts
        if options.scale != 1:
            scale = self._constant("scale", np.array(options.scale, np.float32))
            query = self._add("MUL", [query, scale], turned, schema.MulOptionsT())
        product = schema.BatchMatMulOptionsT(adjY=True)
        logits = self._add("BATCH_MATMUL", [query, key], scores, product)
        if len(operator.inputs) == 4 and operator.inputs[3] is not ABSENT:
            mask = self._mask(operator.inputs[3], batch, tokens)
            logits = self._add("ADD", [logits, mask], scores, schema.AddOptionsT())
        shares = self._add("SOFTMAX", [logits], scores, schema.SoftmaxOptionsT(beta=1.0))
        context = self._add("BATCH_MATMUL", [shares, value], turned, schema.BatchMatMulOptionsT())
        joined = self._add("TRANSPOSE", [context, order], split, schema.TransposeOptionsT())
        self.made.append(reshape(joined, out))

    def _mask(self, mask: Tensor, batch: int, tokens: int) -> Tensor:
        """Returns the mask in a shape that broadcasts over all heads and queries."""
        shape = mask.free_shape
        if shape[-1:] == (tokens,) and (shape[:-1] == (batch, 1, 1) or all(size == 1 for size in shape[:-1])):
            return mask
        target = computed(f"{self.name}/mask", (-1, 1, 1, tokens))
        self.made.append(reshape(mask, target))
        return target
