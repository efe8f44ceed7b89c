"""Clusters kernels of a Keras model without training, each for the inputs that it gets behind those clustered before.

What `tfcompress.post_training.clustering` does to a file's operators, this does to layers.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src.engine.keras_tensor import KerasTensor
from tf_keras.src.engine.node import Node

from tfcompress.names import is_mask
from tfcompress.packed.codebook import Codebook
from tfcompress.post_training.activations import MEMORY, Activations
from tfcompress.post_training.method import Settings, cluster_kernel, cluster_table
from tfcompress.post_training.moments import MOST_INPUTS, counts, moments
from tfcompress.progress import bar
from tfcompress.tflite.tensor import Array
from tfcompress.traits import KERNELS, FloatArray, is_table

_BATCH = 32


def cluster_for_inputs(
    model: tf_keras.Model,
    features: Any,
    clusters: Mapping[str, int],
    memory: int = MEMORY,
    sparse: Collection[str] = (),
    scales: bool = False,
) -> dict[str, Codebook]:
    """Clusters kernels in place, so that the outputs of their layers change least on some examples.

    Each layer runs once for each example. A kernel that is used several times is clustered before its last use. Rows of
    padding, where an input with "mask" in its name is 0, do not count. The zeros of pruned kernels stay.

    Args:
        model: functional.
        features: of the examples, `(examples, …)`, or a dict of such arrays by input name; no labels are needed.
        clusters: the most distinct values of each kernel, by layer name.
        memory: how many bytes of activations are kept in memory; the others are kept in temporary files.
        sparse: the kernels of which every zero stays, be they ever so few.
        scales: whether each output of a layer has a scale where that pays, which makes many values of few.

    Returns:
        The codebook of each kernel by layer name; the first axis of its indices are outputs, or the rows of a table.

    Raises:
        UserError: the inputs of a layer are not finite, or a table has no row of an id.
    """
    sums: dict[str, Array] = {}
    books: dict[str, Codebook] = {}
    with tempfile.TemporaryDirectory(prefix="tfcompress-") as folder, bar("clustering", len(clusters)) as shown:
        walk = _Walk(model, features, Path(folder), memory)
        uses = Counter(node.layer.name for node in walk.nodes if node.layer.name in clusters)
        for node in walk.nodes:
            layer = node.layer
            if uses[layer.name]:
                if why_not_compensated(layer) is None:
                    sums[layer.name] = sums.get(layer.name, 0) + _statistics(layer, walk.inputs(node))
                uses[layer.name] -= 1
                if not uses[layer.name]:
                    keep_zeros = True if layer.name in sparse else None
                    scaled = None if scales and not is_table(layer) else False
                    settings = Settings(clusters[layer.name], scales=scaled, keep_zeros=keep_zeros)
                    books[layer.name] = _cluster(layer, sums.pop(layer.name, None), settings)
                    shown.advance(note=layer.name)
                if not uses.total():
                    break
            walk.run(node)
    return books


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

    def __init__(self, model: tf_keras.Model, features: Any, folder: Path, memory: int) -> None:
        depths = sorted(model._nodes_by_depth, reverse=True)
        self.nodes = [node for depth in depths for node in model._nodes_by_depth[depth] if not node.is_input]
        given = features if isinstance(features, Mapping) else {model.input_names[0]: features}
        examples = len(given[model.input_names[0]])
        self._batches = [slice(start, start + _BATCH) for start in range(0, examples, _BATCH)]
        self._values: Activations[int] = Activations(len(self._batches), folder, memory)
        for name, x in zip(model.input_names, model.inputs, strict=True):
            for batch in self._batches:
                self._values.add(id(x), np.asarray(given[name][batch]))
        masks = (np.asarray(x) for name, x in given.items() if is_mask(name) and np.ndim(x) == 2)
        self._mask = next(masks, None)

    def inputs(self, node: Node) -> Iterator[Array]:
        """Yields the input of a layer `(examples, …)` in batches, without padding then `(tokens, …)`."""
        for place, batch in enumerate(self._batches):
            values = self._values.get(id(node.keras_inputs[0]), place)
            mask = None if self._mask is None else self._mask[batch]
            yield values[mask != 0] if mask is not None and mask.shape == values.shape[:2] else values

    def run(self, node: Node) -> None:
        """Runs one layer, and forgets what no later one reads."""
        for place in range(len(self._batches)):
            for x, values in zip(*map(tf.nest.flatten, (node.outputs, self._called(node, place))), strict=True):
                self._values.add(id(x), np.asarray(values))
        done = self.nodes.index(node)
        self._values.keep_only({id(x) for later in self.nodes[done + 1 :] for x in later.keras_inputs})

    def _called(self, node: Node, place: int) -> Any:
        def value(argument: object) -> Any:
            kept = isinstance(argument, KerasTensor)
            return tf.convert_to_tensor(self._values.get(id(argument), place)) if kept else argument

        args, kwargs = tf.nest.map_structure(value, (tuple(node.call_args), dict(node.call_kwargs)))
        return node.layer(*args, **kwargs)


def _statistics(layer: tf_keras.layers.Layer, batches: Iterator[Array]) -> Array:
    """Returns the second moments `(inputs, inputs)` of a layer's inputs, or how often each row of a table is used."""
    if is_table(layer):
        return counts((ids.astype(int) for ids in batches), layer.input_dim, layer.name)
    rows = (_patches(layer, x) for x in batches) if isinstance(layer, tf_keras.layers.Conv2D) else batches
    return moments(rows, int(np.prod(layer.kernel.shape[:-1])), layer.name)


def _patches(layer: tf_keras.layers.Conv2D, images: Array) -> Array:
    """Returns what each position of a convolution's kernel multiplies, `(…, height · width · channels)`."""
    sides = [(1, *pair, 1) for pair in (layer.kernel_size, layer.strides, layer.dilation_rate)]
    return np.asarray(tf.image.extract_patches(images, *sides, layer.padding.upper()))


def _cluster(layer: tf_keras.layers.Layer, statistics: Array | None, settings: Settings) -> Codebook:
    variable = getattr(layer, KERNELS[type(layer)])
    kernel: FloatArray = variable.numpy()
    if is_table(layer):
        book = cluster_table(kernel, statistics, settings)
        variable.assign(book.values())
        return book
    by_output = np.ascontiguousarray(kernel.reshape(-1, kernel.shape[-1]).T)
    book = cluster_kernel(by_output, statistics, settings)
    variable.assign(book.values().T.reshape(kernel.shape))
    return book
