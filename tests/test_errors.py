"""What is told of an error of a library."""

import keras
import pytest

from tfcompress.errors import first_line


def test_what_keras_says_is_told_rather_than_where():
    class Broken(keras.layers.Layer):
        def call(self, x):
            raise ValueError("seven is not even")

    with pytest.raises(ValueError, match="Exception encountered") as found:
        Broken()(keras.ops.zeros((1,)))
    assert first_line(found.value) == "seven is not even"


@pytest.mark.parametrize(("error", "line"), [(ValueError("one\ntwo"), "one"), (KeyError(), "KeyError")])
def test_other_errors_are_told_by_their_first_line(error, line):
    assert first_line(error) == line
