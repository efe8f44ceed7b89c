"""Golden image tensors: the model inputs for image files of unusual sizes and kinds."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from tfcompress.data.decoding import decode_image
from tfcompress.data.pictures import crop_and_resize

SIZES = (8, 20)


def make() -> dict[str, Any]:
    """Returns image files, their pixels, and the model input for each of `SIZES`."""
    return {
        "format": "tfcompress.golden_images",
        "version": 1,
        "pictures": [{"name": name, "file": _text(content), **expected(content)} for name, content in files().items()],
    }


def expected(content: bytes) -> dict[str, Any]:
    """Returns the decoded uint8 RGB pixels of a file, and the model inputs, little-endian float32 `(size, size, 3)`."""
    pixels = decode_image(tf.constant(content))
    return {
        "width": int(pixels.shape[1]),
        "height": int(pixels.shape[0]),
        "pixels": _text(pixels.numpy().tobytes()),
        "tensors": {str(size): _text(crop_and_resize(pixels, size).numpy().astype("<f4").tobytes()) for size in SIZES},
    }


def files() -> dict[str, bytes]:
    """Returns the content of JPEG and PNG files by name."""
    rgb = {size: Image.fromarray(_pixels(*size)) for size in ((30, 20), (21, 40), (64, 64), (8, 8), (1, 1), (3, 2))}
    picture, large = rgb[30, 20], rgb[64, 64]
    faded = picture.copy()
    faded.putalpha(Image.linear_gradient("L").resize(picture.size))
    deep = Image.fromarray(np.arange(17 * 9, dtype=np.uint16).reshape(9, 17) * 421)
    turned = Image.Exif()
    turned[0x0112] = 6
    pictures = {
        **{f"rgb_{width}x{height}.png": (one, {}) for (width, height), one in rgb.items()},
        "line_50x1.png": (Image.fromarray(_pixels(50, 1)), {}),
        "line_1x50.png": (Image.fromarray(_pixels(1, 50)), {}),
        "grey_7x5.png": (Image.fromarray(_pixels(7, 5)).convert("L"), {}),
        "grey_alpha_30x20.png": (faded.convert("LA"), {}),
        "grey_16_bit_17x9.png": (deep, {}),
        "bilevel_30x20.png": (picture.convert("1"), {}),
        "palette_30x20.png": (picture.quantize(16), {}),
        "palette_transparent_30x20.png": (picture.quantize(16), {"transparency": 3}),
        "rgba_30x20.png": (faded, {}),
        "rgb_45x33.jpg": (Image.fromarray(_pixels(45, 33)), {"quality": 90}),
        "rgb_64x64_444.jpg": (large, {"quality": 95, "subsampling": 0}),
        "progressive_64x64.jpg": (large, {"quality": 85, "progressive": True}),
        "grey_64x64.jpg": (large.convert("L"), {"quality": 90}),
        "turned_64x64.jpg": (large, {"quality": 90, "exif": turned}),
    }
    return {name: _saved(name, *options) for name, options in pictures.items()}


def _pixels(width: int, height: int) -> np.ndarray:
    """Returns a uint8 image `(height, width, 3)` with waves, an edge and a little noise."""
    y, x = np.mgrid[:height, :width] / max(width, height)
    waves = np.stack([np.sin(9 * x + 4 * y), np.cos(7 * y * x + 1), np.sin(23 * (x - y))], -1) * 90 + 128
    waves[x > 0.6] += 50
    noise = np.random.default_rng(width * 1000 + height).normal(0, 8, waves.shape)
    return np.clip(waves + noise, 0, 255).astype(np.uint8)


def _saved(name: str, picture: Image.Image, options: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    picture.save(content, "JPEG" if name.endswith(".jpg") else "PNG", **options)
    return content.getvalue()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
