"""Fine-tunes a clustered ViT of a Hugging Face folder by the float model's outputs, on pictures without labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfcompress import Cluster, Dataset, Distil, Export, LayerClustering, Training, compress
from tfcompress.data.decoding import decode_image
from tfcompress.data.pictures import fit
from tfcompress.models.pretrained import hugging_face

_VALIDATION = 50
"""Pictures that are held back."""


def distilled(folder: Path, pictures: Path, clusters: int | Mapping[str, int], epochs: int, workdir: Path) -> bytes:
    """Returns a float32 `.tflite` file with clustered kernels.

    Clustering starts from compensated centroids and a scale per output. A run that was killed goes on where it stopped.

    Args:
        folder: of the checkpoint.
        pictures: in sub-folders of any names; nothing is learned from these.
        clusters: of each kernel, or by the layer's name.
        epochs: over all pictures but 50.
        workdir: of the run.
    """
    loaded = hugging_face.load_whole(folder)
    side = loaded.model.input_shape[1]
    classes = list(json.loads((folder / "config.json").read_text())["id2label"].values())
    paths = np.array(sorted(str(path) for path in pictures.rglob("*") if path.is_file()))
    paths = np.random.default_rng(0).permutation(paths)
    labels = np.arange(len(paths)) % len(classes)  # A data set has some; their weight is zero.
    train, held = ((paths[part], labels[part]) for part in (slice(_VALIDATION, None), slice(_VALIDATION)))

    def decode(path: tf.Tensor) -> tf.Tensor:
        return fit(decode_image(tf.io.read_file(path)), side)

    data = Dataset.from_arrays("pictures", classes, train, held, held, decode=decode)
    training = Training(epochs=epochs, batch_size=16, learning_rate=1e-4, warmup=0.1)
    widths = (
        {"clusters": clusters}
        if isinstance(clusters, int)
        else {"layers": {name: LayerClustering(clusters=count) for name, count in clusters.items()}}
    )
    techniques = [
        Distil(training=False, keep=True, labels=0, soft_labels=1, temperature=1),
        Cluster.model_validate({**widths, "initialization": "compensated", "scales": True, "fit": training}),
    ]
    export = Export(formats=("float32",), clustered=False)
    compress(loaded.model, data, techniques, workdir, export=export, pixel_range=(0, 1), rehearsal=False)
    return (workdir / "tflite" / "02-cluster-float32.tflite").read_bytes()
