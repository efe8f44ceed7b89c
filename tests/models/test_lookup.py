"""Layers that look words up move from the beginning of a model to its data."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError
from tfcompress.models.lookup import Lookup
from tfcompress.runs.base import check_fit, take_model, with_tokenizer

TEXTS = np.array(
    ["A good film!", "Bad, very BAD film", "good; not bad", "unheard of", "", "a film of a good film"], object
)
LABELS = np.arange(6) % 2


def texts() -> Dataset:
    return Dataset.from_arrays("words", ("a", "b"), *[(TEXTS, LABELS)] * 3)


def classifier(library, layer, shape=(1,), kind="string"):
    layers = library.layers
    x = library.Input(shape, dtype=kind, name="text")
    y = layers.GlobalAveragePooling1D()(layers.Embedding(40, 4)(layer(x)))
    return library.Model(x, layers.Dense(2)(y))


@pytest.mark.parametrize("library", [keras, tf_keras])
@pytest.mark.parametrize("shape", [(1,), ()])
def test_text_vectorization_moves_to_the_data(library, shape, tmp_path):
    layer = library.layers.TextVectorization(30, output_sequence_length=5)
    layer.adapt(TEXTS)
    model = classifier(library, layer, shape)
    taken, data = take_model(model, texts())
    check_fit(taken, data)
    features, _ = next(iter(data.batches("test", 6)))
    assert features.dtype == tf.int32
    expected = model(tf.constant(TEXTS.reshape(6, *shape)))
    np.testing.assert_allclose(taken(features), expected, atol=1e-6)
    data.decode.save(tmp_path)
    loaded = with_tokenizer(texts(), tmp_path)
    np.testing.assert_array_equal(next(iter(loaded.batches("test", 6)))[0], features)


@pytest.mark.parametrize(
    ("layer", "features"),
    [
        (keras.layers.StringLookup(vocabulary=["red", "green"]), np.array([["red", "blue"]] * 4, object)),
        (keras.layers.IntegerLookup(vocabulary=[7, 9, 12]), np.array([[7, 8], [9, 12]] * 2, np.int64)),
        (keras.layers.Hashing(20), np.array([[7, 80], [9, 12]] * 2, np.int64)),
        (tf_keras.layers.Hashing(20), np.array([[7, 80], [9, 12]] * 2, np.int64)),
        (keras.layers.Hashing(20), np.array([["red", "blue"], ["one", "two"]] * 2, object)),
        (tf_keras.layers.StringLookup(vocabulary=["red", "green"]), np.array([["red", "blue"]] * 4, object)),
    ],
    ids=lambda part: getattr(part, "name", ""),
)
def test_other_lookups(layer, features):
    library = tf_keras if isinstance(layer, tf_keras.layers.Layer) else keras
    kind = "string" if features.dtype == object else "int64"
    model = classifier(library, layer, (2,), kind)
    data = Dataset.from_arrays("words", ("a", "b"), *[(features, np.arange(4) % 2)] * 3)
    taken, data = take_model(model, data)
    assert isinstance(data.decode, Lookup)
    ids, _ = next(iter(data.batches("test", 4)))
    np.testing.assert_allclose(taken(ids), model(tf.constant(features)), atol=1e-6)


def test_one_input_of_several():
    lookup = keras.layers.StringLookup(vocabulary=["red", "green"], output_mode="one_hot")
    colour, size = keras.Input((1,), dtype="string", name="colour"), keras.Input((3,), name="size")
    y = keras.layers.Concatenate()([lookup(colour), size])
    model = keras.Model({"colour": colour, "size": size}, keras.layers.Dense(2)(y))
    features = {
        "colour": np.array([["red"], ["green"], ["blue"], ["red"]], object),
        "size": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32),
    }
    data = Dataset.from_arrays("things", ("a", "b"), *[(features, np.arange(4) % 2)] * 3)
    taken, data = take_model(model, data)
    check_fit(taken, data)
    batch, _ = next(iter(data.batches("test", 4)))
    expected = model({name: tf.constant(x) for name, x in features.items()})
    np.testing.assert_allclose(taken(batch), expected, atol=1e-6)


def vectorization(**options):
    layer = keras.layers.TextVectorization(30, name="words", **options)
    layer.adapt(TEXTS)
    return layer


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"layer words returns as many ids as a text has; give it an output_sequence_length"),
        (
            {"output_sequence_length": 5, "standardize": tf.strings.upper},
            r"layer words \(TextVectorization\) uses a function of its own",
        ),
    ],
)
def test_what_cannot_move_is_refused_by_name(options, message):
    with pytest.raises(UserError, match=message):
        take_model(classifier(keras, vectorization(**options)), texts())
