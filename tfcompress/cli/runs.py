"""The commands that run recipes, and what goes with them: what a recipe can name, reports, sensitivity."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from tfcompress.cli.program import AllowCode, Imports, import_tensorflow
from tfcompress.errors import UserError
from tfcompress.files import check_outputs

Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting of the recipe, such as techniques[1].cluster.clusters=32.",
    ),
]
Rehearsal = Annotated[bool, typer.Option("--rehearsal/--no-rehearsal", help="Try the whole run on two examples first.")]
Engine = Annotated[
    str,
    typer.Option(
        metavar="local|ray[://HOST:PORT]", help="Where runs are made: in this process, or by Ray, here or on a cluster."
    ),
]


def recipes() -> None:
    """List the recipes that come with tfcompress."""
    import_tensorflow()
    from tfcompress.runs.recipe import shipped

    for name, what in shipped().items():
        print(f"{name:20} {what}")


def datasets() -> None:
    """List the data sets that a recipe can name."""
    import_tensorflow()
    from tfcompress.data.registry import NAMES

    for name, what in NAMES.items():
        print(f"{name:20} {what}")


def presets() -> None:
    """List the models that a recipe can name."""
    import_tensorflow()
    from tfcompress.models.presets import PRESETS

    for name, config in PRESETS.items():
        print(f"{name:20} {config}")


def run(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    workdir: Annotated[
        Path, typer.Option(help="The folder for all files. The same command resumes an interrupted run.")
    ],
    model: Annotated[
        Path | None,
        typer.Option(help="A trained model to compress instead: a .h5 or .keras file, a SavedModel or a run's stage."),
    ] = None,
    changes: Changes = None,
    allow_code: AllowCode = False,
    imports: Imports = None,
    rehearsal: Rehearsal = True,
) -> None:
    """Run a recipe: train, compress, export, verify, measure, report."""
    if not (workdir / "report.json").is_file():  # A finished run is only read.
        check_outputs([workdir / "report.json"])
    import_tensorflow()
    from tfcompress.models.user_code import import_modules
    from tfcompress.report.table import print_report
    from tfcompress.runs import pipeline
    from tfcompress.runs.recipe import Recipe

    import_modules(imports or [], allow_code)
    print_report(pipeline.run(Recipe.load(recipe, changes or []), workdir, model, allow_code, rehearsal))
    print(f"{workdir / 'report.html'}  {workdir / 'report.json'}  {workdir / 'model.tflite'}")


def sweep(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe's name, or a YAML file.")],
    grid: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUES", help="A setting and its values, such as techniques[1].cluster.clusters=16,32,64."
        ),
    ],
    workdir: Annotated[
        Path, typer.Option(help="The folder for all files. The same command resumes an interrupted sweep.")
    ],
    changes: Changes = None,
    rehearsal: Rehearsal = True,
    engine: Engine = "local",
) -> None:
    """Run a recipe with each combination of some settings."""
    check_outputs([workdir / "figures.json"])
    import_tensorflow()
    from tfcompress.study.sweep import sweep as sweep_of
    from tfcompress.study.table import print_sweep

    print_sweep(sweep_of(recipe, grid, workdir, changes or [], rehearsal, engine))
    print(f"{workdir / 'figures.json'}  {workdir / 'figures.svg'}")


def search(
    recipe: Annotated[str, typer.Argument(help="A YAML file with `search` in the place of some values.")],
    workdir: Annotated[
        Path, typer.Option(help="The folder for all files. The same command resumes an interrupted search.")
    ],
    budget: Annotated[
        str | None, typer.Option(help="What may be lost of the base model's quality, such as 0.3pt.")
    ] = None,
    minimise: Annotated[
        str | None, typer.Option(help="What is to be least within the budget: bytes, download, latency or memory.")
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="Without a budget, several goals, such as bytes,quality: gives a front.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="How many trials there are, 30 by default.")] = None,
    time: Annotated[str | None, typer.Option(help="After how long no trial begins, such as 90s, 15m or 2h.")] = None,
    changes: Changes = None,
    rehearsal: Rehearsal = True,
    engine: Engine = "local",
) -> None:
    """Find the settings that cost least within a budget."""
    check_outputs([workdir / "figures.json"])
    import_tensorflow()
    from tfcompress.study.search import search as search_of
    from tfcompress.study.table import print_search

    if (minimise is None) == (objective is None) or (minimise is None) != (budget is None):
        raise UserError("give --budget and --minimise, or --objective alone, such as --objective bytes,quality")
    goals = [minimise] if minimise is not None else str(objective).split(",")
    seconds = None if time is None else _seconds(time)
    print_search(search_of(recipe, workdir, goals, budget, trials, seconds, changes or [], rehearsal, engine))
    winner = f"{workdir / 'winner.yaml'}  " if minimise is not None else ""
    print(f"{winner}{workdir / 'report.html'}  {workdir / 'figures.json'}")


def _seconds(time: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", time.strip())
    if found is None:
        raise UserError(f"--time is {time!r}; it takes a number of seconds, minutes or hours, such as 90s, 15m or 2h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def sensitivity(
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
    allow_code: AllowCode = False,
    imports: Imports = None,
) -> None:
    """Show what clustering or pruning each layer alone would cost."""
    check_outputs([json, workdir / "sensitivity.json"], [model, path])
    import_tensorflow()
    from tfcompress.data.registry import named
    from tfcompress.models import saved
    from tfcompress.models.user_code import import_modules
    from tfcompress.runs.base import load_data_for
    from tfcompress.study.sensitivity import sensitivity as study_of
    from tfcompress.study.table import print_sensitivity

    import_modules(imports or [], allow_code)
    file = saved.file_of(model)
    loaded = saved.load(file, allow_code)
    found = load_data_for(loaded, named(data, path), file.parent)
    study = study_of(loaded, found, workdir, examples, tolerance, outputs)
    print_sensitivity(study)
    if json is not None:
        study.save(json)


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
