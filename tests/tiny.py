"""Digits with a ViT and sentences with a BERT, all small enough to train within a second."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import tf_keras

from tfcompress.data.dataset import SPLITS, Dataset
from tfcompress.data.images import digits
from tfcompress.data.tasks import Embedding
from tfcompress.data.tokenizer import Tokenizer
from tfcompress.models.bert import BertConfig, bert
from tfcompress.models.vit import ViTConfig, vit
from tfcompress.training import Objective, Training, fit, make_repeatable

TINY = ViTConfig(image_size=8, patch_size=4, width=16, depth=1, heads=2)
_WORDS = {"animal": "horse dog sparrow trout lizard", "fruit": "apple pear cherry melon fig", "tool": "hammer saw file"}


def few_digits() -> Dataset:
    """Returns 128 training, 64 validation and 64 test images of digits."""
    full = digits()
    return dataclasses.replace(
        full, train=full.train.take(128), validation=full.validation.take(64), test=full.test.take(64)
    )


def sentences() -> Dataset:
    """Returns 96 training, 48 validation and 48 test sentences about animals, fruit and tools.

    The tokenizer also knows words that occur in none of them.
    """
    rng = np.random.default_rng(0)

    def split(size: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(0, 3, size)
        nouns = [rng.choice(list(_WORDS.values())[label].split()) for label in labels]
        texts = [f"{rng.choice(['the', 'one', 'that'])} {noun} {rng.choice(['here', 'there', ''])}" for noun in nouns]
        return np.array(texts, object), labels

    splits = [split(size) for size in (96, 48, 48)]
    known = [*splits[0][0], "zebra zebra quince quince city city country country"]
    return Dataset.from_arrays("words", tuple(_WORDS), *splits, decode=Tokenizer.trained(known, 90, 12))


def scored(data: Dataset) -> Dataset:
    """Returns the data without labels, as pairs with the score 2.5 each."""
    splits = {one: getattr(data, one).map(lambda features, _: (features, 2.5)) for one in SPLITS}
    even = {one: split.take(int(split.cardinality()) // 2 * 2) for one, split in splits.items()}
    return dataclasses.replace(data, **even, task=Embedding(), classes=())


def embedder_of(classifier: tf_keras.Model) -> tf_keras.Model:
    """Returns a model that gives the features which a classifier's head reads."""
    return tf_keras.Model(classifier.inputs, classifier.get_layer("head").input, name=f"{classifier.name}_embedder")


def tiny_vit_of(weights: list[np.ndarray]) -> tf_keras.Model:
    """Returns a `TINY` ViT for the ten digits with these weights."""
    model = vit(TINY, 10)
    model.set_weights(weights)
    return model


def tiny_bert_of(data: Dataset, weights: list[np.ndarray] | None = None) -> tf_keras.Model:
    """Returns a BERT of two blocks with two heads each for the data's tokenizer; without weights it is untrained."""
    assert isinstance(data.decode, Tokenizer)
    config = BertConfig(len(data.decode.vocabulary), sequence_length=12, width=16, depth=2, heads=2, mlp=32)
    model = bert(config, len(data.classes), dropout=0.1)
    if weights is not None:
        model.set_weights(weights)
    return model


def trained_vit(data: Dataset, folder: Path) -> list[np.ndarray]:
    """Returns the weights of a briefly trained `TINY` ViT."""
    make_repeatable(0)
    return _trained(vit(TINY, 10), data, 10, folder)


def trained_bert(data: Dataset, folder: Path) -> list[np.ndarray]:
    """Returns the weights of a briefly trained tiny BERT."""
    make_repeatable(0)
    return _trained(tiny_bert_of(data), data, 8, folder)


def _trained(model: tf_keras.Model, data: Dataset, epochs: int, folder: Path) -> list[np.ndarray]:
    fit(model, data, Training(epochs=epochs, batch_size=16, learning_rate=3e-3), Objective(), 0, folder)
    return model.get_weights()
