"""Finds the parts of a transformer in the graph of a functional model: its attentions and its feed-forward pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import tensorflow as tf
import tf_keras
from tf_keras.src.engine.keras_tensor import KerasTensor

from tfcompress.errors import UserError
from tfcompress.models.layers import MaskBias, ScaledDotProductAttention

Layer: TypeAlias = tf_keras.layers.Layer

_ELEMENTWISE = (tf_keras.layers.Activation, tf_keras.layers.Dropout, tf_keras.layers.ReLU)
"""What may stand between the two Dense layers of a feed-forward pair: neurons stay apart in it."""


@dataclass(frozen=True)
class Attention:
    """Layer names of one attention: Dense query, key and value, the weightless attention, Dense output."""

    query: str
    key: str
    value: str
    attention: str
    output: str


@dataclass(frozen=True)
class FeedForward:
    """Layer names of two Dense layers of which the second alone reads the first, neuron by neuron.

    Attributes:
        expand: the first, with its activation.
        activated: the layer whose output are the activated neurons: `expand` itself or an elementwise layer behind it.
        contract: the second.
    """

    expand: str
    activated: str
    contract: str


@dataclass(frozen=True)
class Writer:
    """A Dense layer whose output is added to the residual stream.

    Attributes:
        dense: its name.
        residual: the layer whose output it is added to.
        add: the Add.
        norm: the LayerNormalization behind the Add if that stands in the stream itself (post-norm, as in BERT), None
            if it stands in front of the next part only (pre-norm, as in ViT).
    """

    dense: str
    residual: str
    add: str
    norm: str | None


class Anatomy:
    """The graph of a functional model whose layers are called once each, and the parts found in it.

    Attributes:
        model: that was read.
        nodes: the calls in an order in which each comes after those it reads, inputs left out.
        attentions, feed_forwards: the parts, in the same order.
    """

    def __init__(self, model: tf_keras.Model) -> None:
        """Reads a model's graph.

        Raises:
            UserError: the model uses a layer twice.
        """
        self.model = model
        depths = sorted(model._nodes_by_depth, reverse=True)
        self.nodes = [node for depth in depths for node in model._nodes_by_depth[depth] if not node.is_input]
        self._readers: dict[str, list[Layer]] = {layer.name: [] for layer in model.layers}
        self._sources: dict[str, list[Layer]] = {}
        for node in self.nodes:
            if node.layer.name in self._sources:
                raise UserError(f"layer {node.layer.name} is used twice in model {model.name}; give each use its own")
            self._sources[node.layer.name] = [parent.layer for parent in node.parent_nodes]
            for source in self._sources[node.layer.name]:
                self._readers[source.name].append(node.layer)
        self.attentions = list(self._find_attentions())
        self.feed_forwards = list(self._find_feed_forwards())

    def sources(self, layer: Layer) -> list[Layer]:
        """Returns the layers whose outputs a layer reads, in the order of its arguments."""
        return self._sources.get(layer.name, [])

    def readers(self, layer: Layer) -> list[Layer]:
        """Returns the layers that read a layer's output."""
        return self._readers[layer.name]

    def behind(self, layer: Layer, kinds: tuple[type, ...]) -> Layer:
        """Follows a chain of single readers of `kinds`; returns its last layer, or `layer` if there is none."""
        while len(self.readers(layer)) == 1 and isinstance(self.readers(layer)[0], kinds):
            layer = self.readers(layer)[0]
        return layer

    @cached_property
    def writers(self) -> list[Writer]:
        """What writes to the residual stream, in order.

        Raises:
            UserError: the model has no attention, or the output of a part is not added to anything.
        """
        if not self.attentions:
            raise UserError(
                f"model {self.model.name} has no attention with Dense query, key, value and output; what is needed is "
                "a transformer encoder, as tfcompress.models has them"
            )
        dense = {part.output for part in self.attentions} | {pair.contract for pair in self.feed_forwards}
        dense -= set(self.model.output_names)
        return [self._writer(node.layer) for node in self.nodes if node.layer.name in dense]

    @property
    def stream(self) -> list[str]:
        """The layers whose output is the residual stream: where it begins, then behind each writer."""
        return [self.writers[0].residual, *(writer.norm or writer.add for writer in self.writers)]

    @property
    def post_norm(self) -> bool:
        """Whether LayerNormalization stands in the stream (BERT) or in front of each part (ViT)."""
        return self.writers[0].norm is not None

    @property
    def mask(self) -> str | None:
        """The input that tells real tokens from padding, `(batch, tokens)` of 1 and 0, if there is one."""
        biases = (node.layer for node in self.nodes if type(node.layer) is MaskBias)
        sources = (self.sources(bias)[0] for bias in biases)
        found = (s for s in sources if isinstance(s, tf_keras.layers.InputLayer) and s.output.shape.rank == 2)
        return next((str(source.name) for source in found), None)

    def _writer(self, layer: Layer) -> Writer:
        written = self.behind(layer, (tf_keras.layers.Dropout,))
        readers = self.readers(written)
        if len(readers) != 1 or not isinstance(readers[0], tf_keras.layers.Add):
            found = ", ".join(f"{reader.name} ({type(reader).__name__})" for reader in readers)
            raise UserError(f"{layer.name} is followed by {found or 'nothing'}; an Add, the residual, is needed")
        add = readers[0]
        residual = next(source for source in self.sources(add) if source is not written)
        after = self.readers(add)
        # The final norm of a pre-norm encoder is alone behind its Add too; its residual is no norm's output.
        in_stream = len(after) == 1 and self._is_norm(after[0]) and self._is_norm(self._undropped(residual))
        return Writer(layer.name, residual.name, add.name, after[0].name if in_stream else None)

    def _is_norm(self, layer: Layer) -> bool:
        return isinstance(layer, tf_keras.layers.LayerNormalization)

    def _undropped(self, layer: Layer) -> Layer:
        while isinstance(layer, tf_keras.layers.Dropout):
            layer = self.sources(layer)[0]
        return layer

    def _find_attentions(self) -> Iterator[Attention]:
        for node in self.nodes:
            if type(node.layer) is not ScaledDotProductAttention:
                continue
            before = self.sources(node.layer)[:3]
            last = self.behind(node.layer, (tf_keras.layers.Dropout,))
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
            last = self.behind(first, _ELEMENTWISE)
            after = self.readers(last)
            if len(after) == 1 and type(after[0]) is tf_keras.layers.Dense and after[0].name not in taken:
                taken.add(after[0].name)
                yield FeedForward(first.name, last.name, after[0].name)


def input_tables(model: tf_keras.Model) -> list[tuple[str, Layer]]:
    """Returns the Embedding layers that look an input up as it is, each behind that input's name."""
    tables = (layer for layer in model.layers if type(layer) is tf_keras.layers.Embedding)
    found = ((table.inbound_nodes[0].inbound_layers, table) for table in tables)
    return [(str(s.name), table) for s, table in found if isinstance(s, tf_keras.layers.InputLayer)]


def run_node(node: Any, values: dict[str, Any], layer: Layer | None = None) -> Any:
    """Calls the layer of a node, or another with the same arguments, on values by the names of the layers before."""

    def value(argument: Any) -> Any:
        return values[argument.node.layer.name] if isinstance(argument, KerasTensor) else argument

    args, kwargs = tf.nest.map_structure(value, (tuple(node.call_args), dict(node.call_kwargs)))
    return (layer or node.layer)(*args, **kwargs)
