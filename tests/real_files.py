"""Real files, written by the converter and by litert-quantizer from trained models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras
from litert_quantizer import quantizer, recipe

from tfcompress.data.dataset import Dataset
from tfcompress.export.converter import convert
from tfcompress.optimize.clustering import Cluster
from tfcompress.optimize.pruning import Prune
from tfcompress.optimize.quantization import Quantize
from tfcompress.traits import Traits

from .apply import apply
from .build import constant, dense_file
from .tiny import tiny_vit_of

FIT = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-4}

Compressed = Mapping[str, tuple[tf_keras.Model, Traits]]


def compress_vit(data: Dataset, weights: list[np.ndarray], folder: Path) -> Compressed:
    """The tiny ViT and its traits after prune, cluster and quantize, which keeps head and block_0_mlp1 in float32."""
    model, traits = tiny_vit_of(weights), None
    found = {}
    for technique in (
        Prune(sparsity=0.5, schedule="constant", fit=FIT),
        Cluster(clusters=16, fit=FIT),
        Quantize(layers={"head": False, "block_0_mlp1": False}, fit=FIT),
    ):
        model, traits = apply(technique, model, data, folder, traits)
        found[technique.name] = (model, traits)
    return found


def write_files(weights: list[np.ndarray], compressed: Compressed) -> dict[str, bytes]:
    """Real files: the tiny ViT in many formats, a loop with its subgraphs, and a layer with one scale per block."""
    model = tiny_vit_of(weights)
    found = {stored_as: convert(model, stored_as) for stored_as in ("float32", "float16", "dynamic")}
    found["per_channel"] = convert(model, "dynamic", per_channel=True)
    found["int8"] = convert(compressed["quantize"][0], "int8")
    for name in ("dynamic_wi8_afp32", "dynamic_wi4_afp32", "dynamic_wi2c_afp32", "weight_only_wi4_afp32"):
        found[name] = _quantized(found["float32"], name)
    found |= {"loop": _loop(), "dense": _dense()}
    return found | {"blocks": _quantized(found["dense"], "dynamic_wi4b32_afp32")}


def _quantized(content: bytes, name: str) -> bytes:
    return bytes(quantizer.Quantizer(bytearray(content), getattr(recipe, name)()).quantize().quantized_model)


def _dense() -> bytes:
    """One layer so large, over 256 KiB in int4, that litert-quantizer stores its weights after the flatbuffer."""
    weights = np.random.default_rng(0).normal(size=(768, 768)).astype(np.float32)
    return dense_file(constant("w", weights), signatures=[("main", 0, {"x": 0}, {"y": 2})])


def _loop() -> bytes:
    matrix = tf.constant(tf.random.stateless_normal((16, 16), (0, 1)))

    @tf.function(input_signature=[tf.TensorSpec((1, 16), tf.float32)])
    def power(x: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda i, _: i < 3, lambda i, x: (i + 1, x @ matrix), (tf.constant(0), x))[1]

    content: bytes = tf.lite.TFLiteConverter.from_concrete_functions([power.get_concrete_function()]).convert()
    return content
