"""The generated pages of the documentation site; `make docs` builds the whole site."""

import re
from pathlib import Path

import pytest

import tfcompress
from tfcompress.runs.recipe import Recipe, Step, shipped
from tools.site_pages import of_root, recipe_reference

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def reference() -> str:
    return recipe_reference()


def test_the_reference_has_every_key_of_a_recipe(reference):
    parts = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", reference, re.M | re.S))
    models = {kind.__name__: kind for kind in (Recipe, Step)}
    for annotated in (Recipe, Step):
        for field in annotated.model_fields.values():
            models |= {kind.__name__: kind for kind in _models(field.annotation)}
    assert {"Data", "Model", "Export", "Training", "Halve", "Quantize"} <= models.keys()
    for name, kind in models.items():
        assert re.findall(r"^\| `(\w+)` ", parts[name], re.M) == list(kind.model_fields)


def test_the_reference_has_limits_defaults_and_meanings(reference):
    assert "| `clusters` | whole number from 3 to 256 | `64` | distinct values per kernel;" in reference
    assert (
        "| `types` | mapping to [LayerPruning](#layerpruning) or `false` | none | settings by layer class |"
        in reference
    )
    assert "| `pixel_range` | list of 2: number, number | none |" in reference
    assert all(f"### {name}\n" in reference for name in shipped())


def test_the_api_page_has_every_public_name():
    named = re.findall(r"^::: tfcompress\.(\w+)$", (DOCS / "api.md").read_text(), re.M)
    assert sorted(named) == sorted(tfcompress.__all__)


def test_links_of_the_root_pages_are_rewritten_for_the_site():
    assert not re.findall(r"\]\((?:docs/|README|CONTRIBUTING|CHANGELOG)", of_root("README.md"))
    assert "](contributing.md)" in of_root("README.md")


def _models(annotation) -> list[type]:
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [kind for inner in getattr(annotation, "__args__", ()) for kind in _models(inner)]
