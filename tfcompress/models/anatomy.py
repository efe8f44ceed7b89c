"""Finds the parts of a transformer in the graph of a functional model.

These are its attentions, its feed-forward pairs and the layers that write to its residual stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import tensorflow as tf
import tf_keras
from tf_keras.src.engine.keras_tensor import KerasTensor
from tf_keras.src.engine.node import Node

from tfcompress.errors import UserError
from tfcompress.models.layers import MaskBias, ScaledDotProductAttention

Layer: TypeAlias = tf_keras.layers.Layer

_ELEMENTWISE = (tf_keras.layers.Activation, tf_keras.layers.Dropout, tf_keras.layers.ReLU)
"""Layers that may lie between the two Dense layers of a feed-forward pair: they do not mix neurons."""


@dataclass(frozen=True)
class Attention:
    """Layer names of one attention.

    Attributes:
        query, key, value, output: the Dense projections.
        attention: the `ScaledDotProductAttention` between them, which has no weights.
    """

    query: str
    key: str
    value: str
    attention: str
    output: str


@dataclass(frozen=True)
class FeedForward:
    """Layer names of two consecutive Dense layers; only the second reads the first.

    Attributes:
        expand: the first Dense layer.
        activated: the layer whose output is the activated neurons: `expand` itself, or an elementwise layer after it.
        contract: the second Dense layer.
    """

    expand: str
    activated: str
    contract: str


@dataclass(frozen=True)
class ResidualWriter:
    """Layer names around a Dense layer whose output is added to the residual stream.

    Attributes:
        dense: the Dense layer.
        residual: the layer whose output it is added to.
        add: the Add.
        norm: the LayerNormalization after the Add if it is part of the stream (post-norm, as in BERT), or None if it
            only precedes the next part (pre-norm, as in ViT).
    """

    dense: str
    residual: str
    add: str
    norm: str | None


class Anatomy:
    """The graph of a functional model that calls each layer once, and the parts of the transformer in it.

    Attributes:
        model: the model.
        nodes: the layer calls in topological order, without inputs.
        attentions, feed_forwards: the parts, in the same order.
    """

    def __init__(self, model: tf_keras.Model) -> None:
        """Reads the graph of a model.

        Raises:
            UserError: if the model calls a layer more than once.
        """
        self.model = model
        depths = sorted(model._nodes_by_depth, reverse=True)
        self.nodes: list[Node] = [
            node for depth in depths for node in model._nodes_by_depth[depth] if not node.is_input
        ]
        self._readers: dict[str, list[Layer]] = {layer.name: [] for layer in model.layers}
        self._sources: dict[str, list[Layer]] = {}
        for node in self.nodes:
            if node.layer.name in self._sources:
                raise UserError(
                    f"layer {node.layer.name} is used twice in model {model.name}; give each use a layer of its own"
                )
            self._sources[node.layer.name] = [parent.layer for parent in node.parent_nodes]
            for source in self._sources[node.layer.name]:
                self._readers[source.name].append(node.layer)
        self.attentions = list(self._find_attentions())
        self.feed_forwards = list(self._find_feed_forwards())

    def sources(self, layer: Layer) -> list[Layer]:
        """Returns the layers whose outputs are the inputs of a layer, in the order of its arguments."""
        return self._sources.get(layer.name, [])

    def readers(self, layer: Layer) -> list[Layer]:
        """Returns the layers that read the output of a layer."""
        return self._readers[layer.name]

    def last_of_chain(self, layer: Layer, kinds: tuple[type[Layer], ...]) -> Layer:
        """Follows the layers of `kinds` after `layer`, while each output has a single reader, and returns the last."""
        while len(self.readers(layer)) == 1 and isinstance(self.readers(layer)[0], kinds):
            layer = self.readers(layer)[0]
        return layer

    @cached_property
    def writers(self) -> list[ResidualWriter]:
        """The layers that write to the residual stream, in order.

        Raises:
            UserError: if the model has no attention, or the output of a part is not added to anything.
        """
        if not self.attentions:
            raise UserError(
                f"model {self.model.name} has no attention with Dense query, key, value and output; pass a transformer "
                "encoder such as those in tfcompress.models"
            )
        dense = {part.output for part in self.attentions} | {pair.contract for pair in self.feed_forwards}
        dense -= set(self.model.output_names)
        return [self._writer(node.layer) for node in self.nodes if node.layer.name in dense]

    @property
    def stream(self) -> list[str]:
        """The layers whose outputs are the residual stream: at its beginning, and after each writer."""
        return [self.writers[0].residual, *(writer.norm or writer.add for writer in self.writers)]

    @property
    def post_norm(self) -> bool:
        """Whether LayerNormalization is part of the residual stream (BERT) or precedes each part (ViT)."""
        return self.writers[0].norm is not None

    @property
    def mask(self) -> str | None:
        """The name of the input `(batch, tokens)` that is 1 for real tokens and 0 for padding, if there is one."""
        biases = (node.layer for node in self.nodes if type(node.layer) is MaskBias)
        sources = (self.sources(bias)[0] for bias in biases)
        found = (s for s in sources if isinstance(s, tf_keras.layers.InputLayer) and s.output.shape.rank == 2)
        return next((str(source.name) for source in found), None)

    def _writer(self, layer: Layer) -> ResidualWriter:
        written = self.last_of_chain(layer, (tf_keras.layers.Dropout,))
        readers = self.readers(written)
        if len(readers) != 1 or not isinstance(readers[0], tf_keras.layers.Add):
            found = ", ".join(f"{reader.name} ({type(reader).__name__})" for reader in readers)
            raise UserError(
                f"layer {layer.name} is followed by {found or 'nothing'}; it must be followed by an Add with the "
                "residual"
            )
        add = readers[0]
        residual = next(source for source in self.sources(add) if source is not written)
        after = self.readers(add)
        # The final norm of a pre-norm encoder is the only reader of its Add too, but there the residual is not the
        # output of a norm.
        in_stream = len(after) == 1 and self._is_norm(after[0]) and self._is_norm(self._before_dropout(residual))
        return ResidualWriter(layer.name, residual.name, add.name, after[0].name if in_stream else None)

    def _is_norm(self, layer: Layer) -> bool:
        return isinstance(layer, tf_keras.layers.LayerNormalization)

    def _before_dropout(self, layer: Layer) -> Layer:
        while isinstance(layer, tf_keras.layers.Dropout):
            layer = self.sources(layer)[0]
        return layer

    def _find_attentions(self) -> Iterator[Attention]:
        for node in self.nodes:
            if type(node.layer) is not ScaledDotProductAttention:
                continue
            before = self.sources(node.layer)[:3]
            last = self.last_of_chain(node.layer, (tf_keras.layers.Dropout,))
            after = self.readers(last)
            parts = [*before, *after]
            if len(parts) == 4 and all(type(part) is tf_keras.layers.Dense for part in parts):
                query, key, value, output = (part.name for part in parts)
                yield Attention(query, key, value, node.layer.name, output)

    def _find_feed_forwards(self) -> Iterator[FeedForward]:
        taken = {name for found in self.attentions for name in (found.query, found.key, found.value, found.output)}
        for node in self.nodes:
            first = node.layer
            if type(first) is not tf_keras.layers.Dense or first.name in taken:
                continue
            last = self.last_of_chain(first, _ELEMENTWISE)
            after = self.readers(last)
            if len(after) == 1 and type(after[0]) is tf_keras.layers.Dense and after[0].name not in taken:
                taken.add(after[0].name)
                yield FeedForward(first.name, last.name, after[0].name)


def input_tables(model: tf_keras.Model) -> list[tuple[str, Layer]]:
    """Returns the Embedding layers that read an input directly, each as a pair of the input's name and the layer."""
    tables = (layer for layer in model.layers if type(layer) is tf_keras.layers.Embedding)
    found = ((table.inbound_nodes[0].inbound_layers, table) for table in tables)
    return [(str(s.name), table) for s, table in found if isinstance(s, tf_keras.layers.InputLayer)]


def run_node(node: Node, values: Mapping[str, tf.Tensor], layer: Layer | None = None) -> tf.Tensor:
    """Calls the layer of a node on actual values.

    Args:
        node: one of `Anatomy.nodes`.
        values: the outputs of the layers that the node reads, by layer name.
        layer: called instead of the node's own, with the same arguments.
    """

    def value(argument: object) -> tf.Tensor:
        return values[argument.node.layer.name] if isinstance(argument, KerasTensor) else argument

    args, kwargs = tf.nest.map_structure(value, (tuple(node.call_args), dict(node.call_kwargs)))
    return (layer or node.layer)(*args, **kwargs)
