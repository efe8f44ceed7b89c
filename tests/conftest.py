"""What tests share: real digits and a real ViT, both small enough for a second."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # Two test processes share two cores.

import dataclasses
import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tf_keras

from tfcompress import runtime
from tfcompress.data.dataset import Dataset
from tfcompress.data.images import digits
from tfcompress.data.tokenizer import Tokenizer
from tfcompress.models.bert import BertConfig, bert
from tfcompress.models.vit import ViTConfig, vit
from tfcompress.training import Objective, Training, fit, make_repeatable

from .native import has_runtime

TINY = ViTConfig(image_size=8, patch_size=4, width=16, depth=1, heads=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process ends alone with one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="module", autouse=True)
def forget_graphs() -> Iterator[None]:
    """Frees what Keras and TensorFlow keep of a module's models: gigabytes over the whole run, which slow all down."""
    yield
    tf_keras.backend.clear_session()
    gc.collect()


@pytest.fixture(scope="session")
def tiny_data() -> Dataset:
    """Digits, but 128 / 64 / 64 of them."""
    full = digits()
    return dataclasses.replace(
        full, train=full.train.take(128), validation=full.validation.take(64), test=full.test.take(64)
    )


@pytest.fixture(scope="session")
def trained_weights(tiny_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """The weights of a tiny ViT that has learned something."""
    make_repeatable(0)
    model = vit(TINY, 10)
    training = Training(epochs=10, batch_size=16, learning_rate=3e-3)
    fit(model, tiny_data, training, Objective(), 0, tmp_path_factory.mktemp("base"))
    return model.get_weights()


@pytest.fixture
def tiny_vit(trained_weights: list[np.ndarray]) -> tf_keras.Model:
    """A trained ViT of one block: eight Dense kernels."""
    model = vit(TINY, 10)
    model.set_weights(trained_weights)
    return model


@pytest.fixture
def images(tiny_data: Dataset) -> np.ndarray:
    """The 64 test images, (64, 8, 8, 3) float32."""
    return np.stack([image for image, _ in tiny_data.examples("test").as_numpy_iterator()])


@pytest.fixture
def below_a_file(tmp_path: Path) -> Path:
    """A path that nothing can be written to, not even by root."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "work"


@pytest.fixture(scope="session")
def library() -> str:
    """The clustered runtime's library."""
    if not has_runtime():
        pytest.skip("no clustered runtime: there was no C++ compiler when tfcompress was installed")
    return str(runtime.library())


_WORDS = {"animal": "horse dog sparrow trout lizard", "fruit": "apple pear cherry melon fig", "tool": "hammer saw file"}


@pytest.fixture(scope="session")
def tiny_text() -> Dataset:
    """Sentences on animals, fruit and tools, 96 / 48 / 48; the tokenizer knows words that occur in none of them."""
    rng = np.random.default_rng(0)

    def split(size: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(0, 3, size)
        nouns = [rng.choice(list(_WORDS.values())[label].split()) for label in labels]
        texts = [f"{rng.choice(['the', 'one', 'that'])} {noun} {rng.choice(['here', 'there', ''])}" for noun in nouns]
        return np.array(texts, object), labels

    splits = [split(size) for size in (96, 48, 48)]
    known = [*splits[0][0], "zebra zebra quince quince city city country country"]
    return Dataset.from_arrays("words", tuple(_WORDS), *splits, decode=Tokenizer.trained(known, 90, 12))


@pytest.fixture(scope="session")
def bert_weights(tiny_text: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """The weights of a tiny BERT that has learned something."""
    make_repeatable(0)
    model = tiny_bert_of(tiny_text)
    training = Training(epochs=8, batch_size=16, learning_rate=3e-3)
    fit(model, tiny_text, training, Objective(), 0, tmp_path_factory.mktemp("bert"))
    return model.get_weights()


@pytest.fixture
def tiny_bert(tiny_text: Dataset, bert_weights: list[np.ndarray]) -> tf_keras.Model:
    """A trained BERT of two blocks with two heads each."""
    model = tiny_bert_of(tiny_text)
    model.set_weights(bert_weights)
    return model


def tiny_bert_of(data: Dataset) -> tf_keras.Model:
    """Returns an untrained tiny BERT for the data's tokenizer."""
    assert isinstance(data.decode, Tokenizer)
    config = BertConfig(len(data.decode.vocabulary), sequence_length=12, width=16, depth=2, heads=2, mlp=32)
    return bert(config, len(data.classes), dropout=0.1)
