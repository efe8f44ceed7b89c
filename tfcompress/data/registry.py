"""The data sets that a recipe can name."""

from __future__ import annotations

from pathlib import Path

from tfcompress.data import images
from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError

NAMES = {
    "digits": "1,797 handwritten digits of 8 × 8 pixels, from scikit-learn",
    "fashion_mnist": "70,000 pieces of clothing of 28 × 28 pixels, from Debian's dataset-fashion-mnist or a folder",
    "image_folder": "your own JPEG and PNG files: a folder with one sub-folder a class",
}
"""What there is, with a line on each."""


def check_name(name: str) -> None:
    """Raises a `UserError` that lists the data sets if `name` is none of them."""
    if name not in NAMES:
        raise UserError(f"unknown data set {name!r}; the data sets are {', '.join(NAMES)}")


def load(name: str, folder: Path | None, image_size: int) -> Dataset:
    """Loads a data set by name.

    Args:
        name: one of `NAMES`.
        folder: where the files are; needed by `image_folder`, optional for `fashion_mnist`.
        image_size: side in pixels that the model takes, for `image_folder`.
    """
    check_name(name)
    if name == "digits":
        return images.digits()
    if name == "fashion_mnist":
        return images.fashion_mnist(folder)
    if folder is None:
        raise UserError("image_folder needs the folder that holds your pictures: set data.folder")
    return images.image_folder(folder, image_size)
