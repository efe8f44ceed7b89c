"""Text models at fewer tokens than they were built for, so that a short text costs less.

A text of 8 tokens in a model of 128 is padded, and all layers compute the padding too. A file may therefore have a
graph for each of several lengths. The weights are the same; only shapes differ, and how many positions are read.
Padding does not change the output of a model with a mask, so every graph that is long enough for a text gives the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError, first_line
from tfcompress.models.signature import signature
from tfcompress.names import is_mask

LEAST = 3
"""The fewest tokens of a text: two special ones, and one of its own."""

_TOLERANCE = 1e-3
"""How far the output for a shorter input may be from that for a padded one, relative to the largest."""


def length_of(model: tf_keras.Model) -> int | None:
    """Returns the number of tokens that a text model takes: integers `(batch, tokens)` and a mask; else None."""
    shapes = {tuple(x.shape[1:]) for x in model.inputs}
    masks = any(is_mask(x.node.layer.name) for x in model.inputs)
    integers = all(tf.as_dtype(x.dtype).is_integer for x in model.inputs)
    if not masks or not integers or len(shapes) != 1 or len(shape := shapes.pop()) != 1:
        return None
    return None if shape[0] is None else int(shape[0])


def all_lengths(model: tf_keras.Model, lengths: Sequence[int]) -> tuple[int, ...]:
    """Returns the lengths of a model's file, the longest first, which is the model's own; empty if `lengths` is.

    Raises:
        UserError: a length is more than the model's, or the model is no text model with a mask.
    """
    if not lengths:
        return ()
    longest = length_of(model)
    if longest is None:
        takes = ", ".join(f"{x.node.layer.name} {tuple(x.shape[1:])}" for x in model.inputs)
        raise UserError(
            f"lengths {list(lengths)} are given, but model {model.name} takes {takes}; only text models with a mask "
            "beside their token ids, all of one length, have lengths; leave export.lengths out"
        )
    if len(model.outputs) > 1:
        raise UserError(
            f"lengths {list(lengths)} are given, but model {model.name} has {len(model.outputs)} outputs; only models "
            "with one have lengths; leave export.lengths out"
        )
    if max(lengths) > longest:
        raise UserError(
            f"lengths has {max(lengths)}, but model {model.name} takes {longest} tokens at most; leave it out, or "
            "raise model.sequence_length"
        )
    return tuple(sorted({*lengths, longest}, reverse=True))


@contextmanager
def shortened(model: Any, length: int | None) -> Iterator[None]:
    """While it is entered, a tf_keras text model can be called with `length` tokens; None leaves it as it is.

    Layers that compute with the number of tokens read it from their input. The one that takes the first token by
    cutting off all others has it as a setting.
    """
    if length is None:
        yield
        return
    longest = length_of(model)
    croppings = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, tf_keras.layers.Cropping1D) and layer.cropping == (0, (longest or 0) - 1)
    ]
    model.input_spec = None  # Keras would refuse another shape than that of the model's inputs.
    for layer in croppings:
        layer.cropping = (0, length - 1)
    try:
        yield
    finally:
        del model._manual_input_spec
        for layer in croppings:
            layer.cropping = (0, (longest or 0) - 1)


def check_shortened(model: tf_keras.Model, features: Mapping[str, npt.NDArray[Any]], length: int) -> None:
    """Checks that a model gives the same for a text with fewer tokens as for the padded one.

    Args:
        model: a text model.
        features: a batch of its inputs by name, each `(batch, tokens)`. Tokens from `length` on are masked here.
        length: the number of tokens.

    Raises:
        UserError: the model cannot be called with so few tokens, or gives something else.
    """
    takes = signature(model)

    def answers(tokens: int | None) -> npt.NDArray[np.float32]:
        args, kwargs = takes.arguments({name: tf.constant(values[:, :tokens]) for name, values in padded.items()})
        return np.asarray(model(*args, **kwargs, training=False))

    padded = {name: np.array(features[name]) for name in takes.specs}
    for name in filter(is_mask, padded):
        padded[name][:, length:] = 0
    expected = answers(None)
    try:
        with shortened(model, length):
            found = answers(length)
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise UserError(
            f"model {model.name} cannot be called with {length} tokens: {first_line(error)}; leave export.lengths out"
        ) from error
    if expected.ndim == 3 and expected.shape[1] != found.shape[1]:
        expected = expected[:, :length]  # one answer per token
    difference = np.abs(found - expected).max() if found.shape == expected.shape else np.inf
    if not difference <= _TOLERANCE * np.abs(expected).max():
        raise UserError(
            f"model {model.name} gives something else for {length} tokens than for the same text with padding: they "
            f"differ by {difference:.2g}, where the largest is {np.abs(expected).max():.2g}; it does not ignore "
            "padding, so leave export.lengths out"
        )
