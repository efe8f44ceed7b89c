"""The command `tfcompress`."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from tfcompress.cli import files, runs
from tfcompress.cli.program import as_user_sees

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


def main() -> None:
    """Runs the command line."""
    with as_user_sees():
        app()


@app.callback(invoke_without_command=True)
def _version(
    show: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    """Makes a Keras Vision Transformer or BERT small and fast for phones, with proof."""
    if show:
        print(version("tfcompress"))
        raise typer.Exit


_COMMANDS = (
    *(runs.recipes, runs.datasets, runs.presets, runs.run, runs.sweep, runs.search, runs.sensitivity, runs.report),
    *(files.convert, files.cluster, files.pack, files.unpack, files.compare, files.evaluate, files.inspect),
)
for _command in _COMMANDS:
    app.command()(_command)
