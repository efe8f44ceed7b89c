import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress import Dataset, Prune, Training, compress
from tfcompress.data.tasks import Embedding
from tfcompress.models.outputs import Outputs
from tfcompress.runs.guessing import warn_if_guessing
from tfcompress.runs.stages import Stage


def split(size: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.sort(np.random.default_rng(size).choice(3, size, p=[0.6, 0.2, 0.2]))
    return np.eye(3, dtype=np.float32)[labels], labels


def data(size: int = 600) -> Dataset:
    return Dataset.from_arrays("numbers", ("dog", "cat", "owl"), split(40), split(size), split(9))


def answering(scores: np.ndarray) -> tf_keras.Model:
    x = tf_keras.Input((3,), name="numbers")
    model = tf_keras.Model(x, tf_keras.layers.Dense(3, name="scores")(x))
    model.set_weights([scores, np.zeros(3)])
    return model


RIGHT, CYCLED, CONSTANT = np.eye(3), np.roll(np.eye(3), 1, axis=1), np.eye(3)[[0, 0, 0]]


def stage(scores: np.ndarray, data: Dataset) -> Stage:
    return Stage("base", "00-base", answering(scores), data, {}, [], Outputs.LOGITS, ("probabilities",))


@pytest.mark.parametrize("scores", [CYCLED, CONSTANT])
def test_a_model_that_guesses_is_pointed_out(scores):
    message = (
        r"right on \d+ of 200 validation examples, .* always to answer 'dog'.*order of its classes .*dog, cat, owl"
    )
    with pytest.warns(UserWarning, match=message):
        warn_if_guessing(stage(scores, data()))


@pytest.mark.parametrize("size", [4, 600])
def test_a_model_that_knows_something_is_not(size):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_guessing(stage(RIGHT, replace(data(), validation=data().validation.take(size))))


def test_scored_pairs_are_not_torn_apart():
    splits, task = [(np.eye(3)[[0, 1] * n], np.ones(2 * n)) for n in (2, 301, 2)], Embedding()
    pairs = Dataset.from_arrays("pairs", (), *splits, task=task)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_guessing(stage(RIGHT, pairs))


def test_the_reasons_fit_the_data():
    pictures = replace(data(), decode=lambda x: tf.reshape(x, (1, 1, 3)))
    x = tf_keras.Input((1, 1, 3))
    model = tf_keras.Model(x, answering(CYCLED)(tf_keras.layers.Flatten()(x)))
    with pytest.warns(UserWarning, match=r"range of its pixels \(these are from 0 to 1; .*pixel_range"):
        warn_if_guessing(replace(stage(CYCLED, pictures), model=model))


def test_a_run_points_it_out_before_its_first_technique(tmp_path):
    seen = []

    class Watched(Prune):
        def prepare(self, model, context):
            seen.append(len(noticed))
            return super().prepare(model, context)

    fit = Training(epochs=1, batch_size=16)
    step = Watched(sparsity=0.5, schedule="constant", fit=fit)
    with pytest.warns(UserWarning, match="is right on") as noticed:
        compress(answering(CYCLED + np.arange(9).reshape(3, 3) / 100), data(), [step], Path(tmp_path))
    assert seen == [1]
