"""What a kind of user model is, and the random inputs and weights that it gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tensorflow as tf

CLASSES = 3
VOCABULARY = 40

Array = npt.NDArray[Any]
Features = Array | Mapping[str, Array]
Inputs = Callable[[np.random.Generator, int], Features]
"""Makes features for a number of examples."""

Keras = Literal["Keras 3", "tf_keras"]


@dataclass(frozen=True)
class Kind:
    """A model as people write them, tiny and with random weights.

    Attributes:
        name: of the function that builds it.
        style: who writes such models, and what is particular about this one.
        keras: which Keras it is built with.
        inputs: makes what it takes.
        probabilities: whether it gives probabilities, rather than logits.
        tokens: turns its features into what a file takes that does not split texts.
    """

    name: str
    style: str
    keras: Keras
    make: Callable[[], Any]
    inputs: Inputs
    probabilities: bool
    tokens: Callable[[Any, Array], Array] | None = None

    def features(self, examples: int, seed: int = 0) -> Features:
        return self.inputs(np.random.default_rng(seed), examples)

    def build(self) -> Any:
        """Builds the model; all its weights are random, so that an exchanged or forgotten one changes its outputs."""
        if self.keras == "Keras 3":
            import keras
        else:
            import tf_keras as keras
        keras.utils.set_random_seed(0)
        model = self.make()
        model(as_tensors(self.features(2)))  # Builds a subclassed model.
        _disturb(model)
        return model


KINDS: dict[str, Kind] = {}
"""The kinds of the modules that have been imported."""


def kind(
    keras: Keras,
    inputs: Inputs,
    probabilities: bool = False,
    tokens: Callable[[Any, Array], Array] | None = None,
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Registers a function that builds a model, whose docstring says whose style it is."""

    def register(make: Callable[[], Any]) -> Callable[[], Any]:
        style = " ".join((make.__doc__ or "").split())
        KINDS[make.__name__] = Kind(make.__name__, style, keras, make, inputs, probabilities, tokens)
        return make

    return register


def pictures(size: int, highest: float = 1.0) -> Inputs:
    """Returns random RGB pictures `(n, size, size, 3)` with values from 0 to `highest`."""
    return lambda rng, n: (rng.random((n, size, size, 3)) * highest).astype(np.float32)


def ids(length: int) -> Inputs:
    """Returns random token ids `(n, length)`, of which the last ones may be padding: 0."""

    def make(rng: np.random.Generator, n: int) -> Array:
        tokens = rng.integers(1, VOCABULARY, (n, length))
        kept = rng.integers(length // 2, length + 1, (n, 1))
        return np.where(np.arange(length) < kept, tokens, 0).astype(np.int32)

    return make


def series(rng: np.random.Generator, n: int) -> Array:
    """Returns random series of 12 steps with 4 values each, `(n, 12, 4)`, of which the last steps may be zeros."""
    kept = rng.integers(6, 13, (n, 1, 1))
    values = rng.normal(size=(n, 12, 4))
    return np.where(np.arange(12)[:, None] < kept, values, 0).astype(np.float32)


def as_tensors(features: Features) -> Any:
    """Returns features as a model is called with them."""
    return dict(features) if isinstance(features, Mapping) else tf.constant(features)


def _disturb(model: Any) -> None:
    """Adds noise to all weights that are real numbers, except to the counts of Normalization."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        name, value = weight.name, np.asarray(weight)
        if not np.issubdtype(value.dtype, np.floating) or "count" in name:
            continue
        if "variance" in name:
            weight.assign(value * rng.uniform(0.7, 1.3, value.shape).astype(value.dtype))
        else:
            weight.assign(value + (0.1 * rng.normal(size=value.shape)).astype(value.dtype))
    for layer in model._flatten_layers():
        if type(layer).__name__ == "Normalization":
            layer.finalize_state()  # It computes with what this makes of its weights.
