"""From finished stages to verified files and their figures."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tf_keras

from tfcompress.data.dataset import Dataset
from tfcompress.data.tokenizer import Tokenizer
from tfcompress.export.converter import Format, convert
from tfcompress.export.verify import VerifiedTensor, verify
from tfcompress.files import atomic_write
from tfcompress.measure.accuracy import Agreement, accuracy, agreement, flips
from tfcompress.measure.interpreter import FloatArray, inputs, predict
from tfcompress.measure.latency import latencies
from tfcompress.measure.memory import memory
from tfcompress.measure.size import size
from tfcompress.packed.options import RUNTIMES
from tfcompress.packed.packer import pack
from tfcompress.progress import track
from tfcompress.report.document import Variant
from tfcompress.runs.recipe import Export
from tfcompress.tflite.metadata import Description, ImageInput, TextInput, describe
from tfcompress.tflite.runtimes import minimum_runtime
from tfcompress.training import gives_probabilities
from tfcompress.traits import Traits

_AGREEMENT_EXAMPLES = 256
_DRAWN_EXAMPLES = 16


@dataclass(frozen=True)
class Stage:
    """A finished stage.

    Attributes:
        name: `base` or the technique's.
        folder: below the working folder, `NN-name`.
        model: plain, or quantized after `quantize`.
        data: as the model takes it.
        traits: what was checked of its kernels.
        history: a row an epoch of its training.
    """

    name: str
    folder: str
    model: tf_keras.Model
    data: Dataset
    traits: Traits
    history: list[dict[str, float]]


@dataclass(frozen=True)
class File:
    """A verified `.tflite` of a stage, stock or packed."""

    stage: Stage
    format: Format
    path: Path
    tensors: tuple[VerifiedTensor, ...]
    packed: bool = False


def export_stage(stage: Stage, export: Export, workdir: Path) -> list[File]:
    """Writes a stage's files to `workdir/tflite`, each verified before it gets its name, and kept for a later call."""
    formats = _formats(stage, export)
    files = [_stock(stage, stored_as, export, workdir) for stored_as in track(formats, "converting", len(formats))]
    if export.clustered and any(kernel.clusters for kernel in stage.traits.values()):
        files += [_packed(file) for file in files if file.format in ("float32", "int8")]
    return files


def evaluate(files: Sequence[File], export: Export, workdir: Path) -> list[Variant]:
    """Measures the files, the first being the one to compare with; the last stock one becomes `workdir/model.tflite`.

    Predictions are kept for a later call.
    """
    # The last stage's, because token ids of a trimmed vocabulary are in range for a whole one, too.
    data = files[-1].stage.data
    example = next(data.examples("test").take(1).as_numpy_iterator())[0]
    paths = {file.path.stem: file.path for file in files}
    times = latencies(paths, dict.fromkeys(paths, example))
    labels = data.labels["test"]
    first: FloatArray | None = None
    variants = []
    for file in files:
        outputs = _predictions(file, workdir)
        first = outputs if first is None else first
        correct = outputs.argmax(1) == labels
        variants.append(
            Variant(
                stage=file.stage.name,
                format=file.format,
                scheme=_scheme(file.stage.traits),
                file=str(file.path.relative_to(workdir)),
                minimum_runtime=minimum_runtime(file.path.read_bytes(), RUNTIMES),
                inputs=inputs(file.path),
                size=size(file.path),
                accuracy=accuracy(correct),
                flips=None if first is outputs else flips(first.argmax(1) == labels, correct),
                agreement=_agreement(file.stage, outputs, export),
                latency=times[file.path.stem],
                memory=memory(file.path)[0],
                tensors=file.tensors,
                packed=file.packed,
            )
        )
    with atomic_write(workdir / "model.tflite") as beside:
        shutil.copyfile([file.path for file in files if not file.packed][-1], beside)
    return variants


def _formats(stage: Stage, export: Export) -> tuple[Format, ...]:
    return ("int8",) if _scheme(stage.traits) else export.formats


def _scheme(traits: Traits) -> str:
    """Returns the richest quantization-aware training of any quantized kernel, or an empty string."""
    return max((kernel.scheme for kernel in traits.values() if kernel.quantized), key=len, default="")


def _stock(stage: Stage, format: Format, export: Export, workdir: Path) -> File:
    def make() -> bytes:
        content = convert(stage.model, format, export.logits, export.per_channel)
        return describe(content, _description(stage, format))

    return _verified(stage, format, workdir / "tflite" / f"{stage.folder}-{format}.tflite", make)


def _packed(file: File) -> File:
    """Packs a file of a stage, beside it."""
    path = file.path.with_stem(f"{file.path.stem}_packed")
    return _verified(file.stage, file.format, path, lambda: pack(file.path.read_bytes()), packed=True)


def _verified(stage: Stage, format: Format, path: Path, make: Callable[[], bytes], packed: bool = False) -> File:
    """Verifies a file of a stage: what `make` returns before it is written, what an earlier call wrote again."""
    written = path.is_file()
    content = path.read_bytes() if written else make()
    tensors = verify(content, stage.model, stage.traits, format)
    if not written:
        with atomic_write(path) as beside:
            beside.write_bytes(content)
    return File(stage, format, path, tuple(tensors), packed)


def _description(stage: Stage, format: Format) -> Description:
    """Returns what a file says of itself."""
    data, scheme = stage.data, _scheme(stage.traits)
    text = f"Classifies {data.name} into {len(data.classes)} classes. Stage {stage.name}, {scheme or format}."
    return Description(stage.model.name, text, data.classes, _input(data))


def _input(data: Dataset) -> ImageInput | TextInput | None:
    """Returns what the examples are; None where a phone could not know how to make them."""
    if isinstance(data.decode, Tokenizer):
        return TextInput(data.decode.vocabulary, data.decode.lowercase)
    drawn = data.examples("validation").take(_DRAWN_EXAMPLES).as_numpy_iterator()
    images = [features for features, _ in drawn if isinstance(features, np.ndarray)]
    if not images or images[0].ndim != 3 or images[0].shape[-1] not in (1, 3):
        return None
    return ImageInput() if all(image.min() >= 0 and image.max() <= 1 for image in images) else None


def _predictions(file: File, workdir: Path) -> FloatArray:
    """Returns the file's outputs on the test split, from disk if they are there."""
    path = workdir / "predictions" / f"{file.path.stem}.npy"
    if not path.is_file():
        data = file.stage.data
        examples = (features for features, _ in data.examples("test").as_numpy_iterator())
        outputs = predict(file.path, track(examples, f"testing {file.path.stem}", data.size("test")))
        with atomic_write(path) as beside:
            np.save(beside, outputs)
    stored: FloatArray = np.load(path)
    return stored


def _agreement(stage: Stage, outputs: FloatArray, export: Export) -> Agreement:
    model = stage.model
    examples = stage.data.examples("test").take(_AGREEMENT_EXAMPLES).batch(64)
    expected = model.predict(examples.map(lambda features, _: features), verbose=0)
    if not (export.logits or gives_probabilities(model)):
        expected = np.exp(expected - expected.max(axis=1, keepdims=True))
        expected /= expected.sum(axis=1, keepdims=True)
    return agreement(outputs[: len(expected)], expected)
