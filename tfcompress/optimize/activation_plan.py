"""Which quantized layers can take int8 activations, and why the others cannot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import tensorflow as tf
import tf_keras
from pydantic import Field

from tfcompress.models.layers import MaxOfTokens, MeanOfTokens, NoNorm, ScaledDotProductAttention, Trigram
from tfcompress.settings import Settings
from tfcompress.traits import is_table

FLOAT_LAYERS = (
    tf_keras.layers.LayerNormalization,
    NoNorm,
    ScaledDotProductAttention,
    MeanOfTokens,
    MaxOfTokens,
    Trigram,
)
"""These compute in float; only their output is quantized, so that the Dense layer that follows takes int8."""

MOVERS = (tf_keras.layers.Reshape, tf_keras.layers.Permute, tf_keras.layers.Flatten, tf_keras.layers.Cropping1D)
"""These move values without changing them. Annotated, they pass int8 on, for instance from the image to its patches."""

_PASS_ON = (
    tf_keras.layers.Dropout,
    tf_keras.layers.SpatialDropout1D,
    tf_keras.layers.SpatialDropout2D,
    tf_keras.layers.GaussianDropout,
    tf_keras.layers.GaussianNoise,
    tf_keras.layers.ActivityRegularization,
)
"""These are gone in the file."""

_INT8_ACTIVATIONS = ("linear", "relu", "gelu", "softmax", "sigmoid", "tanh")
"""The activations of a Dense layer that tfmot quantizes and that TFLite has in int8, by the names of functions."""

_INT8_OUTPUTS = (
    tf_keras.layers.ReLU,
    tf_keras.layers.LeakyReLU,
    tf_keras.layers.Add,
    tf_keras.layers.Concatenate,
    tf_keras.layers.AveragePooling1D,
    tf_keras.layers.AveragePooling2D,
    tf_keras.layers.GlobalAveragePooling1D,
    tf_keras.layers.GlobalAveragePooling2D,
)
"""tfmot quantizes the outputs of these itself if an annotated layer reads them."""


class LayerQuantization(Settings):
    """How a layer is quantized. Its weights, or its table, become int8 with one scale per tensor in any case."""

    activations: Literal["auto", "static", "dynamic"] = Field(
        "auto",
        description="static: int8 activations with ranges from training; dynamic: float activations, which the runtime "
        "quantizes as it computes; auto: static where that is possible",
    )


@dataclass(frozen=True)
class Activations:
    """How the activations of a quantized layer are stored.

    Attributes:
        kind: `static`: int8 with ranges from training; `dynamic`: float, quantized by the runtime as it computes.
        reason: why they are dynamic; empty if they are static.
    """

    kind: Literal["static", "dynamic"]
    reason: str = ""


STATIC = Activations("static")
ASKED_FOR = Activations("dynamic", "it was asked for")


class ActivationPlan:
    """How the activations of each selected layer of a functional model are to be quantized.

    A layer is static if tfmot quantizes everything between it and the last int8 layer before it. Tables have no
    activations, so they are always static.

    Attributes:
        found: by the layers' names.
        static, dynamic: the names of the layers whose activations are so.
    """

    def __init__(self, model: tf_keras.Model, selected: Mapping[str, LayerQuantization]) -> None:
        # Earlier techniques called the layers that they left alone in other models, too.
        self._sources: dict[str, list[list[tf_keras.layers.Layer]]] = defaultdict(list)
        self._readers: dict[str, list[tf_keras.layers.Layer]] = defaultdict(list)
        for node in chain.from_iterable(model._nodes_by_depth.values()):
            self._sources[node.layer.name].append(tf.nest.flatten(node.inbound_layers))
            for source in self._sources[node.layer.name][-1]:
                self._readers[source.name].append(node.layer)
        self._before_float = {x.name for one in model.layers if type(one) in FLOAT_LAYERS for x in self.inputs_of(one)}
        self.found: dict[str, Activations] = {}
        # `layers` is sorted by depth, so the layers before a layer come before it.
        for layer in model.layers:
            if layer.name in selected:
                dynamic = selected[layer.name].activations == "dynamic" and not is_table(layer)
                self.found[layer.name] = ASKED_FOR if dynamic else self._activations(layer)
        self.static = {name for name, found in self.found.items() if found == STATIC}
        self.dynamic = self.found.keys() - self.static

    def inputs_of(self, layer: tf_keras.layers.Layer) -> list[tf_keras.layers.Layer]:
        """Returns the layers whose outputs a layer reads, in all its calls."""
        return list(chain.from_iterable(self._sources[layer.name]))

    def passes_int8(self, mover: tf_keras.layers.Layer) -> bool:
        """Returns whether a layer that moves values gets int8 and hands it on to a layer that takes it."""
        return self._float_source(mover, annotated=True) is None and self.feeds_int8(mover)

    def feeds_int8(self, layer: tf_keras.layers.Layer) -> bool:
        """Returns whether the output of a layer is to be int8: not all layers that read it want it float."""
        if not self.static:
            return False
        readers = self._readers[layer.name]
        passed_on = (*MOVERS, *_PASS_ON)
        return not readers or any(
            self.feeds_int8(reader) if type(reader) in passed_on else reader.name not in self.dynamic
            for reader in readers
        )

    def _activations(self, layer: tf_keras.layers.Layer) -> Activations:
        if is_table(layer):
            return STATIC
        if type(layer) is not tf_keras.layers.Dense:
            return Activations("dynamic", f"it is a {type(layer).__name__}, not a Dense layer")
        if len(self._sources[layer.name]) > 1:
            return Activations("dynamic", "it is called several times")
        activation = _name(layer.activation)
        if activation not in _INT8_ACTIVATIONS:
            return Activations("dynamic", f"its activation {activation} is not among {', '.join(_INT8_ACTIVATIONS)}")
        (source,) = self.inputs_of(layer)
        floating = self._float_source(source, annotated=True)
        return STATIC if floating is None else Activations("dynamic", f"it reads {floating}, which is float")

    def _float_source(self, source: tf_keras.layers.Layer, annotated: bool) -> str | None:
        """Returns the nearest layer that makes the output of a layer float; None if the output is int8.

        Args:
            source: the layer.
            annotated: whether the layer that reads it is annotated, so that tfmot quantizes what it reads.
        """
        kind = type(source)
        if source.name in self.found:
            return None if self.found[source.name] == STATIC else source.name
        if kind in FLOAT_LAYERS or (kind in (tf_keras.layers.Dense, tf_keras.layers.Embedding) and annotated):
            return None
        if kind in (*MOVERS, *_PASS_ON):
            if len(self._sources[source.name]) > 1:
                return str(source.name)
            return self._float_source(self.inputs_of(source)[0], annotated and kind in MOVERS)
        if isinstance(source, tf_keras.layers.InputLayer):
            return None if source.dtype == "float32" and annotated else str(source.name)
        relu = kind is tf_keras.layers.Activation and _name(source.activation) in ("relu", "relu6")
        quantized = (relu or kind in _INT8_OUTPUTS) and annotated and source.name not in self._before_float
        return None if quantized and len(self._sources[source.name]) == 1 else str(source.name)


def _name(activation: object) -> str:
    return getattr(activation, "__name__", type(activation).__name__)
