import pytest
from pydantic import TypeAdapter, ValidationError

from tfcompress.report.run_description import CompressCall, RecipeRun, RunDescription
from tfcompress.runs.recipe import Recipe, shipped

CALL = {
    "data": {"name": "mine"},
    "model": {"name": "vit", "sha256": "0" * 64},
    "techniques": [{"prune": {"sparsity": 0.5}}],
    "objective": ["None", "None", "accuracy"],
    "export": {"formats": ["float32"]},
    "seed": 3,
}


@pytest.mark.parametrize("name", shipped())
def test_a_recipes_run_keeps_every_setting(name):
    settings = Recipe.load(name).model_dump(mode="json")
    run = RecipeRun.model_validate(settings)
    assert run.settings() == settings
    again = TypeAdapter(RunDescription).validate_json(run.model_dump_json())
    assert again == run
    assert (again.kind, again.model_name) == ("recipe", settings["model"]["preset"])
    assert again.command.startswith("tfcompress run ")


def test_a_call_of_compress_has_its_models_name_and_no_command():
    run = TypeAdapter(RunDescription).validate_python({"kind": "compress", **CALL})
    assert isinstance(run, CompressCall)
    assert run.settings() == CALL | {"outputs": None, "pixel_range": None}  # unless the user sets them
    assert (run.model_name, run.data.name, run.seed, run.command) == ("vit", "mine", 3, "")


def test_a_description_without_a_tag_or_of_another_kind_is_refused():
    for description in (CALL, {"kind": "recipe", **CALL}, {"kind": "study", **CALL}):
        with pytest.raises(ValidationError):
            TypeAdapter(RunDescription).validate_python(description)
