"""Image classification data sets: digits, Fashion-MNIST, and a folder of the user's own images."""

from __future__ import annotations

import gzip
import struct
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.data.dataset import Augment, Dataset
from tfcompress.errors import UserError
from tfcompress.progress import track

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where the Debian package `dataset-fashion-mnist` installs its files."""

_FASHION_MNIST_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")

_NOT_CLASSES = ("__MACOSX", "@eaDir")
"""Folders that archives and file servers add; folders whose names start with a dot are no classes either."""

_KINDS = "JPEG, PNG, WebP, BMP or GIF"

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


def image_folder(folder: Path, image_size: int) -> Dataset:
    """Returns the user's own pictures from a folder with one sub-folder per class.

    JPEG, PNG, WebP, BMP and GIF files are taken, of a GIF the first picture. Other files are left out, and a notice
    says how many.

    Each class is split into 70 % training, 15 % validation and 15 % test images; the split depends only on the sorted
    file names. Images are cropped to the central square and resized to `(image_size, image_size, 3)`, float32 in
    [0, 1]. Every file is decoded once at the start, so that a broken one is reported before training.

    Args:
        folder: contains one sub-folder per class; class `i` is the i-th sub-folder by name.
        image_size: side of the model's input in pixels.

    Raises:
        UserError: if the folder does not exist, has fewer than two sub-folders or fewer than three images in one, or
            if a file cannot be decoded.
    """
    classes = _classes(folder)
    splits: dict[str, list[tuple[str, int]]] = {"train": [], "validation": [], "test": []}
    for label, files in enumerate(_pictures(folder, classes, 3, "one per split")):
        shuffled = [files[i] for i in np.random.default_rng(0).permutation(len(files))]
        held_out = max(1, round(0.15 * len(files)))
        for split, part in (
            ("test", shuffled[:held_out]),
            ("validation", shuffled[held_out : 2 * held_out]),
            ("train", shuffled[2 * held_out :]),
        ):
            splits[split] += [(path, label) for path in part]

    def decode(path: tf.Tensor) -> tf.Tensor:
        return crop_and_resize(decode_image(tf.io.read_file(path)), image_size)

    _check_decoded(folder, [path for part in splits.values() for path, _ in part], decode)
    arrays = {split: _arrays(part) for split, part in splits.items()}
    return Dataset.from_arrays(folder.name, classes, **arrays, decode=decode, augment=random_flip)


def evaluation_folder(folder: Path, image_size: int) -> Dataset:
    """Returns the user's own pictures for evaluation only, from a folder with one sub-folder per class.

    All pictures are test, in a seeded order, so that the first N have many classes; the other splits are empty. What is
    taken and left out is as in `image_folder`; the size of pictures is changed by `fit`.

    Args:
        folder: contains one sub-folder per class, with at least one picture in each.
        image_size: side of the model's input in pixels.

    Raises:
        UserError: if the folder does not exist, has fewer than two sub-folders or no pictures in one, or if a file
            cannot be decoded.
    """
    classes = _classes(folder)
    found = [
        (path, label) for label, files in enumerate(_pictures(folder, classes, 1, "to be evaluated")) for path in files
    ]
    shuffled = [found[i] for i in np.random.default_rng(0).permutation(len(found))]

    def decode(path: tf.Tensor) -> tf.Tensor:
        return fit(decode_image(tf.io.read_file(path)), image_size)

    _check_decoded(folder, [path for path, _ in found], decode)
    none = _arrays([])
    return Dataset.from_arrays(folder.name, classes, none, none, _arrays(shuffled), decode=decode)


def unlabelled_pictures(folder: Path, image_size: int, count: int) -> tf.data.Dataset:
    """Returns some of the pictures in a folder and its sub-folders at any depth.

    Args:
        folder: contains pictures; other files are left out.
        image_size: side of the model's input in pixels.
        count: how many at most: random ones, seeded.

    Returns:
        float32 `(image_size, image_size, 3)` in [0, 1] each, made as large by `fit`.

    Raises:
        UserError: the folder has no pictures, or one of those that are taken cannot be decoded.
    """
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES
        and path.is_file()
        and not any(_is_hidden(part) for part in [path, *path.relative_to(folder).parents])
    )
    if not paths:
        raise UserError(f"{folder} and its sub-folders hold no pictures ({_KINDS}); give a folder that has some")
    drawn = [str(paths[i]) for i in np.random.default_rng(0).permutation(len(paths))[:count]]

    def decode(path: tf.Tensor) -> tf.Tensor:
        return fit(decode_image(tf.io.read_file(path)), image_size)

    _check_decoded(folder, drawn, decode)
    return tf.data.Dataset.from_tensor_slices(drawn).map(decode)


def _classes(folder: Path) -> list[str]:
    """Returns the names of the sub-folders that are classes."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; image_folder takes a folder with one sub-folder per class")
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not _is_hidden(path))
    if len(classes) < 2:
        raise UserError(
            f"{folder} has {len(classes)} sub-folders; image_folder needs one sub-folder per class, at least two"
        )
    return classes


def _pictures(folder: Path, classes: Sequence[str], needed: int, why: str) -> list[list[str]]:
    """Returns the paths of the pictures in each sub-folder, and says how many other files are left out."""
    pictures: list[list[str]] = []
    left_out: list[Path] = []
    for name in classes:
        found = sorted(path for path in (folder / name).iterdir() if not _is_hidden(path))
        files = [str(path) for path in found if path.suffix.lower() in _SUFFIXES]
        left_out += [path for path in found if path.suffix.lower() not in _SUFFIXES]
        if len(files) < needed:
            raise UserError(
                f"{folder / name} has {len(files)} pictures ({_KINDS}); a class needs at least "
                f"{'three' if needed == 3 else 'one'}, {why}"
            )
        pictures.append(files)
    if left_out:
        others = "" if len(left_out) == 1 else f" and {len(left_out) - 1} more"
        warnings.warn(f"{left_out[0]}{others} left out: not a picture ({_KINDS})", UserWarning, stacklevel=2)
    return pictures


def _check_decoded(folder: Path, paths: Sequence[str], decode: Callable[[tf.Tensor], tf.Tensor]) -> None:
    for path in track(paths, f"reading {folder}", len(paths)):
        try:
            decode(tf.constant(path))
        except tf.errors.OpError as error:
            raise UserError(f"{path} cannot be decoded as {_KINDS}; replace or remove it") from error


def _arrays(part: Sequence[tuple[str, int]]) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
    return np.array([path for path, _ in part], np.str_), np.array([label for _, label in part], np.int64)


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name in _NOT_CLASSES


def decode_image(content: tf.Tensor) -> tf.Tensor:
    """Decodes the bytes of a picture file to uint8 RGB `(height, width, 3)`; ignores alpha and EXIF orientation."""
    return tf.io.decode_image(content, channels=3, expand_animations=False)


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
