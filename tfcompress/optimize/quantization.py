"""Quantization-aware training that keeps zeros and clusters: QAT, PQAT, CQAT, PCQAT (tfmot.quantization)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (
    cluster_preserve_quantize_registry as cluster_preserving,
)
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (
    prune_preserve_quantize_registry as prune_preserving,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_configs as configs,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_registry as plain,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit.default_8bit_quantize_scheme import (
    Default8BitQuantizeScheme,
)
from tensorflow_model_optimization.python.core.quantization.keras.quantize_annotate import QuantizeAnnotate

from tfcompress import layer_kernels
from tfcompress.errors import UserError
from tfcompress.models.layers import CUSTOM_OBJECTS, MaxOfTokens, MeanOfTokens, ScaledDotProductAttention
from tfcompress.models.operations import Masked, Operation, unquantizable
from tfcompress.optimize.activation_plan import (
    FLOAT_LAYERS,
    MOVERS,
    STATIC,
    ActivationPlan,
    LayerQuantization,
)
from tfcompress.optimize.calibration import calibrate
from tfcompress.optimize.centroid_lookup import sorted_lookup
from tfcompress.optimize.plain_python import clone_model, quantize_apply, strip_clustering_cqat
from tfcompress.optimize.quantize_wrappers import KernelsConfig, QuantizedReader
from tfcompress.optimize.technique import (
    Context,
    LayerTechnique,
    copy_model,
    kind_of,
    protect_established,
)
from tfcompress.settings import Settings
from tfcompress.traits import KERNELS, KernelTraits, Traits, is_table, measure

_CALIBRATION_BATCHES = 8

_Input = tf_keras.layers.InputLayer

_annotate = tfmot.quantization.keras.quantize_annotate_layer

_READERS_OF_INT = (tf_keras.layers.Embedding, MeanOfTokens, MaxOfTokens)
"""These take token ids or a mask. With tfmot's own annotation, that input would get a float quantizer."""


class Quantize(LayerQuantization, LayerTechnique[LayerQuantization]):
    """Int8 weights and activations in Dense layers, and int8 tables in Embedding layers. It is the last technique.

    LayerNorm, softmax and the layers that read the sum of a residual stay float.
    """

    name: ClassVar[str] = "quantize"
    ends_training: ClassVar[bool] = True
    layer_settings: ClassVar[type[Settings]] = LayerQuantization
    layer_types: ClassVar[tuple[type, ...]] = layer_kernels.QUANTIZABLE

    def can_treat(self, layer: tf_keras.layers.Layer) -> bool:
        return bool(layer_kernels.paths(layer))

    def select(self, model: tf_keras.Model) -> dict[str, LayerQuantization]:
        # Layers of all classes are treated by default.
        unasked = {kind_of(layer): LayerQuantization() for layer in self.treatable(model)}
        return super(Quantize, self.model_copy(update={"types": unasked | self.types})).select(model)

    def check(self, model: tf_keras.Model) -> None:
        selected = self.select(model)
        for name, found in self._plan(model).found.items():
            if selected[name].activations == "static" and found != STATIC:
                raise UserError(
                    f"quantize: {name} cannot have static activations: {found.reason}; set layers.{name}: "
                    "{activations: auto}"
                )

    def explain(self, model: tf_keras.Model) -> Mapping[str, str]:
        found = self._plan(model).found
        dynamic = {name: f"dynamic activations, because {x.reason}" for name, x in found.items() if x != STATIC}
        return {**super().explain(model), **dynamic}

    def _plan(self, model: tf_keras.Model) -> ActivationPlan:
        return ActivationPlan(model, self.select(model))

    def prepare(self, model: tf_keras.Model, context: Context) -> tf_keras.Model:
        model = copy_model(model)  # Calibration adds layers to it.
        plan = self._plan(model)
        before_float = _names(x for one in model.layers if type(one) in FLOAT_LAYERS for x in plan.inputs_of(one))
        before_int8 = _names(x for one in model.layers if one.name in plan.static for x in plan.inputs_of(one))
        scheme = _Scheme(context.traits, plan.dynamic)
        supports = scheme.get_quantize_registry().supports

        def wrap(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
            original = model.get_layer(layer.name)
            reader = type(layer) in _READERS_OF_INT or any(isinstance(x, _Input) for x in plan.inputs_of(original))
            annotate: Any = QuantizedReader if reader else _annotate
            if layer.name in plan.static and is_table(layer):
                config = plain.Default8BitQuantizeConfig(["embeddings"], [], quantize_output=False)
                return annotate(protect_established(layer, context.traits), config)
            if layer.name in plan.static or (type(layer) in MOVERS and plan.passes_int8(original)):
                return _annotate(layer)
            if type(layer) in FLOAT_LAYERS and plan.feeds_int8(original):
                if type(layer) is ScaledDotProductAttention:
                    layer = ScaledDotProductAttention.from_config({**layer.get_config(), "keep_float": True})
                return annotate(layer, configs.Default8BitOutputQuantizeConfig())
            if layer.name in plan.dynamic:
                return layer
            if _makes_one_hot(original) and plan.feeds_int8(original):
                return Operation.from_config({**layer.get_config(), "keep_float": True})
            layer = protect_established(layer, context.traits)
            if type(layer) in (*self.layer_types, Masked) and layer.name in before_int8:
                return annotate(layer, FloatWeightsConfig())
            if layer.name in before_float and supports(layer):
                # Otherwise tfmot would quantize the residual that the LayerNorm reads.
                return _annotate(layer, configs.NoOpQuantizeConfig())
            return layer

        def quantize_kernels(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
            if layer.name not in plan.dynamic:
                return layer
            paths = layer_kernels.paths(layer)
            established = {path: measure(getattr(*layer_kernels.owner(layer, path)).numpy()) for path in paths}
            if type(layer) in KERNELS:
                established = {KERNELS[type(layer)]: context.traits.get(layer.name, KernelTraits())}
            return QuantizedReader(layer, KernelsConfig(paths, established))

        with load_scope(), sorted_lookup(kept=True):
            wrapped = copy_model(model, wrap)
            if any(isinstance(layer, QuantizeAnnotate) for layer in wrapped.layers):
                wrapped = quantize_apply(wrapped, scheme)
            if plan.dynamic:
                wrapped = clone_model(wrapped, clone_function=quantize_kernels)
        batches = context.data.stream(32, seed=0, first_epoch=0, epochs=1).take(_CALIBRATION_BATCHES)
        calibrate(wrapped, model, batches.map(lambda features, _: features))
        return wrapped

    def finalize(self, wrapped: tf_keras.Model) -> tf_keras.Model:
        finished = strip_clustering_cqat(wrapped)
        _set_ranges(finished)
        return finished

    def promises(self, model: tf_keras.Model, traits: Traits) -> Traits:
        names = [name for layer in self.select(model) for name in layer_kernels.names(model.get_layer(layer))]
        return {**traits, **{name: replace(traits.get(name, KernelTraits()), quantized=True) for name in names}}


class FloatWeightsConfig(configs.Default8BitOutputQuantizeConfig):
    """For a layer that stays float although the next one takes int8: only its output is quantized."""

    def get_output_quantizers(
        self, layer: tf_keras.layers.Layer
    ) -> list[tfmot.quantization.keras.quantizers.Quantizer]:
        return [_OutputOfFloat(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)]


class _OutputOfFloat(tfmot.quantization.keras.quantizers.MovingAverageQuantizer):
    """Keeps the layer float: between int8 neighbours, the converter would make it int8 too."""

    def __call__(self, inputs: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        return super().__call__(unquantizable(inputs), *args, **kwargs)


class _Scheme(Default8BitQuantizeScheme):
    """Chooses QAT, PQAT, CQAT or PCQAT per layer from its traits; tfmot's own schemes choose one per model."""

    def __init__(self, traits: Traits, dynamic: Collection[str]) -> None:
        self._registry = _Registry(traits, dynamic)

    def get_quantize_registry(self) -> _Registry:
        return self._registry


class _Registry(plain.Default8BitQuantizeRegistry):
    def __init__(self, traits: Traits, dynamic: Collection[str]) -> None:
        super().__init__()
        self._traits, self._dynamic = traits, dynamic

    def supports(self, layer: tf_keras.layers.Layer) -> bool:
        # tfmot quantizes the output of every layer that it supports and that an annotated one reads.
        return layer.name not in self._dynamic and super().supports(layer)

    def get_quantize_config(self, layer: tf_keras.layers.Layer) -> tfmot.quantization.keras.QuantizeConfig:
        scheme = self._traits.get(layer.name, KernelTraits()).scheme
        if "C" in scheme:
            registry = cluster_preserving.Default8bitClusterPreserveQuantizeRegistry(scheme == "PCQAT")
            return registry.get_quantize_config(layer)
        if scheme == "PQAT":
            return prune_preserving.Default8bitPrunePreserveQuantizeRegistry().get_quantize_config(layer)
        return super().get_quantize_config(layer)


def load_scope() -> tf_keras.utils.CustomObjectScope:
    """Returns the scope in which a saved quantized model can be loaded."""
    own = {kind.__name__: kind for kind in (FloatWeightsConfig, KernelsConfig, QuantizedReader)}
    return tfmot.quantization.keras.quantize_scope({**CUSTOM_OBJECTS, **own})


def _set_ranges(model: tf_keras.Model) -> None:
    """Sets the range of each quantized kernel to its present weights; tfmot's is one training step old."""
    for wrapper in model.layers:
        for kernel, _, of_quantizer in getattr(wrapper, "_weight_vars", ()):
            largest = tf.reduce_max(tf.abs(kernel))
            of_quantizer["min_var"].assign(-largest)
            of_quantizer["max_var"].assign(largest)


def _makes_one_hot(layer: tf_keras.layers.Layer) -> bool:
    return type(layer) is Operation and layer.operation == "OneHot" and layer.output.dtype.is_floating


def _names(layers: Iterable[tf_keras.layers.Layer]) -> set[str]:
    return {layer.name for layer in layers}
