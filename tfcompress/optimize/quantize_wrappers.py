"""Layers of which only the kernel is quantized, and what keeps a kernel's zeros and clusters while it trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import QuantizeWrapperV2

from tfcompress.layer_kernels import owner
from tfcompress.traits import KernelTraits


class QuantizedReader(QuantizeWrapperV2):
    """A quantized layer whose input tfmot leaves alone; unlike tfmot's own wrapper, it does not train when frozen."""

    def __init__(self, layer: tf_keras.layers.Layer, quantize_config: Any, **options: Any) -> None:
        super().__init__(layer, quantize_config, **{"trainable": layer.trainable, **options})

    def build(self, input_shape: Any) -> None:
        # tfmot's wrapper lists the weights of a layer in another order if the layer is not built, as when it is loaded.
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True
        super().build(input_shape)

    def _weight_name(self, name: str) -> str:
        """Returns a weight's name below its layer's, so that the ranges of several cells have different names."""
        plain = name.partition(":")[0]
        return plain.partition("/")[2] or plain

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        return list(super().trainable_weights) if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        frozen = [] if self.trainable else super().trainable_weights
        return [*frozen, *super().non_trainable_weights]


class KernelsConfig(tfmot.quantization.keras.QuantizeConfig):
    """Quantizes some weights of a layer and leaves its activations float.

    Args:
        kernels: the attributes that hold them, see `tfcompress.layer_kernels.paths`.
        established: what training must keep in them. It is not saved with the model, which is trained by then.
    """

    def __init__(self, kernels: Sequence[str], established: Mapping[str, KernelTraits] | None = None) -> None:
        self.kernels, self._established = list(kernels), established or {}

    def get_weights_and_quantizers(self, layer: tf_keras.layers.Layer) -> list[tuple[tf.Variable, Any]]:
        weights = [getattr(*owner(layer, kernel)) for kernel in self.kernels]
        established = [self._established.get(kernel, KernelTraits()) for kernel in self.kernels]
        return [(weight, _KernelQuantizer(weight, kept)) for weight, kept in zip(weights, established, strict=True)]

    def set_quantize_weights(self, layer: tf_keras.layers.Layer, quantize_weights: Sequence[tf.Tensor]) -> None:
        for kernel, quantized in zip(self.kernels, quantize_weights, strict=True):
            setattr(*owner(layer, kernel), quantized)

    def get_activations_and_quantizers(self, layer: tf_keras.layers.Layer) -> list[Any]:
        return []

    def set_quantize_activations(self, layer: tf_keras.layers.Layer, quantize_activations: Sequence[Any]) -> None:
        pass

    def get_output_quantizers(self, layer: tf_keras.layers.Layer) -> list[Any]:
        return []

    def get_config(self) -> dict[str, object]:
        return {"kernels": self.kernels}


class _KernelQuantizer(tfmot.quantization.keras.quantizers.LastValueQuantizer):
    """One scale for a kernel, whose zeros and clusters stay.

    The weights of a cluster all get the mean of their gradients. As they are equal to begin with, every optimizer that
    treats weights one by one then keeps them equal. tfmot's own quantizers work for Dense only: they may make the
    clusters of a Conv2D different in each channel.
    """

    def __init__(self, kernel: tf.Variable, established: KernelTraits) -> None:
        super().__init__(num_bits=8, per_axis=False, symmetric=True, narrow_range=True)
        self._shared: Any = None
        if established.clusters:
            self._shared = _mean_over_clusters(kernel.numpy(), bool(established.sparsity))
        elif established.sparsity:
            kept = tf.cast(kernel != 0, tf.float32)
            self._shared = lambda gradient: gradient * kept

    def __call__(self, inputs: tf.Tensor, training: bool, weights: dict[str, tf.Variable], **kwargs: Any) -> tf.Tensor:
        # A graph with a gradient of its own cannot be saved, so inference, which is what is converted, has none.
        shared = _with_gradient(inputs, self._shared) if self._shared is not None and training else inputs
        return super().__call__(shared, training, weights, **kwargs)


def _mean_over_clusters(kernel: np.ndarray[Any, Any], keep_zeros: bool) -> Any:
    """Returns a function that gives every weight the mean gradient of the weights that are equal to it."""
    centroids, places, counts = np.unique(kernel, return_inverse=True, return_counts=True)
    clusters = tf.constant(places.ravel(), tf.int32)
    shares = tf.constant(np.where(keep_zeros & (centroids == 0), 0, 1 / counts), tf.float32)

    def share(gradient: tf.Tensor) -> tf.Tensor:
        sums = tf.math.unsorted_segment_sum(tf.reshape(gradient, [-1]), clusters, len(centroids))
        return tf.reshape(tf.gather(sums * shares, clusters), kernel.shape)

    return share


def _with_gradient(tensor: tf.Tensor, change: Any) -> tf.Tensor:
    """Returns a tensor unchanged, whose gradient is changed."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def unchanged(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        return tf.identity(x), change

    return unchanged(tensor)
