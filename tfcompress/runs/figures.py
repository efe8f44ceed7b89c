"""Measures the files of a run: size, quality, agreement with the Keras model, latency and memory."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfcompress.files import atomic_write
from tfcompress.measure.agreement import Agreement, agreement
from tfcompress.measure.interpreter import FloatArray, inputs, predict
from tfcompress.measure.latency import latencies
from tfcompress.measure.memory import memory
from tfcompress.measure.quality import Scores, change, judge, quality
from tfcompress.measure.size import size
from tfcompress.packed.options import RUNTIMES
from tfcompress.progress import track
from tfcompress.report.document import Variant
from tfcompress.runs.exporting import ExportedFile, quantization_scheme
from tfcompress.runs.recipe import Export
from tfcompress.runs.stages import Stage
from tfcompress.tflite.runtimes import minimum_runtime

_AGREEMENT_EXAMPLES = 256


def measure_files(files: Sequence[ExportedFile], export: Export, workdir: Path) -> list[Variant]:
    """Measures the files and compares them with the first. The last that is not packed becomes `workdir/model.tflite`.

    Predictions on the test split are kept in `workdir/predictions` for a later call.
    """
    # The last stage's data, because token ids of a trimmed vocabulary are also in range for the whole one.
    data = files[-1].stage.data
    example = next(data.examples("test").take(1).as_numpy_iterator())[0]
    paths = {file.path.stem: file.path for file in files}
    times = latencies(paths, dict.fromkeys(paths, example))
    labels = data.labels["test"]
    metrics = data.task.metrics(labels)
    first: tuple[Scores, ...] | None = None
    variants = []
    for file in files:
        outputs = _predictions(file, workdir)
        scores = judge(metrics, labels, outputs, str(file.path))
        first = first or scores
        variants.append(
            Variant(
                stage=file.stage.name,
                format=file.format,
                scheme=quantization_scheme(file.stage.traits),
                file=str(file.path.relative_to(workdir)),
                minimum_runtime=minimum_runtime(file.path.read_bytes(), RUNTIMES),
                inputs=inputs(file.path),
                size=size(file.path),
                quality=tuple(map(quality, metrics, scores)),
                change=() if first is scores else tuple(map(change, metrics, first, scores)),
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


def _predictions(file: ExportedFile, workdir: Path) -> FloatArray:
    """Returns the file's outputs for the test split `(examples, …)`, read from the disk if they are there."""
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
    """Compares a file's outputs with those of the Keras model that it was made from, on the first test examples."""
    model = stage.model
    examples = stage.data.examples("test").take(_AGREEMENT_EXAMPLES).batch(64)
    expected = model.predict(examples.map(lambda features, _: features), verbose=0)
    if not export.logits:
        expected = np.asarray(stage.outputs.to_probabilities(expected))
    return agreement(outputs[: len(expected)], expected)
