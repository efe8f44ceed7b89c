"""Pages of the documentation site that are made when it is built: those of the root folder, and the recipe reference.

A hook of MkDocs (`mkdocs.yml`); `python tools/site_pages.py` prints the recipe reference alone.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_ROOT = Path(__file__).parents[1]
_OF_ROOT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}

_LIMITS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {}",
}

_INTRODUCTION = """# Recipe reference

Made from the schema of `tfcompress.Recipe` when this site was built. A recipe is one YAML file; an unknown key is
refused, with the keys that there are. `--set path=value` changes one: `--set techniques[1].cluster.clusters=32`. A
technique may stand without settings: `- quantize:`. What each is for: [techniques](techniques.md).
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made to those in the docs folder."""
    for name, page in _OF_ROOT.items():
        files.append(File.generated(config, page, content=of_root(name)))
    files.append(File.generated(config, "recipe.md", content=recipe_reference()))
    return files


def of_root(name: str) -> str:
    """Returns a page of the root folder with its links as the site has them."""
    text = (_ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    for other, page in _OF_ROOT.items():
        text = text.replace(f"]({other}", f"]({page}")
    return text


def recipe_reference() -> str:
    """Returns a table of keys for each part of a recipe, and the recipes that are shipped."""
    from tfcompress.runs.recipe import Recipe, shipped

    schema = Recipe.model_json_schema()
    parts = schema.pop("$defs") | {schema["title"]: schema}
    pages = [_INTRODUCTION, *(_part(title, parts[title]) for title in _in_order(schema["title"], parts))]
    pages.append("## Shipped recipes\n\n`tfcompress recipes` lists them.\n")
    for name in shipped():
        text = resources.files("tfcompress.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
        pages.append(f"### {name}\n\n```yaml\n{text}```\n")
    return "\n".join(pages)


def _in_order(title: str, parts: dict[str, Any]) -> list[str]:
    """Returns the parts as a reader meets them, those that are mentioned behind what mentions them."""
    found = [title]
    for one in found:
        found += [name for name in _mentioned(parts[one]) if name not in found]
    return found


def _mentioned(schema: Any) -> list[str]:
    return list(dict.fromkeys(re.findall(r'"#/\$defs/(\w+)"', json.dumps(schema))))


def _part(name: str, schema: dict[str, Any]) -> str:
    text = f"## {name}\n\n{schema.get('description', '')}\n"
    properties = schema.get("properties", {})
    if not properties:
        return text
    rows = [_row(key, value, key in schema.get("required", ())) for key, value in properties.items()]
    return text + "\n| key | takes | default | meaning |\n|---|---|---|---|\n" + "".join(rows)


def _row(key: str, schema: dict[str, Any], required: bool) -> str:
    default = "required" if required else _value(schema.get("default"))
    takes = _takes(schema).replace("|", "\\|")
    return f"| `{key}` | {takes} | {default} | {schema.get('description', '').replace('|', '&#124;')} |\n"


def _value(value: Any) -> str:
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, dict):
        return "its own defaults"
    return f"`{json.dumps(value)}`".replace('"', "")


def _takes(schema: dict[str, Any]) -> str:
    """Says in words what a value may be."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "allOf" in schema:
        return _takes(schema["allOf"][0])
    if "anyOf" in schema:
        return " or ".join(_takes(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    limits = " ".join(text.format(schema[key]) for key, text in _LIMITS.items() if key in schema)
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_takes(schema['items'])}" + (f", {limits}" if limits else "")
    if kind == "object":
        return f"mapping to {_takes(schema['additionalProperties'])}"
    words = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    word = "path" if schema.get("format") == "path" else words[str(kind)]
    return f"{word} {limits}".strip()


if __name__ == "__main__":
    print(recipe_reference())
