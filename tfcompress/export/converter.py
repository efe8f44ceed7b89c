"""Converts a tf_keras model to a `.tflite` file."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from ai_edge_litert import schema_py_generated as schema
from tensorflow.lite.python.convert import ConverterError

from tfcompress.errors import UserError
from tfcompress.export.float16 import to_float16
from tfcompress.export.formats import ConverterFormat
from tfcompress.export.int8_kernels import fake_quantized, store_int8
from tfcompress.export.serving import ServingFunction, serve_answers
from tfcompress.labels import listed
from tfcompress.models.outputs import Outputs
from tfcompress.quiet import native_libraries_quiet
from tfcompress.tflite.reading import read
from tfcompress.tflite.writing import write

_LACKING = re.compile(r"'tf\.(\w+)' op is neither a custom op")


def convert(
    model: tf_keras.Model,
    format: ConverterFormat,
    logits: bool = False,
    per_channel: bool = False,
    outputs: Outputs | None = None,
    names: Sequence[str] = ("probabilities",),
    length: int | None = None,
) -> bytes:
    """Converts a model for inputs of batch size 1.

    The signature `serving_default` takes the model's inputs by name and returns `names`, or `logits`, as float32
    `(1, …)`, for a classifier `(1, classes)`.

    Args:
        model: a float model, or for `int8` one that went through quantization-aware training.
        format: how the file stores weights.
        logits: do not add a softmax or sigmoid at the end. The model must not end in one itself.
        per_channel: with `dynamic`, one scale per output of a Dense layer. This is slightly more accurate, but the file
            then needs TFLite 2.17, which Maven Central does not have. A file with one scale per tensor runs from
            TFLite 2.9 on.
        outputs: what the model gives; by default it is found out, of a classifier.
        names: of the outputs; if there are none, outputs keep their own names.
        length: the number of tokens that a text model takes, see `tfcompress.export.lengths`; by default all.

    Raises:
        UserError: the model has an operator that TFLite does not have, or it cannot be found out what it gives.
    """
    return convert_function(serve_answers(model, logits, format == "int8", outputs, names, length), format, per_channel)


def convert_function(serving: ServingFunction, format: ConverterFormat, per_channel: bool = False) -> bytes:
    """Converts a model's function; for arguments and errors see `convert`.

    A model with an operator that TFLite does not have is taken apart into stock layers, if that is possible.
    In float16, a weight that is too large for it stays float32, with a warning; the converter would clip it.
    """
    if format == "float16" and (large := _beyond_float16(serving.owner)):
        warnings.warn(
            f"{', '.join(large)} of {serving.name} stays float32: it has numbers beyond 65,504, float16's largest",
            UserWarning,
            stacklevel=2,
        )
        return to_float16(convert_function(serving, "float32"))
    concrete = serving.function.get_concrete_function()
    # Without a variable that it reads, such as a global one, TensorFlow cannot save the function.
    owner = tf.Module()
    owner.parts = [serving.owner, *concrete.graph.variables]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], owner)
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
        simpler = serving.taken_apart()
        if simpler is not None:
            return convert_function(simpler, format, per_channel)
        raise UserError(
            f"model {serving.name} cannot be converted to {format}: {_reason(str(error))}; {serving.advice}"
        ) from error
    content = _in_order(content, list(concrete.structured_outputs), serving.name)
    if format != "int8":
        return content
    quantized: Any = serving.owner
    return store_int8(content, fake_quantized(getattr(quantized, "weights", None) or quantized.variables))


def _reason(message: str) -> str:
    """Returns what the converter's message says in many lines."""
    if lacking := list(dict.fromkeys(_LACKING.findall(message))):
        return f"TFLite has no operator for TensorFlow's {listed(lacking)}"
    return next((line for line in message.splitlines() if "error:" in line), message[:300]).strip()


def _in_order(content: bytes, names: list[str], name: str) -> bytes:
    """Returns the file of a model with its outputs in the order of these names, which the converter does not keep."""
    if not schema.Model.GetRootAs(content, 0).SignatureDefsLength():
        raise UserError(
            f"model {name} cannot be converted with the names of its inputs and outputs, because TensorFlow cannot "
            "save it; make everything that its layers use, such as a lookup table, their own attribute"
        )
    if len(names) == 1:
        return content
    model = read(content)
    (signature,) = model.signatures
    ordered = [signature.outputs[name] for name in names]
    if signature.graph.outputs == ordered or len(signature.graph.outputs) != len(ordered):
        return content
    signature.graph.outputs = ordered
    return write(model)


def _beyond_float16(owner: object) -> list[str]:
    """Returns the names of the weights with numbers that float16 does not have."""
    weights = [weight for weight in getattr(owner, "weights", ()) if weight.dtype == tf.float32]
    return [w.name for w in weights if np.abs(w.numpy()).max(initial=0) > np.finfo(np.float16).max]
