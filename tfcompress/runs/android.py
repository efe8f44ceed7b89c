"""The folder `workdir/android` for the Android demo: models, samples, and LiteRT's outputs for them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfcompress import runtime
from tfcompress.commands.examples import decoded, images, tokens
from tfcompress.data import text
from tfcompress.data.dataset import Dataset
from tfcompress.data.pixels import in_range
from tfcompress.data.tasks import KINDS, Classification
from tfcompress.data.tokenizer import is_pair
from tfcompress.errors import UserError
from tfcompress.files import remove_folder, write_json, writing_to
from tfcompress.measure.comparison import Examples
from tfcompress.measure.interpreter import Runner
from tfcompress.packed.packer import pack
from tfcompress.progress import console
from tfcompress.report.document import Report
from tfcompress.tflite.metadata import LookupInput, TextInput, read_description

SAMPLES = 6
_INPUTS = 64
"""How many numbers of each input are kept."""


def write_folder(workdir: Path, report: Report, data: Dataset) -> None:
    """Writes `workdir/android` if it does not exist, and the app can show the run's files.

    It takes images, texts and pairs of texts, if the files say how a phone makes their input, and any task that a
    recipe can name.

    - `base_float32.tflite` (or another format if the run has no float32); `compressed.tflite`, the run's last file that
      is not packed; and `packed.tflite`, the same file packed, if its weights are clustered and this machine has the
      packed runtime.
    - `samples/N.png`: up to `SAMPLES` test images, if possible each of another class. Texts are in the manifest.
    - `golden.json`: for each model `outputs` and `inputs`, one row per sample: the outputs of LiteRT without XNNPACK,
      because XNNPACK's versions round int8 differently, and by input name the first 64 numbers of each input.
    - `manifest.json`: the input, `image` or `text`; the task; names, titles and bytes of the models; the samples, of
      which one of a pair of texts is a list of two; and in classification the classes that they belong to.
    """
    folder, unfinished = workdir / "android", workdir / ".android"
    if folder.is_dir():
        return
    if data.task.name not in KINDS:
        told = f"no folder for the Android demo, which shows the tasks {', '.join(KINDS)}"
        console.print(told, soft_wrap=True)
        return
    first = workdir / report.variants[0].file
    description = read_description(first.read_bytes())
    if description is None or description.input is None or isinstance(description.input, LookupInput):
        return
    takes_texts = isinstance(description.input, TextInput)
    with writing_to(folder):
        remove_folder(unfinished)
        unfinished.mkdir()
        models = _models(unfinished, workdir, report)
        places = _places(data)
        samples: Texts | Pictures = Texts(data, places) if takes_texts else Pictures(data, places)
        listed = samples.write(unfinished)
        golden = {name: _golden(unfinished / name, samples) for name in models}
        write_json(unfinished / "golden.json", golden)
        manifest = {
            "format": "tfcompress.android",
            "version": 2,
            "name": re.sub(r"\W+", "_", report.title),
            "title": report.title,
            "input": samples.input,
            "task": data.task.name,
            "models": [
                {"file": name, "title": title, "bytes": (unfinished / name).stat().st_size}
                for name, title in models.items()
            ],
            "samples": listed,
            "labels": [data.classes[label] for label in data.labels["test"][places]] if _is_classified(data) else [],
        }
        write_json(unfinished / "manifest.json", manifest)
        unfinished.rename(folder)


class Texts:
    """Samples that are texts, or pairs of them."""

    input = "text"

    def __init__(self, data: Dataset, places: Sequence[int]) -> None:
        texts = np.array(text.texts(data, "test"), object)
        found = texts.reshape(-1, 2) if is_pair(data.test.element_spec[0]) else texts
        self._texts: list[str] | list[list[str]] = found[places].tolist()

    def write(self, folder: Path) -> list[str] | list[list[str]]:
        """Returns the texts, which need no files."""
        return self._texts

    def fed_to(self, file: Path, runner: Runner) -> Examples:
        """Returns the samples as a file takes them."""
        return tokens(file, runner, tf.data.Dataset.from_tensor_slices(self._texts))


class Pictures:
    """Samples that are pictures, as PNG files hold them."""

    input = "image"

    def __init__(self, data: Dataset, places: Sequence[int]) -> None:
        data = in_range(data, (0.0, 1.0))
        wanted = tf.constant(places, tf.int64)
        chosen = data.test.enumerate().filter(lambda place, _: tf.reduce_any(place == wanted))
        found = decoded(chosen.map(lambda _, example: example), data.decode).as_numpy_iterator()
        self._pixels = [np.rint(image * 255).astype(np.uint8) for image in found]

    def write(self, folder: Path) -> list[str]:
        """Writes the pictures to `folder/samples` and returns their paths below the folder."""
        (folder / "samples").mkdir()
        names = [f"samples/{place}.png" for place in range(len(self._pixels))]
        for name, image in zip(names, self._pixels, strict=True):
            (folder / name).write_bytes(tf.io.encode_png(image).numpy())
        return names

    def fed_to(self, file: Path, runner: Runner) -> Examples:
        """Returns the samples as a file takes them."""
        stored = tf.data.Dataset.from_tensor_slices(np.stack(self._pixels) / np.float32(255))
        return images(file, runner, stored)


def _is_classified(data: Dataset) -> bool:
    """Returns whether each example has one class."""
    return isinstance(data.task, Classification)


def _places(data: Dataset) -> list[int]:
    """Returns the places of the samples in the test split: the first examples, or if they have classes, one of each."""
    firsts = np.unique(data.labels["test"], return_index=True)[1] if _is_classified(data) else range(data.size("test"))
    return sorted(map(int, firsts))[:SAMPLES]


def _models(folder: Path, workdir: Path, report: Report) -> Mapping[str, str]:
    """Copies the models to the folder; returns their titles by file name."""
    base = report.variants[0]
    last = [variant for variant in report.variants if not variant.packed][-1]
    titles = {f"base_{base.format}.tflite": base.name}
    shutil.copyfile(workdir / base.file, folder / next(iter(titles)))
    if last is not base:
        titles["compressed.tflite"] = last.name
        shutil.copyfile(workdir / last.file, folder / "compressed.tflite")
    try:
        runtime.library()
        (folder / "packed.tflite").write_bytes(pack((workdir / last.file).read_bytes(), allow_larger=True))
    except UserError:  # Its weights are not clustered, or this machine lacks the packed runtime.
        return titles
    return titles | {"packed.tflite": f"{last.name} packed"}


def _golden(file: Path, samples: Texts | Pictures) -> dict[str, list[list[float]] | list[dict[str, list[float]]]]:
    """Returns a file's outputs for the samples, and the first numbers of each of its inputs."""
    runner = Runner(file, xnnpack=False)
    outputs, inputs = [], []
    for example in samples.fed_to(file, runner):
        outputs.append(np.ravel(runner.run(example)).tolist())
        named = example if isinstance(example, dict) else dict.fromkeys(runner.inputs, example)
        inputs.append({name: np.ravel(values)[:_INPUTS].tolist() for name, values in named.items()})
    return {"outputs": outputs, "inputs": inputs}
