import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.data.dataset import Dataset
from tfcompress.models.bert import BertConfig, bert
from tfcompress.optimize.short_tables import shorten
from tfcompress.training import Objective, Training, fit

CONFIG = BertConfig(vocabulary=3000, sequence_length=4, width=8, depth=1, heads=1, mlp=8)


@pytest.fixture
def few_tokens() -> Dataset:
    rng = np.random.default_rng(0)
    split = rng.choice([5, 70, 2999], (64, 4)).astype(np.int32), rng.integers(0, 2, 64)

    def decode(ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"token_ids": ids, "segment_ids": tf.zeros_like(ids), "padding_mask": tf.ones_like(ids)}

    return Dataset.from_arrays("few", "ab", split, split, split, decode=decode)


def test_training_a_short_table_is_training_the_whole_one(few_tokens, tmp_path):
    whole, again = bert(CONFIG, 2), bert(CONFIG, 2)
    again.set_weights(whole.get_weights())
    first = whole.get_layer("token_embedding").embeddings.numpy()
    training = Training(epochs=2, batch_size=16, learning_rate=1e-2)
    short, data, restore = shorten(again, few_tokens)
    assert short.get_layer("token_embedding").input_dim == 3
    fit(short, data, training, Objective(), 0, tmp_path / "short")
    fit(whole, few_tokens, training, Objective(), 0, tmp_path / "whole")
    for one, other in zip(whole.get_weights(), restore(short).get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    table = restore(short).get_layer("token_embedding").embeddings.numpy()
    np.testing.assert_array_equal(np.delete(table, [5, 70, 2999], 0), np.delete(first, [5, 70, 2999], 0))
    assert abs(table[70] - first[70]).max() > 1e-3


def test_a_model_without_a_long_table_is_left_as_it_is(few_tokens):
    model = bert(dataclasses.replace(CONFIG, vocabulary=1999), 2)
    same, data, restore = shorten(model, few_tokens)
    assert same is model
    assert data is few_tokens
    assert restore(model) is model


def test_features_that_are_no_dict_are_left_as_they_are(few_tokens):
    plain = dataclasses.replace(few_tokens, decode=lambda ids: ids)
    ids = tf_keras.Input((4,), dtype=tf.int32, name="token_ids")
    model = tf_keras.Model(ids, tf_keras.layers.Flatten()(tf_keras.layers.Embedding(3000, 2)(ids)))
    same, data, _ = shorten(model, plain)
    assert (same, data) == (model, plain)
