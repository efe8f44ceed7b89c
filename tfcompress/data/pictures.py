"""What is done to one decoded picture: it is cut to the size of a model's input, and changed at random in training."""

from __future__ import annotations

import tensorflow as tf

from tfcompress.data.dataset import Augment


def crop_and_resize(image: tf.Tensor, size: int) -> tf.Tensor:
    """Crops a uint8 image `(height, width, 3)` to its central square and resizes that with antialiasing.

    Returns:
        float32 `(size, size, 3)` in [0, 1].
    """
    side = tf.reduce_min(tf.shape(image)[:2])
    cropped = tf.image.resize_with_crop_or_pad(image, side, side)
    resized = tf.image.resize(tf.cast(cropped, tf.float32) / 255.0, (size, size), antialias=True)
    return tf.ensure_shape(tf.clip_by_value(resized, 0.0, 1.0), (size, size, 3))


def fit(image: tf.Tensor, size: int) -> tf.Tensor:
    """Makes a uint8 picture `(height, width, 3)` as large as a model's input, as is usual in evaluation.

    A picture whose shorter side is the model's input or up to 256/224 of it was resized for such models before: its
    middle is cut out. Any other is cut to the central square and resized.

    Returns:
        float32 `(size, size, 3)` in [0, 1].
    """
    shorter = tf.reduce_min(tf.shape(image)[:2])
    prepared = tf.logical_and(shorter >= size, shorter * 224 <= size * 256)

    def middle() -> tf.Tensor:
        return tf.cast(tf.image.resize_with_crop_or_pad(image, size, size), tf.float32) / 255.0

    return tf.ensure_shape(tf.cond(prepared, middle, lambda: crop_and_resize(image, size)), (size, size, 3))


def random_flip(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Flips an image `(height, width, 3)` from left to right with probability 1/2; an augmentation."""
    return tf.image.stateless_random_flip_left_right(image, seed), label


def random_shift(pixels: int) -> Augment:
    """Returns an augmentation that shifts images `(height, width, 3)` by up to `pixels` in each direction."""

    def augment(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        padded = tf.pad(image, [[pixels, pixels], [pixels, pixels], [0, 0]])
        return tf.image.stateless_random_crop(padded, tf.shape(image), seed), label

    return augment
