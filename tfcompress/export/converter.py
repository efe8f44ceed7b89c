"""From a tf_keras model to a `.tflite` flatbuffer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import tensorflow as tf
import tf_keras
from tensorflow.lite.python.convert import ConverterError

from tfcompress.errors import UserError
from tfcompress.models.layers import unquantizable
from tfcompress.quiet import native_libraries_quiet
from tfcompress.training import gives_probabilities

Format = Literal["float32", "float16", "dynamic", "int8"]
"""`dynamic`: int8 weights, activations quantized at run time; `int8`: what quantization-aware training prepared."""


@dataclass(frozen=True, eq=False)
class Served:
    """What is converted: a function for inputs of batch size one.

    Attributes:
        function: a `tf.function` that takes one tensor for each input and returns outputs by name.
        owner: keeps its variables.
        name: for errors.
    """

    function: Any
    owner: Any
    name: str

    @property
    def fake_quantizes(self) -> bool:
        """Whether it went through quantization-aware training."""
        graph = self.function.get_concrete_function().graph.as_graph_def()
        nodes = chain(graph.node, *(function.node_def for function in graph.library.function))
        return any(node.op.startswith("FakeQuant") for node in nodes)


def convert(model: tf_keras.Model, format: Format, logits: bool = False, per_channel: bool = False) -> bytes:
    """Converts a classifier for inputs of batch size one.

    The signature `serving_default` takes the model's inputs by their names and gives `probabilities`, or `logits`,
    float32 `(1, classes)`.

    Args:
        model: plain, or quantized for `int8`.
        format: how weights are stored.
        logits: leave out the softmax at the end; not of a model that ends in one itself.
        per_channel: a scale for each output of a Dense layer in `dynamic`; a bit more exact, but then the file needs
            TFLite 2.17, which Maven Central does not have. One scale a tensor runs from 2.9 on.

    Raises:
        UserError: the model has an operator that TFLite does not have.
    """
    return convert_served(serve_classifier(model, logits, format == "int8"), format, per_channel)


def serve_classifier(model: tf_keras.Model, logits: bool = False, quantized: bool = False) -> Served:
    """Returns a model's function with the one output that `convert` describes."""

    def named(outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        if logits:
            return {"logits": outputs}
        if not gives_probabilities(model):
            outputs = tf.nn.softmax(unquantizable(outputs) if quantized else outputs)
        return {"probabilities": outputs}

    return _serve(model, named)


def serve_model(model: tf_keras.Model) -> Served:
    """Returns a model's function with its outputs as they are, by the names of the layers that they come from."""
    return _serve(model, lambda outputs: dict(zip(model.output_names, tf.nest.flatten(outputs), strict=True)))


def _serve(model: tf_keras.Model, named: Callable[[Any], dict[str, tf.Tensor]]) -> Served:
    batch_one = [tf.TensorSpec((1, *x.shape[1:]), x.dtype, name=x.node.layer.name) for x in model.inputs]

    @tf.function(input_signature=batch_one, autograph=False)  # type: ignore[untyped-decorator]
    def serve(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return named(model(inputs[0] if len(inputs) == 1 else list(inputs), training=False))

    # The converter saves what it is given; the weights alone take a quarter of the time that the layers would.
    owner = tf.Module()
    owner.weights = model.weights
    return Served(serve, owner, model.name)


def convert_served(served: Served, format: Format, per_channel: bool = False) -> bytes:
    """Converts a function; see `convert`."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions([served.function.get_concrete_function()], served.owner)
    if format != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if format == "float16":
        converter.target_spec.supported_types = [tf.float16]
    converter._experimental_disable_per_channel_quantization_for_dense_layers = not per_channel
    converter._experimental_disable_per_channel = not per_channel
    try:
        with native_libraries_quiet():
            content: bytes = converter.convert()
    except ConverterError as error:
        reason = next((line for line in str(error).splitlines() if "error:" in line), str(error)[:300])
        raise UserError(f"model {served.name} cannot be converted to {format}: {reason.strip()}") from error
    return content
