"""What the runs of a study have in common: stages, which are made once and copied, and machines."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tfcompress.errors import UserError
from tfcompress.runs.recipe import Recipe
from tfcompress.runs.stages import folder_name


def check_not_spread(recipes: Iterable[Recipe], source: str) -> None:
    """Raises a `UserError` that names `source` if one of the runs of a study is to be spread itself."""
    for recipe in recipes:
        if recipe.strategy is not None:
            raise UserError(
                f"{source}: strategy {recipe.strategy} spreads a single run, but here are many, which an engine makes "
                "on different machines; leave strategy out"
            )


def stages_of(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yields the folder of each stage of a run below `stages`, and all that decides what is in it."""
    whole = recipe.model_dump(mode="json")
    before = {key: value for key, value in whole.items() if key not in ("techniques", "export")}
    for number, name in enumerate(("base", *(step.technique.name for step in recipe.techniques))):
        made_by = before | {"techniques": whole["techniques"][:number]}
        yield folder_name(name, number), TypeAdapter(dict[str, Any]).dump_json(made_by).decode()


def finished_stages(recipe: Recipe, workdir: Path) -> dict[str, Path]:
    """Returns the folders of the stages that a run has finished, by what decided what is in them."""
    stages = {decided_by: workdir / "stages" / folder for folder, decided_by in stages_of(recipe)}
    return {decided_by: folder for decided_by, folder in stages.items() if (folder / "stage.json").is_file()}


def copy_stages(recipe: Recipe, workdir: Path, made: Mapping[str, Path]) -> None:
    """Gives a run the stages, from its first on, that an earlier run made in the same way.

    Args:
        recipe: of the run.
        workdir: of the run, which may have some of the stages already.
        made: what `finished_stages` returns of earlier runs.
    """
    for folder, decided_by in stages_of(recipe):
        target = workdir / "stages" / folder
        if decided_by not in made:
            return
        if not target.is_dir():
            partly = target.with_name(f"{folder}.part")
            shutil.rmtree(partly, ignore_errors=True)
            shutil.copytree(made[decided_by], partly)
            partly.rename(target)
