"""Layers that compute otherwise in training keep both of their modes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.functional import as_functional
from tfcompress.models.operations import ByMode


class DropPath(keras.layers.Layer):
    """Drops whole examples."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x, training=None):
        if not training:
            return x
        shape = (keras.ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        return x / 0.5 * keras.ops.floor(0.5 + keras.random.uniform(shape, seed=self.seeds))


class Noise(tf_keras.layers.Layer):
    """Adds noise of a generator with a state."""

    def __init__(self, **options):
        super().__init__(**options)
        self.generator = tf.random.Generator.from_seed(1)

    def call(self, x, training=None):
        return x + self.generator.normal(tf.shape(x)) if training else x


class Doubled(tf_keras.layers.Layer):
    def call(self, x, training=None):
        return x * 2.0 if training else x


class Block(tf_keras.layers.Layer):
    """Has Dense layers around a dropout that is a function."""

    def __init__(self, **options):
        super().__init__(**options)
        self.first, self.second, self.third = (tf_keras.layers.Dense(8) for _ in range(3))

    def call(self, x, training=None):
        y = self.first(x)
        if training:
            y = tf.nn.dropout(y, 0.5)
        return x + self.second(y) - self.third(y)


def copied(library, *layers, shape=(8,)):
    x = y = library.Input(shape, name="x")
    for layer in layers:
        y = layer(y)
    return as_functional(library.Model(x, y))


X = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)


def saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "a.h5")
    return tf_keras.models.load_model(tmp_path / "a.h5")


def test_a_layer_that_drops_examples(tmp_path):
    model = saved_and_loaded(copied(keras, DropPath()), tmp_path)
    np.testing.assert_array_equal(model(X), X)
    drawn = [np.asarray(model(X, training=True)) for _ in range(8)]
    assert {*np.unique((np.stack(drawn) / X).round(4))} == {0, 2}
    assert len({x.tobytes() for x in drawn}) > 4
    assert all(len(np.unique(rows.round(4))) == 1 for rows in drawn[0] / X)


@pytest.mark.parametrize(
    ("library", "layer"),
    [
        (tf_keras, Noise()),
        (tf_keras, tf_keras.layers.GaussianNoise(1.0)),
        (keras, keras.layers.GaussianNoise(1.0)),
        (keras, keras.layers.AlphaDropout(0.5)),
    ],
    ids=lambda part: getattr(part, "name", ""),
)
def test_noise_is_new_in_each_step_of_training(library, layer):
    model = copied(library, layer)
    np.testing.assert_array_equal(model(X), X)
    step = tf.function(lambda: model(X, training=True))
    assert not np.allclose(step(), X)
    assert not np.allclose(step(), step())


def test_what_is_not_random_is_the_same_as_in_the_model_of_the_user():
    layers = [Doubled(), tf_keras.layers.Dense(8), Doubled(), Doubled(), tf_keras.layers.Dense(4)]
    x = y = tf_keras.Input((8,), name="x")
    for layer in layers:
        y = layer(y) + (y if layer is layers[2] else 0.0)
    model = tf_keras.Model(x, y)
    copy = as_functional(model)
    assert sum(isinstance(layer, ByMode) for layer in copy.layers) == 3
    np.testing.assert_allclose(copy(X, training=True), model(X, training=True), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(copy(X), model(X), rtol=1e-5, atol=1e-5)


def test_a_dropout_as_a_function_between_layers_with_weights():
    model = copied(tf_keras, Block())
    assert [type(layer) for layer in model.layers].count(tf_keras.layers.Dense) == 3
    both = next(layer for layer in model.layers if isinstance(layer, ByMode))
    watching = tf_keras.Model(model.input, [both.output, *(x.output for x in model.layers if "Dense" in str(type(x)))])
    dropped, *_ = watching(X, training=True)
    assert 0.2 < float(tf.reduce_mean(tf.cast(dropped == 0, tf.float32))) < 0.8
    assert sum(isinstance(layer, ByMode) for layer in model.layers) == 1


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_a_base_that_always_computes_as_in_inference(library):
    layers = library.layers

    class Net(library.Model):
        def __init__(self):
            super().__init__()
            self.base = library.Sequential([library.Input((8,)), layers.BatchNormalization(), layers.Dropout(0.5)])
            self.head = layers.Dense(4)

        def call(self, x):
            return self.head(self.base(x, training=False))

    net = Net()
    net(X)
    model = as_functional(net)
    before = [np.asarray(w) for w in model.non_trainable_weights]
    np.testing.assert_allclose(model(X, training=True), model(X), atol=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.non_trainable_weights, strict=True))


@pytest.mark.parametrize("name", ["RandomFlip", "RandomRotation", "RandomZoom", "RandomGrayscale", "RandomHue"])
def test_augmentation_by_keras_3(name):
    options = {"RandomFlip": ["horizontal"], "RandomHue": [0.5, (0, 1)]}.get(name, [0.5])
    model = copied(keras, getattr(keras.layers, name)(*options), shape=(8, 8, 3))
    images = np.random.default_rng(0).uniform(size=(40, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(model(images, training=False), images, atol=1e-6)
    assert not np.allclose(model(images, training=True), images, atol=1e-3)


def test_what_has_several_weights_in_training_alone_can_be_saved_however_often(tmp_path):
    model = copied(keras, keras.layers.RandomShear(0.1, 0.1), shape=(8, 8, 3))
    again = saved_and_loaded(saved_and_loaded(model, tmp_path), tmp_path)
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(again(images, training=False), images, atol=1e-6)


def test_dropout_within_a_condition_of_a_subclassed_model():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.drop, self.head = keras.layers.Dense(8), keras.layers.Dropout(0.5), keras.layers.Dense(3)

        def call(self, x, training=False):
            x = self.dense(x)
            if training:
                x = self.drop(x)
            return self.head(x)

    net = Net()
    net(X)
    model = as_functional(net)
    np.testing.assert_allclose(model(X), net(X), atol=1e-5)
    assert not np.allclose(model(X, training=True), model(X))


def test_a_shape_of_its_own_in_training_is_refused_by_its_path():
    class Cropped(keras.layers.Layer):
        def call(self, x, training=None):
            return x[:, :4] if training else x

    with pytest.raises(
        UserError, match=r"layer cropped computes float32 \(None, 4\) in training and float32 \(None, 8\)"
    ):
        copied(keras, Cropped())


def test_a_layer_with_a_state_is_refused_by_its_path():
    class Centred(keras.layers.Layer):
        def build(self, shape):
            self.mean = self.add_weight(shape=(shape[-1],), trainable=False, initializer="zeros", name="mean")

        def call(self, x, training=None):
            if training:
                self.mean.assign(0.9 * self.mean + 0.1 * keras.ops.mean(x, axis=0))
            return x - self.mean

    x = keras.Input((8,))
    inner = keras.Sequential([keras.Input((8,)), Centred(name="centred")], name="inner")
    with pytest.raises(UserError, match=r"layer inner/centred changes its variable mean in training"):
        as_functional(keras.Model(x, keras.layers.Dense(2)(inner(x))))
