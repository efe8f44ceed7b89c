"""Converts any trained model to a `.tflite` file in a chosen format, and runs the file before it gets its name."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tfcompress.commands.calibration import Arrays, calibration_examples
from tfcompress.data import registry
from tfcompress.errors import UserError
from tfcompress.export import quantizer
from tfcompress.export.converter import convert_function
from tfcompress.export.formats import CALIBRATED_FORMATS, FORMATS, ConverterFormat, Format
from tfcompress.export.quantizer import QuantizerRecipe
from tfcompress.export.serving import ServingFunction
from tfcompress.export.sources import Source, of_model, open_source
from tfcompress.files import atomic_write, check_outputs, has_suffix
from tfcompress.measure.agreement import Difference, Outputs, Predict, compare_models
from tfcompress.measure.comparison import random_examples
from tfcompress.measure.interpreter import Example, Runner, check_runs, real_values, without_batch
from tfcompress.optimize.quantization import load_scope
from tfcompress.progress import bar
from tfcompress.tflite.attached import with_attached_files
from tfcompress.tflite.metadata import describe
from tfcompress.tflite.runtimes import minimum_runtime, newer, requirements


@dataclass(frozen=True)
class Conversion:
    """What was written, and how it compares with the model that it was made from.

    Attributes:
        path: of the file.
        format: a format, or the path of a quantizer recipe.
        bytes: of the file.
        minimum_runtime: the oldest TFLite version that runs it; empty if that is not known.
        inputs, outputs: type and shape by name.
        calibrated: number of calibration examples.
        difference: between the outputs of file and model, on two calibration examples or else on two random ones.
    """

    path: Path
    format: str
    bytes: int
    minimum_runtime: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    calibrated: int
    difference: Difference

    def __str__(self) -> str:
        runtime = f"for TFLite {self.minimum_runtime}" if self.minimum_runtime else "for an unknown version of TFLite"
        found = self.difference
        kind = "calibration example" if self.calibrated else "random input"
        example = f"{found.examples} {kind}{'s' * (found.examples > 1)}"
        top1 = "" if found.same_top1 is None else f"; the same top-1 on {found.same_top1} of {found.examples}"
        if not self.calibrated and found.same_top1 is not None and found.same_top1 < found.examples:
            top1 += ", which is no measure; for one, name data: tfcompress compare --data"
        difference = f"outputs differ from the model's by {found.largest_difference:.2g} at most{top1}"
        return (
            f"{self.path}: {self.format}, {self.bytes:,} bytes, {runtime}\n"
            f"takes {_ports(self.inputs)}; gives {_ports(self.outputs)}\n"
            f"run in LiteRT {version('ai-edge-litert')} on {example}: {difference}"
        )


def convert_file(
    source: Any,
    output: Path,
    to: Format | Path | str,
    calibration: str | Sequence[Example] | None = None,
    examples: int = 256,
    per_channel: bool | None = None,
    min_runtime: str | None = None,
    allow_code: bool = False,
) -> Conversion:
    """Converts a model, runs the file in LiteRT and the model as it was, and compares their outputs.

    Args:
        source: a model of tf_keras or Keras 3, or anything that `open_source` takes.
        output: the `.tflite` file to write. An existing file is replaced once the new one has run; a source can be so
            only if it is a `.tflite` file.
        to: a format, or the path of a `.json` recipe of litert-quantizer.
        calibration: what `int8` of a float model, `int8-full` and some quantizer recipes need: a data set, `NAME` or
            `NAME:PATH`, of which training examples are taken; a folder of pictures; a file of texts; an `.npz` file of
            arrays by input name; or examples without a batch axis; see
            `tfcompress.commands.calibration.calibration_examples`. A `.tflite` file with several signatures needs
            examples of each, in which an input is called by its name or by `SIGNATURE/NAME`.
        examples: the largest number of calibration examples.
        per_channel: whether each output of a layer has its own scale; `dynamic` then needs TFLite 2.17, and `int4`
            always has it. By default a layer has one scale, unless the format needs more.
        min_runtime: the oldest TFLite version that must run the file, such as `2.16`.
        allow_code: whether to open files that can run code.

    Raises:
        UserError: the arguments do not fit together, or the file does not run or gives numbers that are not finite.
    """
    target = _target(to)
    if per_channel is False and target == "int4":
        raise UserError("LiteRT refuses int4 with one scale per tensor, or computes it wrongly; leave out --per-tensor")
    if per_channel is not None and not isinstance(target, str):
        raise UserError(f"{to} itself says how scales are shared; leave out --per-channel and --per-tensor")
    if min_runtime is not None and not re.fullmatch(r"\d{1,4}(\.\d{1,4}){1,2}", min_runtime):
        raise UserError(f"minimum runtime {min_runtime!r} is not a version of TFLite; give one such as 2.16")
    if examples < 1:
        raise UserError(f"{examples} examples were asked for; at least one is needed")
    check_outputs([output], [source] if isinstance(source, (Path, str)) and not has_suffix(source, ".tflite") else [])
    opened = open_model(source, allow_code)
    _check_possible(opened, target, calibration is not None, per_channel)
    with tempfile.TemporaryDirectory() as folder:
        content = unquantized_file(opened, target, calibration is not None)
        reference = Path(folder) / "model.tflite"
        reference.write_bytes(content)
        if opened.content:
            check_runs(reference, opened.name)
        feeds = None if calibration is None else calibration_examples(calibration, examples, opened.name, reference)
        content = _converted(opened, target, content, feeds, bool(per_channel))
        _check_runtime(opened, str(to), content, min_runtime)
        # Not beside the output, where it would stay if LiteRT ended the process.
        converted = Path(folder) / "converted.tflite"
        converted.write_bytes(content)
        try:
            runner = Runner(converted)
            first = next(iter(feeds.values())) if feeds else random_examples({"": converted}, {"": runner})
            before = Runner(reference).run_all if opened.serving is None else _as_it_was(opened, runner)
            difference = compare_models(runner.run_all, before, first[:2], runner.scores.name)
            if not difference.finite:
                raise UserError("its outputs are not all finite numbers; choose another format")
            if _keeps_state(runner.run_all, first) and not _keeps_state(before, first):
                raise UserError(
                    "it keeps a state between its calls, which the model does not; convert the Keras model itself, or "
                    "build its recurrent layers with unroll=True"
                )
        except UserError as error:
            reason = str(error).replace(str(converted), "the file").replace(str(reference), opened.name)
            raise UserError(f"{opened.name} as {to}: {reason}") from error
        with atomic_write(output) as beside:
            beside.write_bytes(content)
    return Conversion(
        path=output,
        format=str(to),
        bytes=len(content),
        minimum_runtime="" if any(not one.runtime for one in requirements(content)) else minimum_runtime(content),
        inputs={name: str(port) for name, port in runner.inputs.items()},
        outputs={name: str(port) for name, port in runner.results.items()},
        calibrated=len(next(iter(feeds.values()))) if feeds else 0,
        difference=difference,
    )


def _ports(ports: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in ports.items())


def _target(to: Format | Path | str) -> Format | QuantizerRecipe:
    """Returns a format, or the quantizer recipe in a `.json` file."""
    for known in FORMATS:
        if to == known:
            return known
    if has_suffix(to, ".json"):
        return quantizer.load_quantizer_recipe(Path(to))
    raise UserError(f"format {str(to)!r} is neither one of {', '.join(FORMATS)} nor a .json recipe of litert-quantizer")


def open_model(source: Any, allow_code: bool) -> Source:
    """Returns the source that `convert_file` makes of its first argument; see `open_source`."""
    if isinstance(source, Source):
        return source
    if isinstance(source, (Path, str)):
        with load_scope():
            return open_source(Path(source), allow_code)
    return of_model(source)


def _check_possible(
    source: Source, target: Format | QuantizerRecipe, calibrated: bool, per_channel: bool | None
) -> None:
    """Finds mistakes that would otherwise only show after the conversion has begun."""
    if source.content:
        try:
            quantizer.check_float(source.content)
        except UserError as error:
            raise UserError(f"{source.name}: {error}") from error
    if source.quantized and (target != "int8" or per_channel):
        raise UserError(
            f"{source.name} was prepared for int8 with one scale per tensor by quantization-aware training; convert it "
            "to int8, or the stage before it to another format"
        )
    needed = target in CALIBRATED_FORMATS if isinstance(target, str) else quantizer.needs_calibration(target)
    if needed and not (source.quantized or calibrated):
        what = target if isinstance(target, str) else "this recipe"
        raise UserError(
            f"{what} needs examples to calibrate with: --calibration NAME, NAME:PATH, a folder of pictures, a .txt, "
            f".csv or .tsv file of texts, or an .npz; the data sets are {', '.join(registry.NAMES)}"
        )


def unquantized_file(source: Source, target: Format | QuantizerRecipe, wanted: bool) -> bytes:
    """Returns the file to quantize and compare with: float32, or int8 after quantization-aware training.

    It is empty if neither needs it.
    """
    if source.serving is None:
        return source.content
    if source.quantized:
        return _described(source, _convert(source.serving, "int8"))
    if target in ("float16", "dynamic") and not wanted:
        return b""  # The converter makes these without a float32 file.
    return _described(source, _convert(source.serving, "float32"))


def _converted(
    source: Source,
    target: Format | QuantizerRecipe,
    content: bytes,
    feeds: Mapping[str, Sequence[Arrays]] | None,
    per_channel: bool,
) -> bytes:
    if target == "float32" or source.quantized:
        return content
    if source.serving is not None and (target == "float16" or target == "dynamic"):
        return _described(source, _convert(source.serving, target, per_channel))
    batches = feeds and {
        signature: [{name: x[None] for name, x in row.items()} for row in rows] for signature, rows in feeds.items()
    }
    try:
        return with_attached_files(content, quantizer.quantize(content, target, batches, per_channel))
    except UserError as error:
        raise UserError(f"{source.name}: {error}") from error


def _convert(serving: ServingFunction, format: ConverterFormat, per_channel: bool = False) -> bytes:
    with bar(f"converting to {format}", 1) as shown:
        content = convert_function(serving, format, per_channel)
        shown.advance()
    return content


def _described(source: Source, content: bytes) -> bytes:
    return content if source.description is None else describe(content, source.description)


def _check_runtime(source: Source, to: str, content: bytes, oldest: str | None) -> None:
    """Raises a `UserError` if the file needs a later TFLite than `oldest`."""
    if oldest is None:
        return
    wanting = [
        f"{one.operator} version {one.version}" + (f" ({one.runtime})" if one.runtime else " (no known version)")
        for one in requirements(content)
        if not one.runtime or newer(one.runtime, oldest)
    ]
    if not wanting and newer(minimum_runtime(content), oldest):
        wanting = [f"the requirement in its metadata ({minimum_runtime(content)})"]
    if wanting:
        raise UserError(
            f"{source.name} as {to} does not run in TFLite {oldest}: it has {', '.join(wanting)}; choose another "
            "format, or leave out --per-channel"
        )


def _keeps_state(predict: Predict, examples: Sequence[Example]) -> bool:
    """Returns whether a model answers the first example otherwise after another one."""
    before = predict(examples[0])
    predict(examples[-1])
    again = predict(examples[0])
    return any(not np.array_equal(values, again[name], equal_nan=True) for name, values in before.items())


def _as_it_was(source: Source, runner: Runner) -> Predict:
    """Returns a function that runs the source's own model on an example for `runner`."""

    def predict(example: Example) -> Outputs:
        arrays = example if isinstance(example, dict) else dict.fromkeys(runner.inputs, example)
        outputs = source.run({name: np.asarray(array)[None] for name, array in arrays.items()})
        return {name: real_values(without_batch(output)) for name, output in outputs.items()}

    return predict
