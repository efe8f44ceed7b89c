"""What is told of an error of a library."""

import keras
import pytest
import tensorflow as tf

from tfcompress.errors import first_line


def test_what_keras_says_is_told_rather_than_where():
    class Broken(keras.layers.Layer):
        def call(self, x):
            raise ValueError("seven is not even")

    with pytest.raises(ValueError, match="Exception encountered") as found:
        Broken()(keras.ops.zeros((1,)))
    assert first_line(found.value) == "seven is not even"


def test_what_autograph_says_is_told_rather_than_where():
    @tf.function
    def broken(x):
        raise TypeError("seven is not even")

    with pytest.raises(TypeError, match="in user code:") as found:
        broken(tf.zeros(1))
    assert first_line(found.value) == "seven is not even"


def test_the_tensor_for_which_memory_ran_out_is_told_wherever_tensorflow_says_so():
    with pytest.raises(tf.errors.ResourceExhaustedError) as found:
        tf.function(tf.zeros)(tf.constant([1 << 50]))
    assert first_line(found.value) == "OOM when allocating tensor with shape[1125899906842624] and type float"


@pytest.mark.parametrize(("error", "line"), [(ValueError("one\ntwo"), "one"), (KeyError(), "KeyError")])
def test_other_errors_are_told_by_their_first_line(error, line):
    assert first_line(error) == line
