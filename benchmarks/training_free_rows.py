"""The files that `training_free.py` compares: clusters without training, and what the other tools make."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from litert_quantizer.algorithm_manager import AlgorithmName
from litert_quantizer.qtyping import QuantGranularity, TFLOperationName
from litert_quantizer.recipe_manager import RecipeManager

from benchmarks.peer_rows import onnx_runtime_int8, openvino_int8
from benchmarks.training_free_tasks import TFLITE, Made, Task
from tfcompress.export.quantizer import quantize
from tfcompress.packed.options import Activations
from tfcompress.packed.packer import pack_counted
from tfcompress.post_training.clustering import cluster
from tfcompress.post_training.method import Settings
from tfcompress.tflite.attached import with_attached_files
from tfcompress.tflite.reading import read

_COMPUTED_IN: tuple[Activations, ...] = ("float32", "int8")

Make = Callable[[bytes, Task], Made]
"""Makes files, by what they are called in the table, from a float32 file and its task."""


def _float32(content: bytes, _: Task) -> Made:
    return {"float32": {TFLITE: content}}


def _float16(content: bytes, _: Task) -> Made:
    return {"float16": {TFLITE: with_attached_files(content, quantize(content, "float16"))}}


def _clustered(clusters: int, compensated: bool, content: bytes, task: Task) -> Made:
    """Clusters once, and packs for computing in float32 and in int8."""
    found = cluster(content, Settings(clusters, compensated=compensated), task.calibration if compensated else None)
    name = f"{clusters} clusters, {'compensated' if compensated else 'k-means'}"
    return {
        f"{name}, {computing}": {TFLITE: pack_counted(found.content, computing).content} for computing in _COMPUTED_IN
    }


def _quantized(
    name: str,
    bits: int,
    content: bytes,
    task: Task,
    algorithm: AlgorithmName = AlgorithmName.MIN_MAX_UNIFORM_QUANT,
    granularity: QuantGranularity = QuantGranularity.CHANNELWISE,
) -> Made:
    """Quantizes with litert-quantizer: what an algorithm does not take, and tables that are looked up in, as int8."""
    manager = RecipeManager()
    manager.add_dynamic_config(".*", TFLOperationName.ALL_SUPPORTED, 8)
    manager.add_dynamic_config(".*", TFLOperationName.ALL_SUPPORTED, bits, granularity, algorithm)
    for operator in read(content).operators():
        if operator.kind == "GATHER" and len(operator.inputs[0].data):
            table = f"^{re.escape(operator.outputs[0].name)}"
            manager.add_static_config(table, TFLOperationName.GATHER, 8, 8, QuantGranularity.TENSORWISE)
    examples = [{key: np.asarray(value)[None] for key, value in one.items()} for one in task.calibration]
    made = quantize(content, manager.get_quantization_recipe(), examples)
    return {f"litert-quantizer, {name}": {TFLITE: with_attached_files(content, made)}}


def _stock_int8(_: bytes, task: Task) -> Made:
    """Lets TensorFlow's converter store weights as int8, with a scale per output as it does by default."""
    from tfcompress.commands.convert import convert_file  # Imports TensorFlow.

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.tflite"
        convert_file(task.source(), file, "dynamic", per_channel=True)
        return {"stock converter, dynamic int8": {TFLITE: file.read_bytes()}}


def _tfmot(clusters: int, _: bytes, task: Task) -> Made:
    """Clusters all Dense layers by tfmot alone, which without training leaves weights at the centroids of k-means++."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    from tfcompress.export.converter import convert

    clustering = tfmot.clustering.keras

    def wrapped(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if not isinstance(layer, tf_keras.layers.Dense):
            return layer
        return clustering.cluster_weights(layer, clusters, clustering.CentroidInitialization.KMEANS_PLUS_PLUS)

    tf_keras.utils.set_random_seed(0)
    clustered = tf_keras.models.clone_model(task.keras_model(), clone_function=wrapped)
    content = convert(clustering.strip_clustering(clustered), "float32")
    return {f"tfmot, {clusters} clusters, stock file": {TFLITE: content}}


ROWS: dict[str, Make] = {
    "float32": _float32,
    "ours-64": partial(_clustered, 64, True),
    "ours-16": partial(_clustered, 16, True),
    "int4-octav": partial(_quantized, "int4 OCTAV", 4, algorithm=AlgorithmName.OCTAV),
    "int4-gptq": partial(_quantized, "int4 GPTQ", 4, algorithm=AlgorithmName.GPTQ),
    "int4-oscar": partial(_quantized, "int4 OSCAR", 4, algorithm=AlgorithmName.OSCAR),
    "int4-mse": partial(_quantized, "int4 MSE", 4, algorithm=AlgorithmName.MSE),
    "int4-min-max": partial(_quantized, "int4 min-max", 4),
    "int4-hadamard": partial(_quantized, "int4 Hadamard", 4, algorithm=AlgorithmName.DECOMPOSED_HADAMARD_ROTATION),
    "int4-blockwise": partial(_quantized, "int4 in blocks of 32", 4, granularity=QuantGranularity.BLOCKWISE_32),
    "int8": partial(_quantized, "int8", 8),
    "stock-int8": _stock_int8,
    "tfmot-64": partial(_tfmot, 64),
    "float16": _float16,
    "ours-32": partial(_clustered, 32, True),
    "ours-8": partial(_clustered, 8, True),
    "ours-64-k-means": partial(_clustered, 64, False),
    "ours-16-k-means": partial(_clustered, 16, False),
    "ours-32-k-means": partial(_clustered, 32, False),
    "ours-8-k-means": partial(_clustered, 8, False),
    "openvino-int8": openvino_int8,
    "onnx-runtime-int8": onnx_runtime_int8,
}
"""By name, the most important first."""

BERT_ROWS = (
    "float32", "ours-16", "ours-64", "int8", "stock-int8", "int4-octav", "float16", "int4-gptq", "int4-blockwise",
    "openvino-int8", "onnx-runtime-int8",
)  # fmt: skip
COMPARED_ROWS = (
    "float32", "ours-64", "ours-16", "int8", "stock-int8", "tfmot-64", "int4-octav", "int4-blockwise", "openvino-int8",
    "onnx-runtime-int8",
)  # fmt: skip
"""Those that stand for a tool."""
QUICK_ROWS = ("float32", "ours-16", "int4-octav", "int4-gptq", "openvino-int8", "onnx-runtime-int8")
