"""Decodes picture files as a viewer shows them: in RGB, upright, the first picture of an animation."""

from __future__ import annotations

import io
import struct

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from tfcompress.errors import UserError, first_line

SUFFIXES = (
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif",
    ".tiff", ".webp",
)  # fmt: skip
"""What the names of picture files end in, in lower case."""

KINDS = "JPEG, PNG, WebP, AVIF, BMP, GIF, TIFF, JPEG 2000, TGA or PPM"

_ORIENTATION = 0x0112
"""The EXIF tag that says how the camera was held (CIPA DC-008, section 4.6.4)."""

_FAILURES = (
    Image.DecompressionBombError, OSError, SyntaxError, ValueError, IndexError, RuntimeError, struct.error,
    tf.errors.OpError,
)  # fmt: skip
"""What Pillow and TensorFlow raise for files that are damaged."""

UInt8Array = npt.NDArray[np.uint8]


def decode_image(content: tf.Tensor) -> tf.Tensor:
    """Decodes the bytes of a picture file, a scalar string, to uint8 RGB `(height, width, 3)`; see `decoded`."""

    def decode(content: object) -> UInt8Array:
        return decoded(np.asarray(content, object).item())  # an array if called eagerly, else bytes

    return tf.ensure_shape(tf.numpy_function(decode, [content], tf.uint8, stateful=False), (None, None, 3))


def decoded(content: bytes) -> UInt8Array:
    """Decodes the bytes of a picture file to RGB `(height, width, 3)`.

    The picture is turned as its EXIF data say. Alpha is dropped, and so are the lower 8 of 16 bits.

    Raises:
        UserError: the file cannot be decoded; the message has no subject.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            # TensorFlow is faster with these; others it refuses or shows in other colours.
            if picture.format == "PNG" or (picture.format in ("JPEG", "MPO") and picture.mode in ("L", "RGB")):
                pixels = tf.io.decode_image(content, channels=3, expand_animations=False).numpy()
            else:
                pixels = _rgb(picture)
            orientation = picture.getexif().get(_ORIENTATION, 1) if "exif" in picture.info else 1
    except _FAILURES as error:
        why = "" if isinstance(error, UnidentifiedImageError) else f" ({first_line(error)})"  # which shows an address
        raise UserError(f"cannot be decoded as {KINDS}{why}; replace or remove it") from error
    return _upright(pixels, orientation)


def _rgb(picture: Image.Image) -> UInt8Array:
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PPM"):
        grey = (np.asarray(picture) >> 8).astype(np.uint8)  # Pillow's own conversion cuts off what is above 255.
        return np.repeat(grey[..., None], 3, axis=-1)
    if picture.mode in ("I", "F"):
        raise ValueError("its grey values have more than 16 bits")
    return np.asarray(picture.convert("RGB"))


def _upright(pixels: UInt8Array, orientation: int) -> UInt8Array:
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
