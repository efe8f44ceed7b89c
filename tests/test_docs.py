"""Runs every block of code in the README and the docs, unless a mark above the block says why it cannot run.

The blocks of a page run in order, in a scratch folder with the files that the page calls the reader's own
(tests/pages/material.py). Python blocks share their names. `RUNS` and `CHANGES` shorten the trainings.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from ruamel.yaml import YAML

from tests.native import has_runtime
from tests.pages import material
from tests.pages.blocks import Block, blocks, commands
from tests.pages.server import shims
from tfcompress.cli import app
from tfcompress.runs.recipe import Recipe

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
TEXTS = {page: path.read_text(encoding="utf-8") for page, path in PAGES.items()}

RUN = ("python", "console", "bash", "sh")
CHECKED = ("yaml", "json")
NO_CODE = ("text", "diff")

_FIT = "fit: {epochs: 1, batch_size: 1000}"
_SMALL_VIT = "--set 'training={epochs: 1, batch_size: 32, learning_rate: 1.0e-3}' --set model.depth=1"
_SMALL_BERT = (
    "--set 'training={epochs: 1, batch_size: 512, learning_rate: 1.0e-3}' "
    "--set model.depth=1 --set model.vocabulary=500 --set model.sequence_length=16"
)
RUNS = {
    "vit_digits": f"{_SMALL_VIT} --set 'techniques=[{{prune: {{{_FIT}}}}}, {{cluster: {{{_FIT}}}}}]'",
    "pictures.yaml": f"{_SMALL_VIT} --set model.preset=vit_digits --set 'techniques=[{{cluster: {{{_FIT}}}}}]'",
    "reviews.yaml": f"{_SMALL_BERT} --set 'techniques=[{{halve: {{examples: 16}}}}, {{distil: {{{_FIT}}}}}]'",
    "bert_half_trec": f"{_SMALL_BERT} --set 'techniques=[{{halve: {{examples: 32}}}}]'",
}
"""Inserted after the name of the recipe in `tfcompress run`; options that the page sets come later and win."""

CHANGES = {
    "README.md": (("epochs=3", "epochs=1"),),
    "docs/own_vit.md": (
        ("depth=6", "depth=1"),
        ("width=96", "width=48"),
        ("patch=8", "patch=16"),
        ("epochs=30", "epochs=1"),
        ("epochs=3,", "epochs=1,"),
    ),
    "docs/own_bert.md": (
        ("epochs=3", "epochs=1"),
        ("epochs=2", "epochs=1"),
        ('"bert_tiny_en_uncased"', '"./bert_tiny_en_uncased"'),
    ),
}
"""Replacements in the blocks of a page: (old, new)."""


def pages(*languages: str) -> list[str]:
    return [page for page, text in TEXTS.items() if any(b.language in languages and not b.reason for b in blocks(text))]


@pytest.mark.parametrize("page", TEXTS)
def test_every_block_is_run_or_says_why_not(page):
    for block in blocks(TEXTS[page]):
        where = f"{page}:{block.line}"
        assert block.language, f"{where}: the block names no language"
        assert block.language in RUN + CHECKED + NO_CODE or block.reason, (
            f"{where}: nothing runs {block.language}; put <!-- no-run: REASON --> above it"
        )


@pytest.mark.parametrize("page", pages(*CHECKED))
def test_settings_are_those_of_a_recipe(page):
    for block in blocks(TEXTS[page]):
        if block.language in CHECKED:
            Recipe.checked(_as_recipe(block), f"{page}:{block.line}")


@pytest.mark.parametrize("page", TEXTS)
def test_commands_in_the_text_exist(page):
    verbs = typer.main.get_command(app).commands
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for span in re.findall(r"(?<!`)`([^`\n]+)`", TEXTS[page]):
        words = span.split()
        if words[0] == "tfcompress" and len(words) > 1 and words[1].isalpha() and words[1].islower():
            assert words[1] in verbs, f"{page}: there is no {span}"
            options = {
                name for parameter in verbs[words[1]].params for name in parameter.opts + parameter.secondary_opts
            }
            unknown = {word.partition("=")[0] for word in words if re.match("--[a-z]", word)} - options
            assert not unknown, f"{page}: {span} has unknown options"
        if words[0] == "make" and len(words) > 1:
            assert set(words[1:]) <= set(targets), f"{page}: there is no {span}"
        if words[0] == "python" and span.startswith(("python tools/", "python benchmarks/")):
            assert (ROOT / words[1]).is_file(), f"{page}: there is no {words[1]}"


@pytest.fixture(scope="module")
def terminal(tmp_path_factory) -> Iterator[dict[str, str]]:
    """Environment variables of a terminal in which `tfcompress` starts without delay."""
    folder = tmp_path_factory.mktemp("terminal")
    path = str(folder / "socket")
    environment = {**os.environ, "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.pages.server", path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    ) as server:
        assert server.stdout
        assert server.stdout.readline() == "ready\n"
        shims(folder, path)
        yield environment


@pytest.fixture(scope="module")
def demo(terminal, tmp_path_factory) -> Path:
    """The output folder of `make demo`, with very short trainings and without the quantize stage."""
    workdir = tmp_path_factory.mktemp("demo") / "demo"
    script = f"tfcompress run vit_digits {RUNS['vit_digits']} --workdir {workdir}"
    subprocess.run(["bash", "-c", script], env=terminal, check=True, capture_output=True)
    return workdir


@pytest.mark.slow
@pytest.mark.parametrize("page", pages(*RUN))
def test_the_code_runs(page, terminal, demo, tmp_path, monkeypatch):
    text = TEXTS[page]
    if "packed.tflite" in text and not has_runtime():
        pytest.skip("no packed runtime")
    monkeypatch.chdir(tmp_path)
    material.prepare(tmp_path, text, demo)
    for name in ("tools", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    _write_recipes(text)
    module = types.ModuleType("page_of_the_docs")  # pydantic looks up the module of a class by its name
    monkeypatch.setitem(sys.modules, module.__name__, module)
    if page == "README.md":
        vars(module).update(material.picture_sets(tmp_path / "pictures"))
    for block in blocks(text):
        if block.language not in RUN or block.reason:
            continue
        code = _changed(page, block.text)
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + code, PAGES[page], "exec"), vars(module))
            continue
        for command in commands(code):
            _run(command.script, command.error, terminal, f"{page}:{block.line}")


def test_changes_change_something():
    """If a rewritten page no longer contains the text to replace, its training would take hours."""
    for page, changes in CHANGES.items():
        for old, _ in changes:
            assert any(old in block.text for block in blocks(TEXTS[page])), f"{page}: {old}"


def test_a_block_that_nothing_runs_is_found():
    marked = "<!-- no-run: a reason -->\n\n```console\n$ a \\\n  b\nerror: c\n$ d\ne\n```\n"
    one, two, three = blocks(f"```python\n1\n```\n{marked}  ```\n  x\n  ```\n")
    assert (one.line, one.language, one.text, one.reason) == (2, "python", "1\n", None)
    assert (two.line, two.reason) == (7, "a reason")
    assert [(c.script, c.error) for c in commands(two.text)] == [("a \\\n  b\n", "error: c"), ("d\n", None)]
    assert (three.language, three.text, three.reason) == ("", "x\n", None)


def _as_recipe(block: Block) -> object:
    """Completes a part of a recipe, which is a list of techniques or some keys."""
    content = (
        YAML(typ="safe", pure=True).load(block.text) if block.language == "yaml" else json.loads(f"{{{block.text}}}")
    )
    part = {"techniques": content} if isinstance(content, list) else content
    return {"data": {"name": "digits"}, "model": {"preset": "vit_digits"}, **part}


def _write_recipes(text: str) -> None:
    """Writes each complete recipe of a page to the file that the page's `tfcompress run FILE.yaml` names."""
    files = list(dict.fromkeys(re.findall(r"tfcompress run (\w+\.yaml)", text)))
    whole = [
        b.text
        for b in blocks(text)
        if b.language == "yaml" and re.search(r"^data:.*\nmodel:.*\ntraining:", b.text, re.M)
    ]
    for file, content in zip(files, whole, strict=False):
        Path(file).write_text(content)


def _changed(page: str, code: str) -> str:
    for old, new in CHANGES.get(page, ()):
        code = code.replace(old, new)
    for recipe in re.findall(r"tfcompress run (\S+)", code):
        assert recipe in RUNS, (
            f"{page}: `tfcompress run {recipe}` would train for long; add it to RUNS, or mark the block"
        )
    return re.sub(r"tfcompress run (\S+)", lambda match: f"{match[0]} {RUNS[match[1]]}", code)


def _run(script: str, error: str | None, environment: dict[str, str], where: str) -> None:
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    printed = f"{where}: {script}\n{ended.stdout}{ended.stderr}"
    print(printed)
    assert ended.returncode == (0 if error is None else 2), printed
    assert error is None or " ".join(ended.stderr.splitlines()[-1].split()) == error, printed
