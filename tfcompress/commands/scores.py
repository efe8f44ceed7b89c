"""Finds which score of a `.tflite` file belongs to which class, by the labels in its metadata."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tfcompress.errors import UserError
from tfcompress.labels import places, places_of_some
from tfcompress.tflite.metadata import read_labels

_REMEDY = "rename the classes of the data as the file does, or choose the data that the file was made for"


def score_orders(
    files: Iterable[Path], classes: Sequence[str] = (), data: str = "the data set"
) -> dict[Path, tuple[int, ...]]:
    """Returns the index of the score of each class, for each file that has its own labels.

    A file without labels that can be read, or with another number of them, is left out.

    Args:
        files: paths of `.tflite` files.
        classes: names of the classes; by default the labels of the first file that has any.
        data: whose classes these are, for errors.

    Raises:
        UserError: the labels of a file are other names.
    """
    found: dict[Path, tuple[int, ...]] = {}
    for file in dict.fromkeys(files):
        labels = _labels(file)
        if not classes:
            classes, data = labels, str(file)
        if labels and len(labels) == len(classes):
            found[file] = places(labels, classes, str(file), data, _REMEDY)
    return found


def evaluated_classes(
    files: Iterable[Path], classes: Sequence[str], data: str
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Finds the classes of data among those that a file names, which may be more.

    Args:
        files: paths of `.tflite` files; the first one with labels that can be read counts.
        classes: names of the data's classes.
        data: whose classes these are, for errors.

    Returns:
        The names of all classes of the file, and the place among them of each class of the data. If no file has
        labels, or as many as the data have classes, these are the data's classes in their own order.

    Raises:
        UserError: a class of the data is not among the labels.
    """
    for file in files:
        if len(labels := _labels(file)) == len(classes):
            break  # `score_orders` matches them.
        if labels:
            return labels, places_of_some(labels, classes, str(file), data, _REMEDY)
    return tuple(classes), tuple(range(len(classes)))


def _labels(file: Path) -> tuple[str, ...]:
    try:
        return read_labels(file.read_bytes())
    except (OSError, UserError):
        return ()  # Running the file tells what is wrong with it.
