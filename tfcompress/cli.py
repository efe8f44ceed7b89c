"""The command `tfcompress`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from absl import logging
from rich.console import Console

from tfcompress.errors import UserError
from tfcompress.quiet import native_libraries_quiet

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def main() -> None:
    """Runs the command line."""
    with as_user_sees():
        app()


@contextmanager
def as_user_sees() -> Iterator[None]:
    """Runs a program for a user: a mistake of his is one line and status 2, and the libraries' chatter is off."""
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
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
    from tfcompress.recipe import shipped

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
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: techniques[1].cluster.clusters=32."),
    ] = None,
) -> None:
    """Run a recipe: train, compress, export, verify, measure, report."""
    import_tensorflow()
    from tfcompress import pipeline
    from tfcompress.recipe import Recipe
    from tfcompress.report.table import print_report

    report = pipeline.run(Recipe.load(recipe, changes or []), workdir)
    print_report(report)
    print(f"{workdir / 'report.json'}  {workdir / 'model.tflite'}")


def import_tensorflow() -> None:
    """Imports TensorFlow without what its libraries print when they are loaded, and without its warnings."""
    with native_libraries_quiet():
        import tensorflow as tf
    tf.get_logger().setLevel("ERROR")
    logging.set_verbosity(logging.ERROR)
