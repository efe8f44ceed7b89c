"""The command `tfcompress`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from absl import logging
from rich.console import Console

from tfcompress.errors import UserError
from tfcompress.quiet import library_warnings_quiet, native_libraries_quiet

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def main() -> None:
    """Runs the command line."""
    with as_user_sees():
        app()


@contextmanager
def as_user_sees() -> Iterator[None]:
    """Runs a program for a user: a mistake of his is one line and status 2, and the libraries' chatter is off."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with library_warnings_quiet():
            yield
    except UserError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", style="red", markup=False, highlight=False)
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _version(
    show: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    """Makes a Keras Vision Transformer or BERT small and fast for phones, with proof."""
    if show:
        print(version("tfcompress"))
        raise typer.Exit


@app.command()
def recipes() -> None:
    """List the recipes that come with tfcompress."""
    import_tensorflow()
    from tfcompress.runs.recipe import shipped

    for name, what in shipped().items():
        print(f"{name:20} {what}")


@app.command()
def datasets() -> None:
    """List the data sets that a recipe can name."""
    import_tensorflow()
    from tfcompress.data.registry import NAMES

    for name, what in NAMES.items():
        print(f"{name:20} {what}")


@app.command()
def presets() -> None:
    """List the models that a recipe can name."""
    import_tensorflow()
    from tfcompress.models.presets import PRESETS

    for name, config in PRESETS.items():
        print(f"{name:20} {config}")


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    workdir: Annotated[Path, typer.Option(help="For all files; the same command goes on where it was cut off.")],
    model: Annotated[
        Path | None,
        typer.Option(
            help="Compress this trained model, not the recipe's: a .h5 or .keras file, a SavedModel or a run's stage."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: techniques[1].cluster.clusters=32."),
    ] = None,
    allow_code: Annotated[bool, typer.Option(help="Also open model files that can run code.")] = False,
) -> None:
    """Run a recipe: train, compress, export, verify, measure, report."""
    import_tensorflow()
    from tfcompress.report.table import print_report
    from tfcompress.runs import pipeline
    from tfcompress.runs.recipe import Recipe

    print_report(pipeline.run(Recipe.load(recipe, changes or []), workdir, model, allow_code))
    print(f"{workdir / 'report.html'}  {workdir / 'report.json'}  {workdir / 'model.tflite'}")


@app.command()
def convert(
    model: Annotated[
        Path, typer.Argument(help="A SavedModel folder, a .h5, .keras or float .tflite file, a run's folder or stage.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .tflite to write.")],
    to: Annotated[
        str, typer.Option(help="float32, float16, dynamic, int8, int8-full, int4, or a recipe of ai-edge-quantizer.")
    ],
    calibration: Annotated[
        str | None, typer.Option(metavar="NAME[:PATH]|FILE.npz", help="Examples for int8 and int8-full.")
    ] = None,
    examples: Annotated[int, typer.Option(help="How many of them at most.")] = 256,
    per_channel: Annotated[
        bool | None, typer.Option("--per-channel/--per-tensor", help="A scale for each output of a layer, or one.")
    ] = None,
    min_runtime: Annotated[str | None, typer.Option(help="The oldest TFLite that must run the file: 2.16.")] = None,
    allow_code: Annotated[bool, typer.Option(help="Also open model files that can run code.")] = False,
) -> None:
    """Convert a trained model to a .tflite, and run both to compare."""
    import_tensorflow()
    from tfcompress.commands.convert import convert_file

    print(convert_file(model, output, to, calibration, examples, per_channel, min_runtime, allow_code))


@app.command()
def pack(
    file: Annotated[Path, typer.Argument(help="A .tflite file with clustered weights, float32 or int8.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The packed .tflite to write.")],
    activations: Annotated[
        str | None, typer.Option(help="What is computed in: float32 or int8; by default as the weights are.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="NAME[:PATH]", help="Compare both files on its first test examples.")
    ] = None,
) -> None:
    """Pack a .tflite, so that its clustered weights stay clustered at run time."""
    from tfcompress.commands.pack import pack_file

    if data is not None:
        import_tensorflow()
    print(pack_file(file, output, activations, data))


@app.command()
def unpack(
    file: Annotated[Path, typer.Argument(help="A packed .tflite file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The stock .tflite to write.")],
    data: Annotated[
        str | None, typer.Option(metavar="NAME[:PATH]", help="Compare both files on its first test examples.")
    ] = None,
) -> None:
    """Make a stock .tflite of a packed one, for any TFLite."""
    from tfcompress.commands.pack import unpack_file

    if data is not None:
        import_tensorflow()
    print(unpack_file(file, output, data))


@app.command("sensitivity")
def _sensitivity(
    model: Annotated[Path, typer.Argument(help="A .h5 or .keras file, a SavedModel folder, or a stage of a run.")],
    data: Annotated[str, typer.Option(help="The data set: `tfcompress datasets` lists them.")],
    workdir: Annotated[Path, typer.Option(help="For what is finished; the same command goes on where it was cut off.")],
    path: Annotated[Path | None, typer.Option(help="The data's file or folder, where it needs one.")] = None,
    examples: Annotated[int, typer.Option(min=2, help="How many of the validation split.")] = 256,
    tolerance: Annotated[float, typer.Option(min=0, help="By how much a layer may raise the loss.")] = 0.01,
    json: Annotated[Path | None, typer.Option(help="Writes all figures, and settings for a recipe.")] = None,
    allow_code: Annotated[bool, typer.Option(help="Also open model files that can run code.")] = False,
) -> None:
    """Show what clustering or pruning each layer alone would cost."""
    import_tensorflow()
    from tfcompress.models import saved
    from tfcompress.runs.base import load_data_for
    from tfcompress.study.sensitivity import sensitivity
    from tfcompress.study.table import print_sensitivity

    file = saved.file_of(model)
    loaded = saved.load(file, allow_code)
    study = sensitivity(loaded, load_data_for(loaded, data, path, file.parent), workdir, examples, tolerance)
    print_sensitivity(study)
    if json is not None:
        study.save(json)


@app.command()
def compare(
    files: Annotated[list[Path], typer.Argument(help=".tflite files; the first is the one to compare with.")],
    data: Annotated[str | None, typer.Option(help="Compare answers on its test split: `tfcompress datasets`.")] = None,
    path: Annotated[Path | None, typer.Option(help="The data's file or folder, where it needs one.")] = None,
    examples: Annotated[int | None, typer.Option(help="Take only the first so many of the test split.")] = None,
    threads: Annotated[str, typer.Option(help="Numbers of threads to measure with: 1,2.")] = "1",
    rounds: Annotated[int, typer.Option(help="Turns of each file in the time measurement.")] = 50,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this file.")] = None,
    from_phone: Annotated[
        Path | None, typer.Option(help="What the demo app's benchmark shared of these files on a phone.")
    ] = None,
) -> None:
    """Compare .tflite files: bytes, time, memory, answers."""
    from tfcompress.measure import phone
    from tfcompress.measure.comparison import compare as measure
    from tfcompress.report.comparison import print_comparison

    counts = _integers("--threads", threads)
    of_phone = None if from_phone is None else phone.load(from_phone)
    if data is None:
        if path is not None or examples is not None:
            raise UserError("--path and --examples are for a data set; name it: --data")
        comparison = measure(files, threads=counts, rounds=rounds, phone=of_phone)
    else:
        import_tensorflow()
        from tfcompress.commands.examples import examples_for

        feeds, labels = examples_for(files, data, path, examples)
        comparison = measure(files, feeds, labels, counts, rounds, data, str(path or ""), of_phone)
    if json is not None:
        comparison.save(json)  # first: measuring took long, and whoever reads what is printed may have gone
    print_comparison(comparison)


@app.command()
def report(
    source: Annotated[Path, typer.Argument(help="A run's folder, or what `compare --json` wrote.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="By default beside the source.")] = None,
) -> None:
    """Write the report page of a run or a comparison: one HTML file."""
    import_tensorflow()
    from tfcompress.report.page import write_page

    print(write_page(source, output))


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="A .tflite file of any origin.")],
    json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
    compressed: Annotated[
        bool, typer.Option("--compressed", help="Also measure the file after gzip and zstd.")
    ] = False,
) -> None:
    """Show what a .tflite file holds: operators, bytes, weights."""
    from tfcompress.inspect.contents import inspect as read
    from tfcompress.report.contents import print_contents, to_json

    contents = read(file, compressed)
    if json:
        print(to_json(contents))
    else:
        print_contents(contents)


def _integers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} is {text!r}; it takes whole numbers with commas between them, such as 1,2") from None


def import_tensorflow() -> None:
    """Imports TensorFlow without what its libraries print when they are loaded, and without its warnings."""
    with native_libraries_quiet():
        import tensorflow as tf
    tf.get_logger().setLevel("ERROR")
    logging.set_verbosity(logging.ERROR)
