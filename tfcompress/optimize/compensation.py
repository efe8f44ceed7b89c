"""Clusters kernels of a Keras model without training, each for the inputs that it gets behind those clustered before.

What `tfcompress.post_training.clustering` does to a file's operators, this does to layers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras
from tf_keras.src.engine.keras_tensor import KerasTensor
from tf_keras.src.engine.node import Node

from tfcompress.errors import UserError
from tfcompress.post_training.clustering import MOST_INPUTS
from tfcompress.post_training.method import Settings, cluster_kernel, cluster_table
from tfcompress.progress import bar
from tfcompress.traits import KERNELS, FloatArray, is_table

Array = npt.NDArray[Any]

_BATCH = 32


def cluster_for_inputs(model: tf_keras.Model, features: Any, clusters: Mapping[str, int]) -> None:
    """Clusters kernels in place, so that the outputs of their layers change least on some examples.

    Each layer runs once for each example. A kernel that is used several times is clustered before its last use. Rows of
    padding, where an input with "mask" in its name is 0, do not count. The zeros of pruned kernels stay.

    Args:
        model: functional.
        features: of the examples, `(examples, …)`, or a dict of such arrays by input name; no labels are needed.
        clusters: the most distinct values of each kernel, by layer name.

    Raises:
        UserError: the inputs of a layer are not finite.
    """
    walk = _Walk(model, features)
    uses = Counter(node.layer.name for node in walk.nodes if node.layer.name in clusters)
    sums: dict[str, Array] = {}
    with bar("clustering", len(uses)) as shown:
        for node in walk.nodes:
            layer = node.layer
            if uses[layer.name]:
                if why_not_compensated(layer) is None:
                    sums[layer.name] = sums.get(layer.name, 0) + _statistics(layer, walk.inputs(node))
                uses[layer.name] -= 1
                if not uses[layer.name]:
                    _cluster(layer, sums.pop(layer.name, None), clusters[layer.name])
                    shown.advance(note=layer.name)
                if not uses.total():
                    break
            walk.run(node)


def why_not_compensated(layer: tf_keras.layers.Layer) -> str | None:
    """Returns why the inputs of a layer with a kernel cannot correct each other's errors; None if they can."""
    if is_table(layer):
        return None
    if isinstance(layer, tf_keras.layers.Conv2D) and (layer.groups > 1 or layer.data_format == "channels_first"):
        return "its convolution is grouped or has its channels first"
    inputs = int(np.prod(layer.kernel.shape[:-1]))
    return f"it has {inputs:,} inputs, more than {MOST_INPUTS:,}" if inputs > MOST_INPUTS else None


class _Walk:
    """Runs the layers of a functional model one after another, each on all examples before the next.

    Attributes:
        nodes: the calls of layers, in an order in which they can run.
    """

    def __init__(self, model: tf_keras.Model, features: Any) -> None:
        depths = sorted(model._nodes_by_depth, reverse=True)
        self.nodes = [node for depth in depths for node in model._nodes_by_depth[depth] if not node.is_input]
        self._last_use = {id(x): node for node in self.nodes for x in node.keras_inputs}
        given = features if isinstance(features, Mapping) else {model.input_names[0]: features}
        self._values: dict[int, list[tf.Tensor]] = {
            id(x): _batches(given[name]) for name, x in zip(model.input_names, model.inputs, strict=True)
        }
        masks = (np.asarray(x) for name, x in given.items() if "mask" in name.lower() and np.ndim(x) == 2)
        self._mask = next(map(_batches, masks), None)

    def inputs(self, node: Node) -> Iterator[Array]:
        """Yields the input of a layer `(examples, …)` in batches, without padding then `(tokens, …)`."""
        for place, batch in enumerate(self._values[id(node.keras_inputs[0])]):
            values = np.asarray(batch)
            mask = None if self._mask is None else np.asarray(self._mask[place])
            yield values[mask != 0] if mask is not None and mask.shape == values.shape[:2] else values

    def run(self, node: Node) -> None:
        """Runs one layer, and forgets what no later one reads."""
        batches = len(next(iter(self._values.values())))
        outputs = [tf.nest.flatten(self._called(node, batch)) for batch in range(batches)]
        for x, values in zip(tf.nest.flatten(node.outputs), zip(*outputs, strict=True), strict=True):
            self._values[id(x)] = list(values)
        for x in node.keras_inputs:
            if self._last_use[id(x)] is node:
                self._values.pop(id(x), None)

    def _called(self, node: Node, batch: int) -> Any:
        def value(argument: object) -> Any:
            return self._values[id(argument)][batch] if isinstance(argument, KerasTensor) else argument

        args, kwargs = tf.nest.map_structure(value, (tuple(node.call_args), dict(node.call_kwargs)))
        return node.layer(*args, **kwargs)


def _batches(values: Any) -> list[tf.Tensor]:
    return [tf.convert_to_tensor(values[start : start + _BATCH]) for start in range(0, len(values), _BATCH)]


def _statistics(layer: tf_keras.layers.Layer, batches: Iterator[Array]) -> Array:
    """Returns the second moments `(inputs, inputs)` of a layer's inputs, or how often each row of a table is used."""
    if is_table(layer):
        counts: Array = np.zeros(layer.input_dim, int)
        for ids in batches:
            counts += np.bincount(ids.ravel().astype(int), minlength=layer.input_dim)
        return counts
    rows = (_patches(layer, x) if isinstance(layer, tf_keras.layers.Conv2D) else x for x in batches)
    moments: Array = np.zeros(())
    for x in (x.reshape(-1, x.shape[-1]) for x in rows):
        moments = moments + x.T @ x
    if not np.isfinite(moments).all():
        raise UserError(
            f"cluster: the inputs of {layer.name} are not finite numbers on training examples; correct the data, or "
            "train the model again"
        )
    return moments


def _patches(layer: tf_keras.layers.Conv2D, images: Array) -> Array:
    """Returns what each position of a convolution's kernel multiplies, `(…, height · width · channels)`."""
    sides = [(1, *pair, 1) for pair in (layer.kernel_size, layer.strides, layer.dilation_rate)]
    return np.asarray(tf.image.extract_patches(images, *sides, layer.padding.upper()))


def _cluster(layer: tf_keras.layers.Layer, statistics: Array | None, clusters: int) -> None:
    # A scale per output would make many values of few.
    settings = Settings(clusters, scales=False)
    variable = getattr(layer, KERNELS[type(layer)])
    kernel: FloatArray = variable.numpy()
    if is_table(layer):
        variable.assign(cluster_table(kernel, statistics, settings).values())
        return
    by_output = np.ascontiguousarray(kernel.reshape(-1, kernel.shape[-1]).T)
    variable.assign(cluster_kernel(by_output, statistics, settings).values().T.reshape(kernel.shape))
