"""Stock files whose packed bytes are recorded. Weights come from NumPy seeds, so they are the same everywhere.

`python -m tests.packed.golden` records the packed bytes anew, which only another version of the format should need.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tf_keras
from ai_edge_litert import schema_py_generated as schema

from tfcompress.export.converter import convert
from tfcompress.models import presets
from tfcompress.models.vit import ViTConfig, vit
from tfcompress.packed.packer import pack
from tfcompress.tflite.metadata import Description, ImageInput, TextInput, describe

from .graphs import K, Model, N
from .scaled import VERSION_2
from .scaled import packed_files as packed_with_scales
from .transformers import SHAPE, WIDTH, cluster, keras_transformer

VERSION_1 = Path(__file__).with_name("version_1")
"""Packed files of format version 1, and the SHA-256 of more of them."""

_VIT = ViTConfig(image_size=8, patch_size=4, width=32, depth=2, heads=4)


def models() -> Iterator[tuple[str, tf_keras.Model, Description]]:
    """A ViT and a BERT with clustered weights, and the descriptions of their files."""
    labels = tuple("0123456789")
    yield "vit", cluster(vit(_VIT, 10)), Description("vit", "Classifies digits.", labels, ImageInput())
    pieces = tuple(f"piece{number}" for number in range(SHAPE["vocabulary"]))
    bert = cluster(presets.build("bert_base", 3, **SHAPE))
    yield "bert", bert, Description("bert", "Classifies texts.", ("a", "b", "c"), TextInput(pieces, True))


def others() -> Iterator[tuple[str, bytes]]:
    """Five more files: three other transformers, and two that are built by hand."""
    yield "minilm", convert(cluster(presets.build("minilm_l6", 3, **SHAPE | {"exact_gelu": False})), "float32", True)
    mobile = {"width": WIDTH, "bottleneck": 16, "embedding": 16, "heads": 2}
    yield "mobilebert", convert(cluster(presets.build("mobilebert", 3, **SHAPE | mobile)), "float32")
    yield "keras", tf.lite.TFLiteConverter.from_keras_model(cluster(keras_transformer())).convert()
    yield "int8_table", _int8_table()
    yield "int8_activations", _int8_activations()


def _int8_table() -> bytes:
    step = {"scales": [0.1], "zero_points": [0]}
    model = Model(2, 3, type="int32")
    table = model.constant(np.round(model.clustered(50, 20) * 100), np.int8, **step)
    y = model.add("GATHER", [table, 0], (2, 3, 20), 2, "int8", schema.GatherOptionsT(), **step)
    return model.file(model.add("DEQUANTIZE", [y], (2, 3, 20), 2, own=schema.DequantizeOptionsT()))


def _int8_activations() -> bytes:
    step = {"scales": [0.05], "zero_points": [-3]}
    model = Model(2, K, type="int8")
    model.tensors[0].quantization.scale, model.tensors[0].quantization.zeroPoint = [0.05], [-3]
    weights = model.constant(np.round(model.clustered(N, K, 9) * 100), np.int8, scales=[0.01], zero_points=[0])
    bias = model.constant(np.arange(N) * 100, np.int32, scales=[0.0005], zero_points=[0])
    y = model.add("FULLY_CONNECTED", [0, weights, bias], (2, N), 4, "int8", schema.FullyConnectedOptionsT(), **step)
    return model.file(model.add("TANH", [y], (2, N), 2, "int8", scales=[1 / 128], zero_points=[0]))


def files() -> Iterator[tuple[str, bytes]]:
    """All stock files by name."""
    for name, model, description in models():
        for stored_as in ("float32", "float16", "dynamic"):
            yield f"{name}_{stored_as}", describe(convert(model, stored_as), description)
    yield from others()


def packed_files() -> Iterator[tuple[str, dict[str, bytes]]]:
    """The packed files by the name of their stock file: computing in what the weights ask for, and in int8."""
    for name, stock in files():
        yield name, {"packed": pack(stock, allow_larger=True), "packed_int8": pack(stock, "int8", allow_larger=True)}


def digests(made: dict[str, bytes]) -> dict[str, str]:
    return {what: hashlib.sha256(content).hexdigest() for what, content in made.items()}


if __name__ == "__main__":
    found = dict(packed_files())
    recorded = {name: digests(made) for name, made in found.items()}
    (VERSION_1 / "sha256.json").write_text(json.dumps(recorded, indent=1) + "\n")
    for name in ("vit_float32", "int8_table", "int8_activations"):
        (VERSION_1 / f"{name}.tflite").write_bytes(found[name]["packed"])
    for name, content in packed_with_scales().items():
        (VERSION_2 / f"{name}.tflite").write_bytes(content)
