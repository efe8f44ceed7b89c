"""The command `tfcompress`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TypeVar

import typer
from absl import logging
from rich.console import Console

from tfcompress.errors import UserError, first_line, is_out_of_memory
from tfcompress.keras3 import without_keras3
from tfcompress.process import call_apart
from tfcompress.quiet import library_warnings_quiet, native_libraries_quiet

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)

_AllowCode = Annotated[bool, typer.Option(help="Also open model files that can run code.")]
_Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="MODULE",
        help="Import a module with the model's own layers first, from this folder or the Python path.",
    ),
]


def main() -> None:
    """Runs the command line."""
    with as_user_sees():
        app()


@contextmanager
def as_user_sees() -> Iterator[None]:
    """Runs a program for a user: their mistakes end in one line and status 2, and libraries print no warnings."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever trained a model of Keras 3
    try:
        with library_warnings_quiet():
            yield
    except UserError as error:
        _end(str(error))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason = f" ({first_line(error).rstrip('.')})" if str(error) else ""
        _end(f"memory ran out{reason}; use smaller data, a smaller batch_size or a smaller model")


def _end(message: str) -> NoReturn:
    """Ends the process with an error message and status 2."""
    Console(stderr=True, soft_wrap=True).print(f"error: {message}", style="red", markup=False, highlight=False)
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
    workdir: Annotated[
        Path, typer.Option(help="The folder for all files. The same command resumes an interrupted run.")
    ],
    model: Annotated[
        Path | None,
        typer.Option(help="A trained model to compress instead: a .h5 or .keras file, a SavedModel or a run's stage."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting of the recipe, such as techniques[1].cluster.clusters=32.",
        ),
    ] = None,
    allow_code: _AllowCode = False,
    imports: _Imports = None,
    rehearsal: Annotated[
        bool, typer.Option("--rehearsal/--no-rehearsal", help="Try the whole run on two examples first.")
    ] = True,
) -> None:
    """Run a recipe: train, compress, export, verify, measure, report."""
    import_tensorflow()
    from tfcompress.models.user_code import import_modules
    from tfcompress.report.table import print_report
    from tfcompress.runs import pipeline
    from tfcompress.runs.recipe import Recipe

    import_modules(imports or [], allow_code)
    print_report(pipeline.run(Recipe.load(recipe, changes or []), workdir, model, allow_code, rehearsal))
    print(f"{workdir / 'report.html'}  {workdir / 'report.json'}  {workdir / 'model.tflite'}")


@app.command()
def convert(
    model: Annotated[
        Path,
        typer.Argument(
            help="A SavedModel or Hugging Face folder, a .h5, .keras or float .tflite file, a run's folder or stage."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .tflite file to write.")],
    to: Annotated[
        str, typer.Option(help="float32, float16, dynamic, int8, int8-full, int4, or a recipe of litert-quantizer.")
    ],
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:PATH]|FOLDER|FILE",
            help="Examples for int8 and int8-full: a data set, a folder of pictures, texts (.txt, .csv, .tsv) or .npz.",
        ),
    ] = None,
    examples: Annotated[int, typer.Option(help="The largest number of calibration examples.")] = 256,
    per_channel: Annotated[
        bool | None,
        typer.Option("--per-channel/--per-tensor", help="One scale per output of a layer, or one per tensor."),
    ] = None,
    min_runtime: Annotated[
        str | None, typer.Option(help="The oldest TFLite version that must run the file, such as 2.16.")
    ] = None,
    allow_code: _AllowCode = False,
    imports: _Imports = None,
) -> None:
    """Convert a trained model to a .tflite file, and run both to compare them."""
    settings = (to, calibration, examples, per_channel, min_runtime, allow_code)
    print(_apart(f"converting {model}", _converted, imports or [], model, output, *settings))


def _converted(imports: list[str], model: Path, output: Path, *settings: Any) -> str:
    import_tensorflow()
    from tfcompress.commands.convert import convert_file
    from tfcompress.models.user_code import import_modules

    import_modules(imports, settings[-1])
    return str(convert_file(model, output, *settings))


@app.command()
def cluster(
    model: Annotated[
        Path,
        typer.Argument(help="A float .tflite file of any origin, or any other model that `tfcompress convert` takes."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .tflite file to write.")],
    clusters: Annotated[
        int | None, typer.Option(help="The most distinct values of a kernel, 2 to 256; by default 64.")
    ] = None,
    bits: Annotated[int | None, typer.Option(help="The same in bits, 2 to 8: 4 bits are 16 values.")] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:PATH]|FOLDER|FILE",
            help="Unlabelled examples: a data set, a folder of pictures, texts (.txt, .csv, .tsv) or .npz.",
        ),
    ] = None,
    examples: Annotated[int, typer.Option(help="The largest number of calibration examples.")] = 256,
    packed: Annotated[bool, typer.Option("--packed/--stock", help="For the packed runtime, or for any TFLite.")] = True,
    activations: Annotated[
        str | None, typer.Option(help="The type that a packed file computes in, float32 (the default) or int8.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="POINTSpt|AMOUNT",
            help="Choose the bits of each layer, so that at most so many points of quality on --selection are lost.",
        ),
    ] = None,
    budget_kl: Annotated[
        float | None,
        typer.Option(help="The same for a mean KL divergence of the outputs, in nats, which needs no labels."),
    ] = None,
    selection: Annotated[
        str | None,
        typer.Option(metavar="NAME[:PATH]", help="Data that the budget is judged on; their validation split."),
    ] = None,
    workdir: Annotated[
        Path | None,
        typer.Option(help="Where the figures of a budget are kept, so that the same command resumes; OUTPUT.bits."),
    ] = None,
    allow_code: _AllowCode = False,
    imports: _Imports = None,
) -> None:
    """Cluster the weights of a trained model without training, and compare the file with the float one."""
    settings = {
        "clusters": clusters,
        "bits": bits,
        "calibration": calibration,
        "examples": examples,
        "packed": packed,
        "activations": activations,
        "allow_code": allow_code,
    }
    within = {"budget": budget, "budget_kl": budget_kl, "selection": selection, "workdir": workdir}
    print(_apart(f"clustering {model}", _clustered, imports or [], model, output, settings, within))


def _clustered(imports: list[str], model: Path, output: Path, settings: dict[str, Any], within: dict[str, Any]) -> str:
    import_tensorflow()
    from tfcompress.commands.cluster import cluster_file
    from tfcompress.models.user_code import import_modules
    from tfcompress.study.budget import cluster_within

    import_modules(imports, settings["allow_code"])
    if any(value is not None for value in within.values()):
        return str(cluster_within(model, output, **within, **settings))
    return str(cluster_file(model, output, **settings))


@app.command()
def pack(
    file: Annotated[Path, typer.Argument(help="A .tflite file with clustered weights, float32 or int8.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The packed .tflite file to write.")],
    activations: Annotated[
        str | None, typer.Option(help="The type to compute in, float32 or int8; by default that of the weights.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME[:PATH]", help="Compare both files on the first test examples of this data set."),
    ] = None,
    allow_larger: Annotated[
        bool, typer.Option("--allow-larger", help="Write the packed file even if it is larger than the file.")
    ] = False,
) -> None:
    """Pack a .tflite file, so that its clustered weights stay clustered at run time."""
    print(_apart(f"packing {file}", _packed, file, output, activations, data, allow_larger))


def _packed(*arguments: Any) -> str:
    from tfcompress.commands.pack import pack_file

    return str(pack_file(*arguments))


@app.command()
def unpack(
    file: Annotated[Path, typer.Argument(help="A packed .tflite file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The unpacked .tflite file to write.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME[:PATH]", help="Compare both files on the first test examples of this data set."),
    ] = None,
) -> None:
    """Unpack a packed .tflite file, so that any TFLite runs it."""
    print(_apart(f"unpacking {file}", _unpacked, file, output, data))


def _unpacked(*arguments: Any) -> str:
    from tfcompress.commands.pack import unpack_file

    return str(unpack_file(*arguments))


@app.command("sensitivity")
def _sensitivity(
    model: Annotated[Path, typer.Argument(help="A .h5 or .keras file, a SavedModel folder, or a stage of a run.")],
    data: Annotated[str, typer.Option(help="A data set that `tfcompress datasets` lists.")],
    workdir: Annotated[
        Path, typer.Option(help="The folder for finished treatments. The same command resumes an interrupted study.")
    ],
    path: Annotated[Path | None, typer.Option(help="The file or folder of the data set, if it needs one.")] = None,
    examples: Annotated[int, typer.Option(min=2, help="The number of validation examples.")] = 256,
    tolerance: Annotated[float, typer.Option(min=0, help="How much one layer may raise the loss.")] = 0.01,
    outputs: Annotated[
        str | None, typer.Option(help="What the model gives, logits or probabilities, if that cannot be found out.")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write all figures, and settings for a recipe, to this file.")
    ] = None,
    allow_code: _AllowCode = False,
    imports: _Imports = None,
) -> None:
    """Show what clustering or pruning each layer alone would cost."""
    import_tensorflow()
    from tfcompress.data.registry import named
    from tfcompress.models import saved
    from tfcompress.models.user_code import import_modules
    from tfcompress.runs.base import load_data_for
    from tfcompress.study.sensitivity import sensitivity
    from tfcompress.study.table import print_sensitivity

    import_modules(imports or [], allow_code)
    file = saved.file_of(model)
    loaded = saved.load(file, allow_code)
    found = load_data_for(loaded, named(data, path), file.parent)
    study = sensitivity(loaded, found, workdir, examples, tolerance, outputs)
    print_sensitivity(study)
    if json is not None:
        study.save(json)


@app.command()
def compare(
    files: Annotated[list[Path], typer.Argument(help=".tflite files; the others are compared with the first.")],
    data: Annotated[
        str | None, typer.Option(help="Compare outputs on the test split of this data set; see `tfcompress datasets`.")
    ] = None,
    path: Annotated[Path | None, typer.Option(help="The file or folder of the data set, if it needs one.")] = None,
    examples: Annotated[
        int | None, typer.Option(help="Use only this many examples, the first of the test split.")
    ] = None,
    threads: Annotated[str, typer.Option(help="Numbers of threads to measure with, such as 1,2.")] = "1",
    rounds: Annotated[int, typer.Option(help="Number of turns of each file in the latency measurement.")] = 50,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this file.")] = None,
    from_phone: Annotated[
        Path | None,
        typer.Option(help="The file that the demo app's benchmark shared, with these files measured on a phone."),
    ] = None,
) -> None:
    """Compare .tflite files: bytes, time, memory, outputs, quality."""
    from tfcompress.commands.compare import compare_files
    from tfcompress.measure import phone
    from tfcompress.report.comparison import print_comparison

    counts = _integers("--threads", threads)
    of_phone = None if from_phone is None else phone.load(from_phone)
    if data is None and (path is not None or examples is not None):
        raise UserError("--path and --examples belong to a data set; name it with --data")
    names = ", ".join(map(str, files))
    comparison = _apart(f"comparing {names}", compare_files, files, data, path, examples, counts, rounds, of_phone)
    if json is not None:
        comparison.save(json)  # Before printing, which fails if the reader of a pipe has gone: measuring took long.
    print_comparison(comparison)


@app.command()
def report(
    source: Annotated[Path, typer.Argument(help="A run's folder, or a file that `compare --json` wrote.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The page to write, by default beside the source.")
    ] = None,
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


def _apart(what: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Calls a function that runs somebody's file in a process of its own, which TensorFlow or LiteRT may abort."""
    advice = "TensorFlow or LiteRT cannot process it; make it again, or try another format"
    return call_apart(what, advice, function, *args, **kwargs)


def _integers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} is {text!r}; it takes whole numbers separated by commas, such as 1,2") from None


def import_tensorflow() -> None:
    """Imports TensorFlow without the output of its libraries when they are loaded, and without its warnings."""
    with native_libraries_quiet(), without_keras3():
        import tensorflow as tf
    tf.get_logger().setLevel("ERROR")
    logging.set_verbosity(logging.ERROR)
