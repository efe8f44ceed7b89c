"""What a run leaves for the Android demo: models, samples, and what LiteRT answers to them, in `workdir/android`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfcompress import runtime
from tfcompress.commands.examples import images, tokens
from tfcompress.data import text
from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError
from tfcompress.files import remove_folder, write_json, writing_to
from tfcompress.measure.interpreter import Runner
from tfcompress.packed.packer import pack
from tfcompress.report.document import Report
from tfcompress.tflite.metadata import TextInput, read_description

SAMPLES = 6
_INPUTS = 64
"""How many numbers of an input are kept."""


def write_folder(workdir: Path, report: Report, data: Dataset) -> None:
    """Writes `workdir/android`, if it is not there, of a run whose files say how a phone makes their input.

    - `base_float32.tflite` (or another format, if the run has no float32), `compressed.tflite`, the run's last stock
      file, and `packed.tflite`, the same packed, where its weights are clustered and the clustered runtime is there.
    - `samples/N.png`: test images, as many as `SAMPLES`, each of a class of its own if there are so many. Texts are in
      the manifest.
    - `golden.json`: for each model `outputs` and `inputs`, a row a sample: the outputs by LiteRT without XNNPACK, whose
      versions round int8 differently, and by name the first 64 numbers of each input.
    - `manifest.json`: names, titles and bytes of the models, samples and the classes that they belong to.
    """
    folder, beside = workdir / "android", workdir / ".android"
    if folder.is_dir():
        return
    first = workdir / report.variants[0].file
    description = read_description(first.read_bytes())
    if description is None or description.input is None:
        return
    task = "text" if isinstance(description.input, TextInput) else "image"
    with writing_to(folder):
        remove_folder(beside)
        beside.mkdir()
        models = _models(beside, workdir, report)
        chosen = _chosen(data)
        samples, sampled = (_texts if task == "text" else _pictures)(chosen, beside)
        golden = {}
        for name in models:
            outputs, inputs = _run(beside / name, sampled, task)
            golden[name] = {"outputs": outputs, "inputs": inputs}
        write_json(beside / "golden.json", golden)
        manifest = {
            "format": "tfcompress.android",
            "version": 1,
            "name": re.sub(r"\W+", "_", report.title),
            "title": report.title,
            "task": task,
            "models": [
                {"file": name, "title": title, "bytes": (beside / name).stat().st_size}
                for name, title in models.items()
            ],
            "samples": samples,
            "labels": [data.classes[label] for label in chosen.labels["test"]],
        }
        write_json(beside / "manifest.json", manifest)
        beside.rename(folder)


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
        (folder / "packed.tflite").write_bytes(pack((workdir / last.file).read_bytes()))
    except UserError:  # Nothing in it is clustered, or this machine could not run it.
        return titles
    return titles | {"packed.tflite": f"{last.name} packed"}


def _chosen(data: Dataset) -> Dataset:
    """Returns the data set with the samples as its test split: the first example of each of the first classes."""
    _, firsts = np.unique(data.labels["test"], return_index=True)
    places = tf.constant(sorted(firsts)[:SAMPLES], tf.int64)
    kept = data.test.enumerate().filter(lambda place, _: tf.reduce_any(place == places))
    return replace(data, test=kept.map(lambda _, example: example))


def _texts(chosen: Dataset, _: Path) -> tuple[list[str], Dataset]:
    return list(text.texts(chosen, "test")), chosen


def _pictures(chosen: Dataset, folder: Path) -> tuple[list[str], Dataset]:
    """Writes the samples as PNG files; returns their names, and the samples as such files hold them."""
    (folder / "samples").mkdir()
    found = chosen.examples("test").as_numpy_iterator()
    pixels = [np.rint(image * 255).astype(np.uint8) for image, _ in found]
    names = [f"samples/{place}.png" for place in range(len(pixels))]
    for name, image in zip(names, pixels, strict=True):
        (folder / name).write_bytes(tf.io.encode_png(image).numpy())
    stored = tf.data.Dataset.from_tensor_slices((np.stack(pixels) / np.float32(255), chosen.labels["test"]))
    return names, replace(chosen, test=stored, decode=None)


def _run(file: Path, samples: Dataset, task: str) -> tuple[list[list[float]], list[dict[str, list[float]]]]:
    """Returns a file's outputs of the samples, and the first numbers of each input."""
    runner = Runner(file, xnnpack=False)
    feed = tokens(file, runner, samples) if task == "text" else images(file, runner, samples)
    outputs, inputs = [], []
    for example in feed:
        outputs.append(runner.run(example).tolist())
        named = example if isinstance(example, dict) else dict.fromkeys(runner.inputs, example)
        inputs.append({name: np.ravel(values)[:_INPUTS].tolist() for name, values in named.items()})
    return outputs, inputs
