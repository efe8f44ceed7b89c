"""Files whose bytes must not change when the code that writes them is restructured. Weights come from NumPy seeds.

`python -m tests.unchanged.files` writes new figures to tests/unchanged/figures.json.
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

from tests.packed.graphs import K, Model, N
from tests.packed.transformers import SHAPE, WIDTH, cluster, keras_transformer
from tfcompress.export.converter import convert
from tfcompress.inspect.contents import inspect
from tfcompress.models import presets
from tfcompress.models.vit import ViTConfig, vit
from tfcompress.packed.packer import pack
from tfcompress.packed.unpacker import unpack
from tfcompress.report.contents import to_json
from tfcompress.tflite.metadata import Description, ImageInput, TextInput, describe

FIGURES = Path(__file__).with_name("figures.json")
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


def figures(folder: Path) -> dict[str, dict[str, str]]:
    """The SHA-256 of each file (stock, packed, packed for int8, unpacked) and of what `inspect --json` says about it.

    Changes the working directory to `folder`, so that the paths in the output are the same everywhere.
    """
    found: dict[str, dict[str, str]] = {}
    os.chdir(folder)
    for name, stock in files():
        packed = pack(stock)
        made = {"stock": stock, "packed": packed, "packed_int8": pack(stock, "int8"), "unpacked": unpack(packed)}
        found[name] = {}
        for what, content in made.items():
            path = Path(f"{name}_{what}.tflite")
            path.write_bytes(content)
            found[name][what] = hashlib.sha256(content).hexdigest()
            found[name][f"inspect_{what}"] = hashlib.sha256(to_json(inspect(path)).encode()).hexdigest()
    return found


def keys(value: object, path: str = "") -> Iterator[str]:
    """The paths of all keys in JSON; of a list, those of its first entry."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{path}.{key}".lstrip(".")
            yield from keys(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list) and value:
        yield from keys(value[0], f"{path}[]")


def report_keys(folder: Path) -> list[str]:
    """The keys of the report of a run with one short stage."""
    from tfcompress import Cluster, Export, compress

    from ..tiny import few_digits

    fit = {"epochs": 1, "batch_size": 64}
    data = few_digits()
    compress(cluster(vit(_VIT, 10)), data, [Cluster(fit=fit)], folder, export=Export())
    return list(dict.fromkeys(keys(json.loads((folder / "report.json").read_text()))))


if __name__ == "__main__":
    import sys
    import tempfile

    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FIGURES
    target = target.absolute()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        found = {"files": figures(Path(one)), "report": report_keys(Path(other) / "run")}
        os.chdir("/")
    target.write_text(json.dumps(found, indent=1) + "\n")
