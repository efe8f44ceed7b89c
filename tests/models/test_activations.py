from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.models.activations import equal_activation
from tfcompress.models.layers import approximate_gelu


def naive_swish(x: Any) -> Any:
    return x / (1 + keras.ops.exp(-x))


def naive_softplus(x: Any) -> Any:
    """Overflows for large numbers."""
    return keras.ops.log(1 + keras.ops.exp(x))


@pytest.mark.parametrize(
    ("function", "equal"),
    [
        (keras.activations.relu, tf_keras.activations.relu),
        (keras.activations.softmax, tf_keras.activations.softmax),
        (keras.activations.exponential, tf_keras.activations.exponential),
        (lambda x: keras.activations.gelu(x, approximate=True), approximate_gelu),
        (naive_swish, tf_keras.activations.swish),
        (naive_softplus, tf_keras.activations.softplus),
    ],
)
def test_the_same_function_is_found(function: Callable[..., Any], equal: Any) -> None:
    assert equal_activation(function) is equal


@pytest.mark.parametrize(
    "function",
    [
        keras.activations.relu6,
        lambda x: keras.activations.relu(x, max_value=20),
        lambda x: keras.ops.clip(x, -10, 10),
        lambda x: keras.ops.clip(x, -65504, 65504),
        lambda x: keras.ops.minimum(keras.activations.silu(x), 10),
        lambda x: keras.activations.softmax(x, axis=1),
        lambda x: x * float("nan"),
    ],
)
def test_a_function_that_is_cut_off_or_works_on_another_axis_has_no_equal(function: Callable[..., Any]) -> None:
    assert equal_activation(function) is None


def test_an_activation_is_found_while_a_graph_is_traced() -> None:
    @tf.function
    def traced(x: tf.Tensor) -> tf.Tensor:
        assert equal_activation(keras.activations.silu) is tf_keras.activations.swish
        return x

    traced(tf.zeros(1))
