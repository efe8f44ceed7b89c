import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.models.functional import as_functional
from tfcompress.models.pixels import pixel_range_of
from tfcompress.pixel_range import BYTES, UNIT

L = tf_keras.layers
IMAGENET = {"mean": [0.485, 0.456, 0.406], "variance": [0.229**2, 0.224**2, 0.225**2]}

BEGINNINGS = {
    "nothing": (None, lambda x: x),
    "bytes": (BYTES, L.Rescaling(1 / 255)),
    "bytes_to_signed": (BYTES, L.Rescaling(1 / 127.5, -1)),
    "bytes_normalised": (BYTES, L.Normalization(mean=[33.0, 127.0, 200.0], variance=[79.0**2] * 3)),
    "imagenet": (BYTES, lambda x: L.Normalization(**IMAGENET)(L.Rescaling(1 / 255)(x))),
    "operations": (BYTES, lambda x: (x / 255.0 - 0.5) * 2.0),
    "inverted": (BYTES, lambda x: 1.0 - x / 255.0),
    "behind_others": (BYTES, lambda x: L.Rescaling(1 / 255)(L.RandomFlip()(L.CenterCrop(6, 6)(L.Resizing(7, 7)(x))))),
    "unit_or_signed": (None, L.Rescaling(2.0, -1.0)),
    "unit": (UNIT, L.Rescaling(16.0, -8.0)),
    "convolution": (None, L.Conv2D(3, 1)),
    "two_readers": (None, lambda x: L.Concatenate()([L.Rescaling(1 / 255)(x), x])),
}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_the_beginning_of_a_model_says_what_pixels_it_takes(name):
    expected, beginning = BEGINNINGS[name]
    image = tf_keras.Input((8, 8, 3))
    pooled = L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(beginning(image)))
    assert pixel_range_of(as_functional(tf_keras.Model(image, L.Dense(3)(pooled)))) == expected


def test_the_beginning_of_a_keras_3_model():
    image = keras.Input((8, 8, 3))
    adapted = keras.layers.Normalization()
    adapted.adapt(np.random.default_rng(0).uniform(0, 255, (8, 8, 8, 3)))
    pooled = keras.layers.GlobalAveragePooling2D()(adapted(image))
    assert pixel_range_of(as_functional(keras.Model(image, keras.layers.Dense(3)(pooled)))) == BYTES


def test_other_inputs_have_no_pixels():
    x = tf_keras.Input((6,))
    assert pixel_range_of(tf_keras.Model(x, L.Dense(2)(L.Rescaling(1 / 255)(x)))) is None
