"""Image classification data sets that are to be had: digits and Fashion-MNIST."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.data.dataset import Dataset
from tfcompress.data.pictures import random_flip, random_shift
from tfcompress.errors import UserError

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package `dataset-fashion-mnist` installs its files."""

_FASHION_MNIST_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

UInt8Array = npt.NDArray[np.uint8]


def digits() -> Dataset:
    """Returns scikit-learn's 1,797 handwritten digits, 8 × 8: 1,147 training, 200 validation and 450 test images."""
    from sklearn.datasets import load_digits  # takes a second to import
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    # The 17 grey levels are scaled to bytes, so that all image data sets share the same decoding.
    images = np.round(bunch.images[..., None] * (255 / 16)).astype(np.uint8)
    rest_x, test_x, rest_y, test_y = train_test_split(
        images, bunch.target, test_size=450, random_state=0, stratify=bunch.target
    )
    train_x, validation_x, train_y, validation_y = train_test_split(
        rest_x, rest_y, test_size=200, random_state=0, stratify=rest_y
    )
    return Dataset.from_arrays(
        "digits",
        [str(digit) for digit in range(10)],
        (train_x, train_y),
        (validation_x, validation_y),
        (test_x, test_y),
        decode=_to_rgb,
        augment=random_shift(1),
    )


def fashion_mnist(folder: Path | None = None) -> Dataset:
    """Returns Fashion-MNIST (Xiao et al., arXiv 1708.07747), 28 × 28, with its official test split of 10,000 images.

    A fixed 5,000 of the official 60,000 training images become the validation split.

    Args:
        folder: contains the four `*-ubyte` files, gzipped or not; by default where the Debian package installs them.

    Raises:
        UserError: if a file is missing, damaged or does not match the others.
    """
    folder = FASHION_MNIST_FOLDER if folder is None else folder
    images, labels = _read_idx_pair(folder, "train")
    test = _read_idx_pair(folder, "t10k")
    order = np.random.default_rng(0).permutation(len(images))
    held_out, kept = order[: len(order) // 12], order[len(order) // 12 :]
    return Dataset.from_arrays(
        "fashion_mnist",
        _FASHION_MNIST_CLASSES,
        (images[kept], labels[kept]),
        (images[held_out], labels[held_out]),
        test,
        decode=_to_rgb,
        augment=random_flip,
    )


def _to_rgb(image: tf.Tensor) -> tf.Tensor:
    """Converts uint8 grey values `(height, width, 1)` to float32 RGB `(height, width, 3)` in [0, 1]."""
    return tf.image.grayscale_to_rgb(tf.cast(image, tf.float32) / 255.0)


def _read_idx_pair(folder: Path, prefix: str) -> tuple[UInt8Array, UInt8Array]:
    """Reads the images `(n, height, width, 1)` and labels `(n,)` of one official split."""
    images = _read_idx(folder, f"{prefix}-images-idx3-ubyte", 3)[..., None]
    labels = _read_idx(folder, f"{prefix}-labels-idx1-ubyte", 1)
    if len(images) != len(labels):
        raise UserError(f"{folder}: {len(images)} {prefix} images but {len(labels)} labels; download both files again")
    return images, labels


def _read_idx(folder: Path, name: str, rank: int) -> UInt8Array:
    """Reads an IDX file of unsigned bytes, gzipped if its name ends in .gz (http://yann.lecun.com/exdb/mnist)."""
    path = next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)
    if path is None:
        raise UserError(
            f"{folder} has no {name} or {name}.gz; install the Debian package dataset-fashion-mnist, or name the "
            "folder that contains the files"
        )
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        magic, *shape = struct.unpack_from(f">{1 + rank}i", content)
        if magic != 0x0800 + rank:
            raise ValueError(f"its magic number is {magic:#x} instead of {0x0800 + rank:#x}")
        return np.frombuffer(content, np.uint8, offset=4 * (1 + rank)).reshape(shape)
    except (EOFError, OSError, ValueError, struct.error, zlib.error) as error:
        raise UserError(f"{path} is not a complete IDX file of rank {rank} ({error}); download it again") from error
