"""Measures the files of a run: size, quality, agreement with the Keras model, latency and memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfcompress.files import atomic_write
from tfcompress.measure.agreement import Agreement, agreement, agreement_of_all
from tfcompress.measure.interpreter import Answers, FloatArray, inputs, predict_all
from tfcompress.measure.latency import latencies
from tfcompress.measure.lengths import LengthFigures, length_figures
from tfcompress.measure.memory import memory
from tfcompress.measure.quality import Scores, change, judge, quality
from tfcompress.measure.size import size
from tfcompress.models.outputs import Outputs, answers
from tfcompress.packed.options import RUNTIMES
from tfcompress.progress import track
from tfcompress.report.document import Variant
from tfcompress.runs.exporting import ExportedFile, quantization_scheme
from tfcompress.runs.recipe import Export
from tfcompress.runs.stages import Stage
from tfcompress.tflite.attached import ARCHIVE_ERRORS
from tfcompress.tflite.merging import first_graph
from tfcompress.tflite.runtimes import minimum_runtime

_COMPARED = 256
"""On how many examples a file is compared with its Keras model."""


def measure_files(files: Sequence[ExportedFile], export: Export, workdir: Path) -> list[Variant]:
    """Measures the files and compares them with the first. The last that is not packed becomes `workdir/model.tflite`.

    That has the longest of several lengths only, because MediaPipe takes files with one graph.
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
    expected: dict[str, Answers] = {}
    variants = []
    for file in files:
        stage = file.stage
        if stage.folder not in expected:
            expected[stage.folder] = _expected(stage, export)
        outputs = _predictions(file, workdir)
        scores = judge(metrics, labels, outputs, str(file.path))
        first = first or scores
        variants.append(
            Variant(
                stage=stage.name,
                format=file.format,
                scheme=quantization_scheme(stage.traits),
                file=str(file.path.relative_to(workdir)),
                minimum_runtime=minimum_runtime(file.path.read_bytes(), RUNTIMES),
                inputs=inputs(file.path),
                size=size(file.path),
                quality=tuple(map(quality, metrics, scores)),
                change=() if first is scores else tuple(map(change, metrics, first, scores)),
                agreement=_agreement(outputs, expected[stage.folder]),
                latency=times[file.path.stem],
                memory=memory(file.path)[0],
                tensors=file.tensors,
                packed=file.packed,
                lengths=_lengths(file, expected[stage.folder]) if export.lengths else (),
            )
        )
    write_model(workdir, variants)
    return variants


def write_model(workdir: Path, variants: Sequence[Variant]) -> None:
    """Writes `workdir/model.tflite`: of the last file that is not packed, the longest of several lengths."""
    last = [variant for variant in variants if not variant.packed][-1]
    content = first_graph((workdir / last.file).read_bytes())
    with atomic_write(workdir / "model.tflite") as beside:
        beside.write_bytes(content)


def _predictions(file: ExportedFile, workdir: Path) -> Answers:
    """Returns the file's outputs for the test split, read from the disk if they can be."""
    names, path = file.stage.names, workdir / "predictions" / f"{file.path.stem}.npz"
    found: list[FloatArray] = []
    with suppress(*ARCHIVE_ERRORS), np.load(path) as stored:
        found = [stored[f"arr_{place}"] for place in range(len(stored.files))]
    if not found:
        data = file.stage.data
        examples = (features for features, _ in data.examples("test").as_numpy_iterator())
        outputs = predict_all(file.path, track(examples, f"testing {file.path.stem}", data.size("test")))
        found = [outputs[name] for name in names] if isinstance(outputs, dict) else [outputs]
        with atomic_write(path) as beside, beside.open("wb") as stream:
            np.savez(stream, *found)
    return found[0] if len(found) == 1 else dict(zip(names, found, strict=True))


def _expected(stage: Stage, export: Export) -> Answers:
    """Returns what a file of a stage should give for the first test examples: the outputs of its Keras model."""
    gives = Outputs.NUMBERS if export.logits else stage.outputs
    return answers(stage.model, gives, stage.names, _compared(stage).batch(64))


def _compared(stage: Stage) -> tf.data.Dataset:
    """Returns the features of the first test examples."""
    return stage.data.examples("test").take(_COMPARED).map(lambda features, _: features)


def _lengths(file: ExportedFile, expected: Answers) -> tuple[LengthFigures, ...]:
    """Measures a text model's file at each of its lengths."""
    assert not isinstance(expected, dict)  # A model with several outputs has one length.
    return length_figures(file.path, list(_compared(file.stage).as_numpy_iterator()), expected)


def _agreement(outputs: Answers, expected: Answers) -> Agreement:
    """Compares a file's outputs with those that are expected of the first examples."""
    if isinstance(outputs, dict) and isinstance(expected, dict):
        return agreement_of_all({name: outputs[name][: len(found)] for name, found in expected.items()}, expected)
    assert not isinstance(outputs, dict)
    assert not isinstance(expected, dict)
    return agreement(outputs[: len(expected)], expected)
