"""Makes small but real versions of the files that pages of the docs call the reader's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

from tests.measure.phone_reports import report_of
from tfcompress.models.vit import ViTConfig, vit

_ANIMALS = ("cat", "dog", "owl")
_WORDS = {"negative": ("bad", "cold", "slow"), "positive": ("good", "warm", "quick")}


def prepare(folder: Path, text: str, demo: Path) -> None:
    """Puts the files that a page mentions into its scratch folder.

    Args:
        folder: the scratch folder of the page.
        text: the text of the page.
        demo: a finished run of vit_digits.
    """
    if "out/demo" in text:
        shutil.copytree(demo, folder / "out" / "demo")
    for name, make in _MADE.items():
        if name in text:
            make(folder / name)
    if "phone.json" in text:
        android = folder / "out" / "demo" / "android"
        medians = {1: 2.0, 2: 1.5}
        (folder / "phone.json").write_text(json.dumps(report_of(dict.fromkeys(android.glob("*.tflite"), medians))))
    for name, stage in (("a", "00-base"), ("b", "01-prune"), ("clustered", "02-cluster")):
        if f" {name}.tflite" in text:
            shutil.copy(demo / "tflite" / f"{stage}-float32.tflite", folder / f"{name}.tflite")


def picture_sets(folder: Path) -> dict[str, tf.data.Dataset]:
    """Returns train, validation and test of (image 16 × 16, label), as the README's reader has them."""
    files = [(str(path), label) for label, name in enumerate(_ANIMALS) for path in sorted((folder / name).iterdir())]
    images = np.stack([tf.io.decode_png(Path(path).read_bytes()).numpy()[:16, :16] / 255 for path, _ in files])
    labels = np.array([label for _, label in files])
    order = np.random.default_rng(0).permutation(len(files))
    parts = dict(zip(("train", "validation", "test"), np.split(order, [42, 51]), strict=True))
    return {
        name: tf.data.Dataset.from_tensor_slices((images[part].astype(np.float32), labels[part]))
        for name, part in parts.items()
    }


def _pictures(folder: Path) -> None:
    """Twenty pictures of each animal, each animal of a colour."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(_ANIMALS):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 120, (64, 64, 3), np.uint8)
            pixels[..., label] += 100
            (folder / name / f"{number:02}.png").write_bytes(tf.io.encode_png(pixels).numpy())


def _reviews(path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["text\tlabel"]
    for number in range(160):
        label = ("negative", "positive")[number % 2]
        rows.append(
            f"the {rng.choice(['soup', 'tea', 'bread'])} was {rng.choice(_WORDS[label])} on day {number}\t{label}"
        )
    path.write_text("\n".join(rows) + "\n")


def _own_vit(path: Path) -> None:
    """A model that nobody here has designed: attention by Keras, patches by a convolution, no custom layer."""
    layers = tf_keras.layers
    image = tf_keras.Input((16, 16, 3), name="image")
    x = layers.Reshape((16, 16))(layers.Conv2D(16, 4, 4, name="patches")(image))
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8, name="attention")(x, x)])
    x = layers.Dense(16, activation="gelu", name="expand")(layers.LayerNormalization(epsilon=1e-6)(x))
    scores = layers.Dense(3, activation="softmax", name="head")(layers.GlobalAveragePooling1D()(x))
    tf_keras.Model(image, scores, name="my_vit").save(path)


def _recipe(path: Path) -> None:
    """What docs/own_vit.md writes, for other pages that go on from it."""
    path.write_text("data: {name: image_folder, path: pictures}\nmodel: {preset: vit_digits}\ntechniques: [cluster]\n")


def _own_file(path: Path) -> None:
    vit(ViTConfig(image_size=8, patch_size=4, width=16, depth=1, heads=2), 10).save(path)


def _preset(folder: Path) -> None:
    """What `save_to_preset` of keras-nlp leaves of a small BERT."""
    import keras_nlp

    words = {
        word for text in ("the soup tea bread was on day", *map(" ".join, _WORDS.values())) for word in text.split()
    }
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(words)]
    models = keras_nlp.models
    preprocessor = models.BertTextClassifierPreprocessor(models.BertTokenizer(vocabulary, lowercase=True), 32)
    backbone = models.BertBackbone(len(vocabulary), 1, 2, 16, 32, max_sequence_length=32)
    models.BertTextClassifier(backbone, 2, preprocessor).save_to_preset(str(folder))


_MADE: dict[str, Callable[[Path], None]] = {
    "pictures": _pictures,
    "pictures.yaml": _recipe,
    "reviews.tsv": _reviews,
    "my_vit.h5": _own_vit,
    "model.h5": _own_file,
    "model.keras": _own_file,
    "bert_tiny_en_uncased": _preset,
}
