"""Random small functional models of Keras's layers, for the fuzz."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tf_keras

CLASSES = 3
_VOCABULARY = 20
_STEPS = 6
"""The largest number of layers between the input and the head."""

_LARGEST = 4096
"""A tensor with more numbers per example is not read by further layers, so that models stay small."""

Rng = np.random.Generator
Layers = Any
"""`tf_keras.layers` or `keras.layers`."""

Make = Callable[[Layers, Rng], Any]

_ACTIVATIONS = ("relu", "gelu", "swish", "tanh", "sigmoid", "elu", "softplus", "relu6", "selu", "softmax")

ANY: dict[str, Make] = {
    "Dense": lambda layers, rng: layers.Dense(_width(rng), activation=_activation(rng)),
    "Activation": lambda layers, rng: layers.Activation(_activation(rng)),
    "LeakyReLU": lambda layers, rng: layers.LeakyReLU(),
    "PReLU": lambda layers, rng: layers.PReLU(),
    "ReLU": lambda layers, rng: layers.ReLU(6.0),
    "BatchNormalization": lambda layers, rng: layers.BatchNormalization(),
    "LayerNormalization": lambda layers, rng: layers.LayerNormalization(),
    "UnitNormalization": lambda layers, rng: layers.UnitNormalization(),
    "Rescaling": lambda layers, rng: layers.Rescaling(0.5, offset=0.1),
    "Dropout": lambda layers, rng: layers.Dropout(0.2),
    "GaussianNoise": lambda layers, rng: layers.GaussianNoise(0.1),
}
"""Layers for tensors of every rank."""

VECTORS: dict[str, Make] = {
    "RepeatVector": lambda layers, rng: layers.RepeatVector(3),
    "EinsumDense": lambda layers, rng: layers.EinsumDense("ab,bc->ac", 8, bias_axes="c"),
}
"""Layers for `(batch, channels)`."""

SEQUENCES: dict[str, Make] = {
    "EinsumDense": lambda layers, rng: layers.EinsumDense("abc,cd->abd", (None, 8), bias_axes="d"),
    "Conv1D": lambda layers, rng: layers.Conv1D(_width(rng), 3, padding="same", activation=_activation(rng)),
    "SeparableConv1D": lambda layers, rng: layers.SeparableConv1D(_width(rng), 3, padding="same"),
    "LSTM": lambda layers, rng: layers.LSTM(_width(rng), return_sequences=bool(rng.integers(2))),
    "GRU": lambda layers, rng: layers.GRU(_width(rng), return_sequences=bool(rng.integers(2))),
    "SimpleRNN": lambda layers, rng: layers.SimpleRNN(_width(rng), return_sequences=bool(rng.integers(2))),
    "Bidirectional": lambda layers, rng: layers.Bidirectional(layers.GRU(4, return_sequences=bool(rng.integers(2)))),
    "TimeDistributed": lambda layers, rng: layers.TimeDistributed(layers.Dense(_width(rng))),
    "MaxPooling1D": lambda layers, rng: layers.MaxPooling1D(2, padding="same"),
    "GlobalMaxPooling1D": lambda layers, rng: layers.GlobalMaxPooling1D(),
    "Permute": lambda layers, rng: layers.Permute((2, 1)),
    "SpatialDropout1D": lambda layers, rng: layers.SpatialDropout1D(0.2),
    "ZeroPadding1D": lambda layers, rng: layers.ZeroPadding1D(1),
    "Flatten": lambda layers, rng: layers.Flatten(),
}
"""Layers for `(batch, steps, channels)`."""

PICTURES: dict[str, Make] = {
    "Conv2D": lambda layers, rng: layers.Conv2D(_width(rng), 3, strides=int(rng.integers(1, 3)), padding="same"),
    "DepthwiseConv2D": lambda layers, rng: layers.DepthwiseConv2D(3, padding="same", activation=_activation(rng)),
    "SeparableConv2D": lambda layers, rng: layers.SeparableConv2D(_width(rng), 3, padding="same"),
    "Conv2DTranspose": lambda layers, rng: layers.Conv2DTranspose(4, 2, strides=2),
    "AveragePooling2D": lambda layers, rng: layers.AveragePooling2D(2, padding="same"),
    "GlobalAveragePooling2D": lambda layers, rng: layers.GlobalAveragePooling2D(),
    "UpSampling2D": lambda layers, rng: layers.UpSampling2D(2),
    "ZeroPadding2D": lambda layers, rng: layers.ZeroPadding2D(1),
    "RandomFlip": lambda layers, rng: layers.RandomFlip("horizontal"),
    "CenterCrop": lambda layers, rng: layers.CenterCrop(2, 2),
    "Resizing": lambda layers, rng: layers.Resizing(6, 6),
    "Flatten": lambda layers, rng: layers.Flatten(),
}
"""Layers for `(batch, height, width, channels)`."""

MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Concatenate")
"""Layers for two tensors of the same shape."""

_BY_RANK = {2: ANY | VECTORS, 3: ANY | SEQUENCES, 4: ANY | PICTURES}

KINDS = len({*ANY, *VECTORS, *SEQUENCES, *PICTURES, *MERGES, "MultiHeadAttention", "Embedding"})
"""The number of kinds of layers that models are drawn from."""


def graph(seed: int) -> tuple[Any, npt.NDArray[Any]]:
    """Returns the model of a seed, built with tf_keras if the seed is even, else with Keras 3, and eight examples."""
    rng = np.random.default_rng(seed)
    library: ModuleType = (tf_keras, keras)[seed % 2]
    library.utils.set_random_seed(seed)
    layers = library.layers
    inputs, features, x = _begin(library, rng)
    seen = [x]
    for _ in range(rng.integers(2, _STEPS + 1)):
        x = _step(layers, rng, seen)
        if None not in x.shape[1:] and np.prod(x.shape[1:]) <= _LARGEST:  # Keras 3 forgets shapes in an EinsumDense.
            seen.append(x)
    x = seen[-1]
    if len(x.shape) > 2:
        x = layers.Flatten()(x)
    return library.Model(inputs, layers.Dense(CLASSES, activation=(None, "softmax")[rng.integers(2)])(x)), features


def _begin(library: ModuleType, rng: Rng) -> tuple[Any, npt.NDArray[Any], Any]:
    kind = rng.choice(["picture", "sequence", "tokens"])
    if kind == "tokens":
        inputs = library.Input((6,), dtype="int32")
        table = library.layers.Embedding(_VOCABULARY, 8, mask_zero=bool(rng.integers(2)))
        return inputs, rng.integers(0, _VOCABULARY, (8, 6)).astype(np.int32), table(inputs)
    shape = (8, 8, 3) if kind == "picture" else (6, 4)
    inputs = library.Input(shape)
    return inputs, rng.random((8, *shape)).astype(np.float32), inputs


def _step(layers: Layers, rng: Rng, seen: list[Any]) -> Any:
    """Returns what a random layer makes of random tensors, mostly of the latest."""
    x = seen[-1] if rng.random() < 0.8 else seen[rng.integers(len(seen))]
    alike = [other for other in seen if other is not x and tuple(other.shape) == tuple(x.shape)]
    if alike and rng.random() < 0.4:
        name = str(rng.choice(MERGES))
        return getattr(layers, name)()([x, alike[rng.integers(len(alike))]])
    if len(x.shape) == 3 and rng.random() < 0.2:
        return layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=bool(rng.integers(2)))
    made_from = _BY_RANK[len(x.shape)]
    return made_from[str(rng.choice(list(made_from)))](layers, rng)(x)


def _width(rng: Rng) -> int:
    return int(rng.choice([4, 8, 16]))


def _activation(rng: Rng) -> str | None:
    return str(rng.choice(_ACTIVATIONS)) if rng.integers(2) else None
