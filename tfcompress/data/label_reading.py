"""Reads the labels of a split, once its examples have been found to be what a task takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfcompress.answers import IGNORED
from tfcompress.data.starting import starting_fast
from tfcompress.errors import UserError, first_line
from tfcompress.measure.quality import Labels


def fits(found: Any, wanted: tf.TensorSpec | None) -> bool:
    """Returns whether labels are of the type and shape of a task; where that takes numbers, integers are such, too.

    Args:
        found: type and shape of a label.
        wanted: those that the task takes; None if it takes any tensor.
    """
    if not isinstance(found, tf.TensorSpec) or wanted is None:
        return isinstance(found, tf.TensorSpec)
    numbers = found.dtype.is_integer or (found.dtype.is_floating and wanted.dtype.is_floating)
    same_rank = found.shape.rank == wanted.shape.rank
    return bool(numbers and same_rank and found.shape.is_compatible_with(wanted.shape))


def accepted(wanted: tf.TensorSpec | None) -> str:
    """Returns the labels that a task takes, in words; see `fits`."""
    if wanted is None:
        return "a tensor as label"
    kind = "integer" if wanted.dtype.is_integer else "number"
    if wanted.shape.rank == 0:
        return f"a scalar {kind} label"
    count = "one for each token" if wanted.shape[0] is None else f"{wanted.shape[0]} of them"
    return f"{kind}s as label, {count}"


def read_labels(
    examples: tf.data.Dataset,
    wanted: tf.TensorSpec | None,
    label: Callable[[Any, Any], tf.Tensor],
    aligned: bool,
    where: str,
) -> Labels:
    """Returns the labels `(n, …)` of examples in their fixed order, with integers as int64.

    Those of words that no tokenizer has cut yet are filled up with `IGNORED` to one length.

    Args:
        examples: pairs of features and label.
        wanted: the type and shape of a label; None if it may be any tensor.
        label: makes the label of a decoded example from features and label.
        aligned: whether it gives the labels of words to tokens.
        where: the beginning of messages, such as `films: the test split`.

    Raises:
        UserError: the examples are batched, infinite, no pairs, or in another order each time; or labels are of another
            type, or of several shapes.
    """
    found = examples.element_spec
    is_pair = isinstance(found, tuple) and len(found) == 2
    of_words = is_pair and isinstance(found[1], tf.RaggedTensorSpec) and found[1].dtype.is_integer
    if not (is_pair and (aligned or of_words or fits(found[1], wanted))):
        raise UserError(f"{where} yields {found}; pass unbatched (features, label) pairs with {accepted(wanted)}")
    if examples.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise UserError(f"{where} is infinite; limit it with .take(n)")
    only_labels = starting_fast(examples.map(label))
    if aligned and not fits(only_labels.element_spec, wanted):
        raise UserError(
            f"{where}: align makes {only_labels.element_spec} of the labels; it must return {accepted(wanted)}"
        )
    read = _read_of_words if of_words and not aligned else _read
    labels, again = (read(only_labels, where) for _ in range(2))
    if not np.array_equal(labels, again, equal_nan=labels.dtype.kind == "f"):
        raise UserError(
            f"{where} has another order in each iteration, so predictions cannot be matched to labels; use "
            "shuffle(reshuffle_each_iteration=False), or leave shuffling to tfcompress"
        )
    return labels


def _read(only_labels: tf.data.Dataset, where: str) -> Labels:
    wide = only_labels.map(lambda label: tf.cast(label, tf.int64) if label.dtype.is_integer else label)
    try:
        batches = list(wide.batch(4096).as_numpy_iterator())
    except tf.errors.InvalidArgumentError as error:  # `batch` cannot stack them.
        raise UserError(
            f"{where} has labels of different shapes ({first_line(error)}); pad them to one length"
        ) from error
    return np.concatenate(batches) if batches else np.zeros(0, wide.element_spec.dtype.as_numpy_dtype)


def _read_of_words(only_labels: tf.data.Dataset, where: str) -> Labels:
    rows = list(only_labels.as_numpy_iterator())
    padded = np.full((len(rows), max(map(len, rows), default=0)), IGNORED, np.int64)
    for row, own in zip(padded, rows, strict=True):
        row[: len(own)] = own
    return padded
