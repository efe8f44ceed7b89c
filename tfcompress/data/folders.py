"""Folders of the user's own pictures."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import tensorflow as tf

from tfcompress.data.classes import renamed
from tfcompress.data.dataset import Dataset, Split
from tfcompress.data.decoding import KINDS, SUFFIXES, decode_image, decoded
from tfcompress.data.pictures import fit, random_flip
from tfcompress.data.splits import Fractions, completed, mixed, split_named
from tfcompress.errors import UserError
from tfcompress.files import files_below
from tfcompress.labels import listed
from tfcompress.progress import track

_NOT_CLASSES = ("__MACOSX", "@eaDir")
"""Folders that archives and file servers add; folders whose names start with a dot are no classes either."""


def image_folder(
    folder: Path,
    image_size: int,
    fractions: Fractions | None = None,
    synonyms: Mapping[str, str] = MappingProxyType({}),
) -> Dataset:
    """Returns the user's own pictures from a folder with one sub-folder per class, or with such folders by split.

    Sub-folders that are called `train` or `training`, `val`, `valid`, `validation` or `dev`, and `test` are splits; see
    `tfcompress.data.splits.completed` for those that are missing. Otherwise each class is split into 70 % training,
    15 % validation and 15 % test pictures. All splits depend only on the names of files.

    Pictures are decoded by `tfcompress.data.decoding` and made as large as the model's input by `fit`, float32
    `(image_size, image_size, 3)` in [0, 1]. Other files are left out, and a notice says how many. Every file is decoded
    once at the start, so that a broken one is reported before training.

    Args:
        folder: contains one sub-folder per class, or per split; class `i` is the i-th sub-folder by name.
        image_size: side of the model's input in pixels.
        fractions: the shares that are held out of training.
        synonyms: names of the classes by the names of their folders, if they differ; see `renamed`.

    Raises:
        UserError: if the folder does not exist, has fewer than two classes, too few pictures in one for its splits, or
            classes in one split that are not in `train`; or if a file cannot be decoded.
    """
    found = _by_split(folder)
    telling = [found["train"]] if "train" in found else list(found.values())
    names = sorted({name for of_classes in telling for name in of_classes})
    if len(names) < 2:
        raise UserError(
            f"{folder} has {len(names)} sub-folders; image_folder needs one sub-folder per class, at least two"
        )
    for split, of_classes in found.items():
        if unknown := sorted(set(of_classes) - set(names)):
            raise UserError(
                f"{folder} has the classes {listed(names)} to train, but also {listed(unknown)} for {split}; add "
                "training pictures of these, or remove them"
            )
        if split != "train" and not any(of_classes.values()):
            raise UserError(
                f"the {split} folder of {folder} has no pictures ({KINDS}); add some, or remove it: others take their "
                "place"
            )
    for name in names:
        if not any(of_classes.get(name) for of_classes in telling):
            raise UserError(f"{folder / name} has 0 pictures ({KINDS}); a class needs at least one")
    classes, places = renamed(names, synonyms, str(folder))
    parts = {
        split: mixed([(path, name) for name in names for path in of_classes.get(name, ())])
        for split, of_classes in found.items()
    }
    splits = completed(parts, lambda one: str(folder / one[1]), fractions, str(folder), f"pictures ({KINDS})")

    def decode(path: tf.Tensor) -> tf.Tensor:
        return fit(decode_image(tf.io.read_file(path)), image_size)

    _check_decoded(folder, [path for part in splits.values() for path, _ in part])
    arrays = {
        split: (
            np.array([os.fsencode(path) for path, _ in part], np.bytes_),
            np.array([places[name] for _, name in part], np.int32),
        )
        for split, part in splits.items()
    }
    return Dataset.from_arrays(folder.name, classes, **arrays, decode=decode, augment=random_flip)


def unlabelled_pictures(folder: Path, image_size: int, count: int) -> tf.data.Dataset:
    """Returns some of the pictures in a folder and its sub-folders at any depth, also behind links.

    Args:
        folder: contains pictures; other files are left out.
        image_size: side of the model's input in pixels.
        count: how many at most: random ones, seeded.

    Returns:
        float32 `(image_size, image_size, 3)` in [0, 1] each, made as large by `fit`.

    Raises:
        UserError: the folder has no pictures, or one of those that are taken cannot be decoded.
    """
    drawn = pictures_below(folder, count)

    def decode(path: tf.Tensor) -> tf.Tensor:
        return fit(decode_image(tf.io.read_file(path)), image_size)

    return tf.data.Dataset.from_tensor_slices(drawn).map(decode)


def pictures_below(folder: Path, count: int) -> list[bytes]:
    """Returns the encoded paths of some of the pictures below a folder; see `unlabelled_pictures`."""
    paths = sorted(
        path
        for path in files_below(folder)
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(_is_hidden(part) for part in [path, *path.relative_to(folder).parents])
    )
    if not paths:
        raise UserError(f"{folder} and its sub-folders hold no pictures ({KINDS}); give a folder that has some")
    drawn = [str(paths[i]) for i in np.random.default_rng(0).permutation(len(paths))[:count]]
    _check_decoded(folder, drawn)
    return [os.fsencode(path) for path in drawn]


def _by_split(folder: Path) -> dict[Split, dict[str, list[str]]]:
    """Returns the paths of the pictures of each class of each split; of `train`, if the folder has no splits."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; image_folder takes a folder with one sub-folder per class")
    inside = _sub_folders(folder)
    splits = {path: split_named(path.name) for path in inside}
    left_out: list[Path] = []
    found: dict[Split, dict[str, list[str]]] = {}
    if inside and None not in splits.values():
        for path, split in splits.items():
            assert split is not None
            if split in found:
                raise UserError(f"{folder} has two folders for {split}, one of them {path.name}; keep one of them")
            found[split] = {one.name: _pictures(one, left_out) for one in _sub_folders(path)}
    else:
        divided = [
            path.name for path, split in splits.items() if split and _sub_folders(path) and not _pictures(path, [])
        ]
        if divided:
            beside = [path.name for path, split in splits.items() if split is None]
            raise UserError(
                f"{folder} has {listed(divided)} with a folder for each class, and {listed(beside)} beside, which is "
                "no split; move that elsewhere"
            )
        found["train"] = {path.name: _pictures(path, left_out) for path in inside}
    if left_out:
        others = "" if len(left_out) == 1 else f" and {len(left_out) - 1} more"
        warnings.warn(f"{left_out[0]}{others} left out: not a picture ({KINDS})", UserWarning, stacklevel=3)
    return found


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_hidden(path))


def _pictures(folder: Path, left_out: list[Path]) -> list[str]:
    """Returns the paths of the pictures in a folder, and adds what else is there to `left_out`."""
    found = sorted(path for path in folder.iterdir() if not _is_hidden(path))
    left_out += [path for path in found if path.suffix.lower() not in SUFFIXES]
    return [str(path) for path in found if path.suffix.lower() in SUFFIXES]


def _check_decoded(folder: Path, paths: Sequence[str]) -> None:
    found = tf.data.Dataset.from_tensor_slices([os.fsencode(path) for path in paths]).map(
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


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name in _NOT_CLASSES
