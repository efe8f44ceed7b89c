from __future__ import annotations

import numpy as np
import pytest
import tf_keras

from tfcompress.data.dataset import Dataset
from tfcompress.models.bert import BertConfig, bert
from tfcompress.training import Objective, Training, fit

BERT = BertConfig(vocabulary=40, sequence_length=8, width=32, depth=1, heads=4, mlp=64)


@pytest.fixture(scope="session")
def words() -> Dataset:
    """Random token ids, 512 / 64 / 256; the class is which of two tokens occurs, or none."""
    rng = np.random.default_rng(0)

    def split(size: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        ids = rng.integers(4, 40, (size, 8)).astype(np.int32)
        labels = rng.integers(0, 3, size)
        ids[np.arange(size), rng.integers(1, 5, size)] = labels + 1
        lengths = rng.integers(5, 9, size)
        mask = (np.arange(8) < lengths[:, None]).astype(np.int32)
        return {"token_ids": ids * mask, "segment_ids": 0 * ids, "padding_mask": mask}, labels

    return Dataset.from_arrays("words", "abc", split(512), split(64), split(256))


@pytest.fixture(scope="session")
def teacher(words, tmp_path_factory) -> tf_keras.Model:
    tf_keras.utils.set_random_seed(0)
    model = bert(BERT, 3, dropout=0.1)
    training = Training(epochs=12, batch_size=32, learning_rate=2e-3, warmup=0.3)
    fit(model, words, training, Objective(), 0, tmp_path_factory.mktemp("teacher"))
    return model


@pytest.fixture
def stack_of_kernels() -> tf_keras.Model:
    """A classifier of digits whose Dense kernels have zeros or few values that no technique made."""
    tf_keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    plain = rng.normal(0, 0.2, (16, 16))
    kinds = {
        "all_zero": np.zeros((16, 16)),
        "mostly_zero": np.where(rng.permutation(256).reshape(16, 16) < 192, 0, plain),
        "tenth_zero": np.where(rng.permutation(256).reshape(16, 16) < 26, 0, plain),
        "three_zeros": np.where(rng.permutation(256).reshape(16, 16) < 3, 0, plain),
        "one_value": np.full((16, 16), 0.1),
        "two_values": rng.choice([-0.2, 0.2], (16, 16)),
    }
    layers = tf_keras.layers
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.Dense(16, activation="relu", name="first")(layers.Flatten()(image))
    x = layers.Add()([layers.Dense(16, name=name)(x) for name in kinds])
    model = tf_keras.Model(image, layers.Dense(10, name="head")(layers.ReLU()(x)))
    for name, kernel in kinds.items():
        model.get_layer(name).kernel.assign(kernel)
    return model
