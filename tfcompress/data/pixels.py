"""The values of black and white in the pictures of a data set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError
from tfcompress.pixel_range import BYTES, UNIT, PixelRange

_EXAMPLES = 16
"""Number of examples that are measured."""

_BRIGHT = 127
"""A value that pixels from 0 to 255 exceed somewhere, and other numbers hardly do."""


def in_range(data: Dataset, wanted: PixelRange) -> Dataset:
    """Returns pictures with other values of black and white; augmentations still see the old ones.

    Raises:
        UserError: the present values are not known, or the new ones are the same.
    """
    own = range_of(data)
    if own is None:
        raise UserError(
            f"pixel_range is {wanted}, but the black and white of data set {data.name} are unknown; pass "
            "Dataset(..., pixel_range=(0, 1)), or leave pixel_range out and scale its pixels yourself"
        )
    if wanted[0] == wanted[1]:
        raise UserError(f"pixel_range is {wanted}; black and white must differ")
    if own == wanted:
        return data
    decode, augment = data.decode, data.augment
    forth, back = scaling(own, wanted), scaling(wanted, own)

    def scaled(features: tf.Tensor) -> tf.Tensor:
        return forth(features if decode is None else decode(features))

    def augmented(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        assert augment is not None
        image, label = augment(back(image), label, seed)
        return forth(image), label

    return data.prepared(decode=scaled, augment=None if augment is None else augmented, pixel_range=wanted)


def range_of(data: Dataset) -> PixelRange | None:
    """Returns the values of black and white, as given with the data or as the first pictures suggest.

    Returns:
        If they are not given, (0, 1) or (0, 255), or None if the features are no pictures or have other values.
    """
    if data.pixel_range is not None:
        return data.pixel_range
    inspected = data.examples(data.inspected).take(_EXAMPLES).as_numpy_iterator()
    images = [features for features, _ in inspected if isinstance(features, np.ndarray)]
    if not images or images[0].ndim != 3 or images[0].shape[-1] not in (1, 3):
        return None
    lowest, highest = min(image.min() for image in images), max(image.max() for image in images)
    if lowest < 0 or highest > 255:
        return None
    return UNIT if highest <= 1 else BYTES if highest > _BRIGHT else None


def scaling(before: PixelRange, after: PixelRange) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the function that maps the values `before` of black and white to those `after`."""
    factor = (after[1] - after[0]) / (before[1] - before[0])
    return lambda image: (tf.cast(image, tf.float32) - before[0]) * factor + after[0]
