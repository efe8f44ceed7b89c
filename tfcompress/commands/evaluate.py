"""How good one model is on one data set."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tfcompress.commands.convert import open_model, unquantized_file
from tfcompress.commands.examples import examples_for, keep_tokenizer
from tfcompress.errors import UserError
from tfcompress.files import has_suffix, write_json
from tfcompress.measure.interpreter import check_runs, predict
from tfcompress.measure.quality import Quality, judge, quality
from tfcompress.progress import track


@dataclass(frozen=True)
class Evaluation:
    """The figures of a model.

    Attributes:
        model: its path or name.
        data: name of the data set, as it was given.
        examples: how many of the test split.
        quality: the figures of the data's task, of which the first decides.
    """

    model: str
    data: str
    examples: int
    quality: tuple[Quality, ...]

    def save(self, path: Path) -> None:
        """Writes the figures as JSON."""
        write_json(path, TypeAdapter(Evaluation).dump_python(self, mode="json"))


def evaluate_model(
    model: Any,
    data: str,
    path: Path | None = None,
    examples: int | None = None,
    task: str | None = None,
    allow_code: bool = False,
) -> Evaluation:
    """Runs a model on the test split of a data set.

    Args:
        model: the path of any `.tflite` file; or anything else that `convert_file` takes, which runs as a float32 file,
            or as an int8 one after quantization-aware training.
        data: the data set, `NAME` or `NAME:PATH`, or a YAML file that describes it.
        path: of the data set's file or folder, if it needs one and `data` does not say it.
        examples: how many, the first of the test split; by default all.
        task: of the data, if they are yours and a YAML file does not say it; by default classification.
        allow_code: whether to open files that can run code.

    Raises:
        UserError: the model cannot be run, or the data set cannot be loaded, fed to it, or judge what it gives.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, called = _file(model, Path(folder), allow_code)
        try:
            fed = examples_for([file], data, path, examples, task=task)
            if fed.labels is None:
                raise UserError(f"{fed.not_judged}; give a model that was made for these data, or other data")
            feed = fed.feeds[file]
            outputs = predict(file, track(feed, f"running {called}", len(feed)))
        except UserError as error:
            raise UserError(str(error).replace(str(file), called)) from error
    order = fed.orders.get(file)
    scores = judge(fed.metrics, fed.labels, outputs if order is None else outputs[:, list(order)], called)
    return Evaluation(called, data, len(feed), tuple(map(quality, fed.metrics, scores)))


def _file(model: Any, folder: Path, allow_code: bool) -> tuple[Path, str]:
    """Returns a `.tflite` file of a model, in `folder` if it has to be made, and what messages call the model."""
    if has_suffix(model, ".tflite"):
        return Path(model), str(model)
    source = open_model(model, allow_code)
    file = folder / "model.tflite"
    file.write_bytes(unquantized_file(source, "float32", True))
    check_runs(file, source.name)
    if isinstance(model, (Path, str)):
        keep_tokenizer(Path(model), file)
    return file, source.name
