"""Ranges of pixels, which data sets have and models take."""

from __future__ import annotations

from typing import TypeAlias

PixelRange: TypeAlias = tuple[float, float]
"""The values of black and white."""

UNIT: PixelRange = (0.0, 1.0)
"""The pixels of tfcompress's own data sets."""

BYTES: PixelRange = (0.0, 255.0)
"""Pixels as files store them, and as Keras's `image_dataset_from_directory` yields them."""

SIGNED: PixelRange = (-1.0, 1.0)
"""The pixels that several models of Keras's applications take."""
