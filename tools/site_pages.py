"""Generates pages of the documentation site while it is built: those of the root folder and the recipe reference.

MkDocs loads this file as a hook (`mkdocs.yml`). `python tools/site_pages.py` prints only the recipe reference.
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

A recipe is one YAML file that names the data, the model, its training and the techniques. This page was generated
from the schema of `tfcompress.Recipe` when the site was built. A recipe with an unknown key is refused, and the message
lists the keys that exist. `--set path=value` changes a key on the command line, for example
`--set techniques[1].cluster.clusters=32`. A technique may be named without settings: `- quantize:`.
[Techniques](techniques.md) says what each of them is for.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages to those in the docs folder."""
    for name, page in _OF_ROOT.items():
        files.append(File.generated(config, page, content=of_root(name)))
    files.append(File.generated(config, "recipe.md", content=recipe_reference()))
    return files


def of_root(name: str) -> str:
    """Returns a page of the root folder with its links rewritten for the site."""
    text = (_ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    for other, page in _OF_ROOT.items():
        text = text.replace(f"]({other}", f"]({page}")
    return text


def recipe_reference() -> str:
    """Returns the Markdown of the recipe reference: one table of keys per part of a recipe, and the shipped recipes."""
    from tfcompress.runs.recipe import Recipe, shipped

    schema = Recipe.model_json_schema()
    parts = schema.pop("$defs") | {schema["title"]: schema}
    pages = [_INTRODUCTION, *(_part(title, parts[title]) for title in _in_order(schema["title"], parts))]
    pages.append("## Shipped recipes\n\n`tfcompress recipes` lists the recipes that come with the package.\n")
    for name in shipped():
        text = resources.files("tfcompress.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
        pages.append(f"### {name}\n\n```yaml\n{text}```\n")
    return "\n".join(pages)


def _in_order(title: str, parts: dict[str, Any]) -> list[str]:
    """Returns the names of the parts in reading order: each part follows the one that mentions it first."""
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
    """Returns in words what a value may be."""
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
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])}: {', '.join(map(_takes, schema['prefixItems']))}"
    if kind == "array":
        return f"list of {_takes(schema['items'])}" + (f", {limits}" if limits else "")
    if kind == "object":
        return f"mapping to {_takes(schema['additionalProperties'])}"
    words = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}
    word = "path" if schema.get("format") == "path" else words[str(kind)]
    return f"{word} {limits}".strip()


if __name__ == "__main__":
    print(recipe_reference())
