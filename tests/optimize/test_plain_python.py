import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.optimize.plain_python import clone_model


class Branching(tf_keras.layers.Layer):
    def call(self, x):
        return x if tf.reduce_sum(x) > 0 else -x


class Known(Branching):
    __module__ = "tfcompress.models.layers"


@pytest.mark.parametrize("wrap", [lambda layer: layer, tf_keras.layers.TimeDistributed])
def test_a_users_own_layer_may_branch_on_a_tensor(wrap):
    x = tf_keras.Input((3, 2))
    with tf_keras.utils.custom_object_scope({"Branching": Branching}):
        copy = clone_model(tf_keras.Model(x, wrap(Branching())(x)))
    np.testing.assert_array_equal(copy(-np.ones((1, 3, 2), np.float32)), np.ones((1, 3, 2)))


def test_the_code_of_known_layers_is_called_as_it_is():
    x = tf_keras.Input((2,))
    model = tf_keras.Model(x, Known()(x))
    with pytest.raises(tf.errors.OperatorNotAllowedInGraphError):
        clone_model(model)
