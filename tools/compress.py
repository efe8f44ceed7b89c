"""Compresses a trained tf_keras model with the data, techniques and exports of a recipe: `tfcompress run --model`.

python tools/compress.py --model=out/digits/stages/00-base --recipe=vit_digits --workdir=out/compressed
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from tfcompress.cli.program import as_user_sees
from tfcompress.cli.runs import run

_MODEL = flags.DEFINE_string("model", None, "A .h5 or .keras file, a SavedModel or a run's stage.", required=True)
_RECIPE = flags.DEFINE_string("recipe", None, "A shipped recipe's name, or a YAML file.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "The folder for all files.", required=True)
_SET = flags.DEFINE_multi_string("set", [], "Change a setting of the recipe, such as techniques[0].prune.sparsity=0.7.")
_ALLOW_CODE = flags.DEFINE_bool("allow_code", False, "Also open model files that can run code.")
_IMPORT = flags.DEFINE_multi_string("import", [], "Import a module with the model's own layers first.")


def main(_: list[str]) -> None:
    """Compresses and prints the report."""
    with as_user_sees():
        run(_RECIPE.value, Path(_WORKDIR.value), Path(_MODEL.value), _SET.value, _ALLOW_CODE.value, _IMPORT.value)


if __name__ == "__main__":
    app.run(main)
