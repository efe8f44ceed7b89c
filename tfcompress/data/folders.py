"""Folders of the user's own pictures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.data.dataset import Dataset
from tfcompress.data.decoding import KINDS, SUFFIXES, decode_image, decoded
from tfcompress.data.pictures import crop_and_resize, fit, random_flip
from tfcompress.errors import UserError
from tfcompress.progress import track

_NOT_CLASSES = ("__MACOSX", "@eaDir")
"""Folders that archives and file servers add; folders whose names start with a dot are no classes either."""


def image_folder(folder: Path, image_size: int) -> Dataset:
    """Returns the user's own pictures from a folder with one sub-folder per class.

    Pictures are decoded by `tfcompress.data.decoding`. Other files are left out, and a notice says how many.

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

    _check_decoded(folder, [path for part in splits.values() for path, _ in part])
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

    _check_decoded(folder, [path for path, _ in found])
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
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(_is_hidden(part) for part in [path, *path.relative_to(folder).parents])
    )
    if not paths:
        raise UserError(f"{folder} and its sub-folders hold no pictures ({KINDS}); give a folder that has some")
    drawn = [str(paths[i]) for i in np.random.default_rng(0).permutation(len(paths))[:count]]

    def decode(path: tf.Tensor) -> tf.Tensor:
        return fit(decode_image(tf.io.read_file(path)), image_size)

    _check_decoded(folder, drawn)
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
        files = [str(path) for path in found if path.suffix.lower() in SUFFIXES]
        left_out += [path for path in found if path.suffix.lower() not in SUFFIXES]
        if len(files) < needed:
            raise UserError(
                f"{folder / name} has {len(files)} pictures ({KINDS}); a class needs at least "
                f"{'three' if needed == 3 else 'one'}, {why}"
            )
        pictures.append(files)
    if left_out:
        others = "" if len(left_out) == 1 else f" and {len(left_out) - 1} more"
        warnings.warn(f"{left_out[0]}{others} left out: not a picture ({KINDS})", UserWarning, stacklevel=2)
    return pictures


def _check_decoded(folder: Path, paths: Sequence[str]) -> None:
    found = tf.data.Dataset.from_tensor_slices(list(paths)).map(
        lambda path: tf.numpy_function(_problem, [path], tf.string), num_parallel_calls=tf.data.AUTOTUNE
    )
    for path, problem in zip(paths, track(found.as_numpy_iterator(), f"reading {folder}", len(paths)), strict=True):
        if problem:
            raise UserError(f"{path} {problem.decode()}")


def _problem(path: bytes) -> bytes:
    """Returns what is wrong with a picture file, without the subject; nothing if it can be decoded."""
    try:
        decoded(Path(os.fsdecode(path)).read_bytes())
    except (OSError, UserError) as error:
        return (f"cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)).encode()
    return b""


def _arrays(part: Sequence[tuple[str, int]]) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int64]]:
    return np.array([path for path, _ in part], np.str_), np.array([label for _, label in part], np.int64)


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name in _NOT_CLASSES
