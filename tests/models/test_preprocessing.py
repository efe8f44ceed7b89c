"""Preprocessing inside a model stays inside, from expansion to the file."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.commands.convert import convert_file
from tfcompress.measure.interpreter import predict
from tfcompress.models.functional import as_functional


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_pictures_are_resized_cropped_and_normalized_inside(library, tmp_path):
    layers = library.layers
    x = library.Input((12, 10, 3), name="image")
    y = layers.CenterCrop(6, 6)(layers.Resizing(8, 8)(layers.RandomFlip()(x)))
    y = layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3])(layers.Rescaling(1 / 255)(y))
    model = library.Model(x, layers.Dense(3)(layers.Flatten()(y)))
    images = np.random.default_rng(0).uniform(0, 255, (3, 12, 10, 3)).astype(np.float32)
    expected = model(images, training=False)
    copy = as_functional(model)
    kept = {"Resizing", "CenterCrop", "Rescaling", "Normalization"}
    assert kept <= {type(layer).__name__ for layer in copy.layers}
    np.testing.assert_allclose(copy(images, training=False), expected, atol=1e-5)
    copy.save(tmp_path / "a.h5")
    convert_file(tf_keras.models.load_model(tmp_path / "a.h5"), tmp_path / "a.tflite", "float32")
    np.testing.assert_allclose(predict(tmp_path / "a.tflite", images), expected, atol=1e-4)


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_what_a_normalization_has_learned_stays(library, tmp_path):
    table = np.random.default_rng(0).normal(5, 3, (20, 4)).astype(np.float32)
    layer = library.layers.Normalization()
    layer.adapt(table)
    x = library.Input((4,), name="columns")
    model = library.Model(x, library.layers.Dense(2)(layer(x)))
    copy = as_functional(model)
    np.testing.assert_allclose(copy(table), model(table), atol=1e-5)
    convert_file(copy, tmp_path / "a.tflite", "float32")
    np.testing.assert_allclose(predict(tmp_path / "a.tflite", table), model(table), atol=1e-5)
