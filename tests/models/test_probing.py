"""What is found out about a traced model by running it."""

from __future__ import annotations

import numpy as np
import tf_keras

from tfcompress.models.expand import trace
from tfcompress.models.probing import Probe, random_inputs
from tfcompress.models.signature import signature

layers = tf_keras.layers


def inputs_of(*parts: tf_keras.layers.Layer) -> np.ndarray:
    """Returns random inputs for layers that take a series."""
    x = tf_keras.Input((6, 4), name="series")
    model = tf_keras.Sequential([x, *parts])
    return random_inputs(Probe(trace(model, signature(model))), 4, seed=0)["series"]


def test_series_are_padded_for_models_with_a_mask():
    padded = inputs_of(layers.Masking(), layers.GRU(3))
    assert (padded[1::2, 3:] == 0).all()
    assert (padded[::2] > 0).all()


def test_series_are_not_padded_for_other_models():
    assert (inputs_of(layers.GRU(3)) > 0).all()
