"""Trains the base model of a recipe: the first stage of `tfcompress run`, which continues from it in the same folder.

python tools/train.py --recipe=vit_digits --workdir=out/digits
"""

from __future__ import annotations

from pathlib import Path

from absl import app, flags

from tfcompress.cli.program import as_user_sees, import_tensorflow

_RECIPE = flags.DEFINE_string("recipe", None, "A shipped recipe's name, or a YAML file.", required=True)
_WORKDIR = flags.DEFINE_string("workdir", None, "The folder for all files.", required=True)
_SET = flags.DEFINE_multi_string("set", [], "Change a setting of the recipe, such as training.epochs=3.")


def main(_: list[str]) -> None:
    """Trains and prints the model's path."""
    with as_user_sees():
        import_tensorflow()
        from tfcompress.runs import pipeline
        from tfcompress.runs.recipe import Recipe

        print(pipeline.train(Recipe.load(_RECIPE.value, _SET.value), Path(_WORKDIR.value)))


if __name__ == "__main__":
    app.run(main)
