"""Which activation of tf_keras, or our own, computes the same as a function."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tfcompress.models.layers import approximate_gelu

Array = npt.NDArray[Any]

_NAMES = (
    "linear", "relu", "gelu", "softmax", "sigmoid", "tanh", "swish", "elu", "selu", "softplus", "softsign",
    "exponential", "mish", "hard_sigmoid",
)  # fmt: skip

_NEAR = 4
_OUTWARDS = np.geomspace(6, 1e6, 61)


@cache
def points() -> Array:
    """Returns the float32 `(8, 61)` on which functions are compared.

    They lie closely where activations bend, and reach far beyond, where a function may be cut off, as relu6 is.
    """
    near = np.linspace(-6, 6, _NEAR * 61).reshape(_NEAR, 61)
    far = np.stack([_OUTWARDS, -_OUTWARDS, _OUTWARDS[::-1], -_OUTWARDS[::-1]])
    return np.concatenate([near, far]).astype(np.float32)


def agree(found: Array, expected: Array, tolerance: float) -> bool:
    """Returns whether two functions give the same for `points`, where `found` may overflow far from zero."""
    finite = np.isfinite(found)
    close = np.allclose(found[finite], expected[finite], rtol=tolerance, atol=tolerance)
    return close and bool(finite[:_NEAR].all())


@lru_cache(maxsize=256)
def equal_activation(function: Callable[..., Any]) -> Any:
    """Returns the activation of tf_keras, or our own, that computes the same as a function; None if there is none."""
    known = [getattr(tf_keras.activations, name) for name in _NAMES]
    name = getattr(function, "__name__", "")
    known.sort(key=lambda candidate: candidate.__name__ != name)
    known.insert(1, approximate_gelu)
    with tf.init_scope():  # outside of the graph that is being traced
        # A softmax over another axis than the last gives another result for one of these shapes.
        inputs = [tf.constant(points()), tf.constant(points()[:, None])]
        try:
            expected = [np.asarray(function(x)) for x in inputs]
        except Exception:  # a user's own function, which may fail on any input but theirs
            return None
        if any(y.shape != x.shape for x, y in zip(inputs, expected, strict=True)):
            return None

        def same(candidate: Callable[..., Any]) -> bool:
            return all(agree(y, np.asarray(candidate(x)), 1e-6) for x, y in zip(inputs, expected, strict=True))

        return next(filter(same, known), None)
