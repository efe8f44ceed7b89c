"""Image classification sets: digits, Fashion-MNIST, and a folder of the user's own pictures."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tfcompress.data.dataset import Augment, Dataset
from tfcompress.errors import UserError
from tfcompress.progress import track

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts its files."""

_FASHION_MNIST_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_SUFFIXES = (".jpg", ".jpeg", ".png")

UInt8Array = npt.NDArray[np.uint8]


def digits() -> Dataset:
    """Scikit-learn's 1,797 handwritten digits, 8 × 8: 1,147 to train, 200 to validate, 450 to test."""
    bunch = load_digits()
    # Sixteen grey levels become bytes, so that all image sets are decoded alike.
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
        augment=shifted(1),
    )


def fashion_mnist(folder: Path | None = None) -> Dataset:
    """Fashion-MNIST, 28 × 28: the official 10,000 to test; of the official 60,000 a fixed 5,000 to validate.

    Args:
        folder: holds the four `*-ubyte` files, gzipped or not; by default where Debian's package puts them.
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
        augment=mirrored,
    )


def image_folder(folder: Path, image_size: int) -> Dataset:
    """The user's own JPEG and PNG files, one sub-folder a class: 70 % to train, 15 % to validate, 15 % to test.

    The split of a class depends on its sorted file names alone. Pictures are cropped to the middle square and resized
    to `(image_size, image_size, 3)`. Every file is decoded once at the start, so that a broken one is found then.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; image_folder takes a folder with one sub-folder a class")
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if len(classes) < 2:
        raise UserError(f"{folder} has {len(classes)} sub-folders; image_folder needs one a class, at least two")
    splits: dict[str, list[tuple[str, int]]] = {"train": [], "validation": [], "test": []}
    for label, name in enumerate(classes):
        files = sorted(str(path) for path in (folder / name).iterdir() if path.suffix.lower() in _SUFFIXES)
        if len(files) < 3:
            raise UserError(
                f"{folder / name} has {len(files)} JPEG or PNG files; a class needs at least three, one for each split"
            )
        shuffled = [files[i] for i in np.random.default_rng(0).permutation(len(files))]
        held_out = max(1, round(0.15 * len(files)))
        for split, part in (
            ("test", shuffled[:held_out]),
            ("validation", shuffled[held_out : 2 * held_out]),
            ("train", shuffled[2 * held_out :]),
        ):
            splits[split] += [(path, label) for path in part]

    def decode(path: tf.Tensor) -> tf.Tensor:
        return square(decode_picture(tf.io.read_file(path)), image_size)

    everything = [path for part in splits.values() for path, _ in part]
    for path in track(everything, f"reading {folder}", len(everything)):
        try:
            decode(tf.constant(path))
        except tf.errors.OpError as error:
            raise UserError(f"{path} cannot be decoded as JPEG or PNG; repair or remove it") from error
    arrays = {split: (np.array([p for p, _ in part]), np.array([y for _, y in part])) for split, part in splits.items()}
    return Dataset.from_arrays(folder.name, classes, **arrays, decode=decode, augment=mirrored)


def decode_picture(content: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG or PNG file to RGB bytes `(height, width, 3)`, heeding neither alpha nor EXIF."""
    return tf.io.decode_image(content, channels=3, expand_animations=False)


def square(image: tf.Tensor, size: int) -> tf.Tensor:
    """Bytes `(height, width, 3)`, the middle square resized with antialiasing, to float32 in [0, 1]."""
    side = tf.reduce_min(tf.shape(image)[:2])
    cropped = tf.image.resize_with_crop_or_pad(image, side, side)
    resized = tf.image.resize(tf.cast(cropped, tf.float32) / 255.0, (size, size), antialias=True)
    return tf.ensure_shape(tf.clip_by_value(resized, 0.0, 1.0), (size, size, 3))


def mirrored(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Augmentation: mirrors half of the images `(height, width, 3)` left to right."""
    return tf.image.stateless_random_flip_left_right(image, seed), label


def shifted(pixels: int) -> Augment:
    """Returns an augmentation that shifts images `(height, width, 3)` by up to `pixels` in each direction."""

    def augment(image: tf.Tensor, label: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        padded = tf.pad(image, [[pixels, pixels], [pixels, pixels], [0, 0]])
        return tf.image.stateless_random_crop(padded, tf.shape(image), seed), label

    return augment


def _to_rgb(image: tf.Tensor) -> tf.Tensor:
    """Grey bytes `(height, width, 1)` to RGB `(height, width, 3)` float32 in [0, 1]."""
    return tf.image.grayscale_to_rgb(tf.cast(image, tf.float32) / 255.0)


def _read_idx_pair(folder: Path, prefix: str) -> tuple[UInt8Array, UInt8Array]:
    """Reads images `(n, height, width, 1)` and labels `(n,)` of one official split."""
    images = _read_idx(folder, f"{prefix}-images-idx3-ubyte", 3)[..., None]
    labels = _read_idx(folder, f"{prefix}-labels-idx1-ubyte", 1)
    if len(images) != len(labels):
        raise UserError(
            f"{folder}: {len(images)} {prefix} images but {len(labels)} labels; the files do not belong together"
        )
    return images, labels


def _read_idx(folder: Path, name: str, rank: int) -> UInt8Array:
    """Reads an IDX file of unsigned bytes, gzipped if its name ends in .gz (http://yann.lecun.com/exdb/mnist)."""
    path = next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)
    if path is None:
        raise UserError(
            f"{folder} has no {name} or {name}.gz; install the Debian package dataset-fashion-mnist or name the folder "
            "that holds the files"
        )
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        magic, *shape = struct.unpack_from(f">{1 + rank}i", content)
        if magic != 0x0800 + rank:
            raise ValueError(f"magic number {magic:#x}, {0x0800 + rank:#x} expected")
        return np.frombuffer(content, np.uint8, offset=4 * (1 + rank)).reshape(shape)
    except (EOFError, OSError, ValueError, struct.error, zlib.error) as error:
        raise UserError(f"{path} is not a whole IDX file of rank {rank} ({error}); fetch it again") from error
