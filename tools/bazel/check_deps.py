"""Fails where what a BUILD file says that Python files depend on is not what they import.

python tools/bazel/check_deps.py          # says what is wrong
python tools/bazel/check_deps.py --fix    # writes the right `deps` into the BUILD files
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDERS = ("runtime/tfcompress_runtime", "tests", "tfcompress", "tools")
HOMES = {"tests": ROOT, "tfcompress": ROOT, "tfcompress_runtime": ROOT / "runtime", "tools": ROOT}
"""The folder that has each package that is imported."""

LAZY = {"tfcompress": "//tfcompress", "tfcompress_runtime": "//runtime/tfcompress_runtime"}
"""Whose names are there on first use."""

RULES = ("py_binary", "py_library", "pytest_test")


@dataclass
class Target:
    """One of a BUILD file's; labels are full: `//tfcompress:training`."""

    label: str
    file: Path
    sources: list[Path]
    deps: set[str]
    given: set[str]
    """What its rule adds to `deps`."""


def targets() -> Iterator[Target]:
    """Reads all BUILD files, which are Python's syntax."""
    for file in sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("BUILD")):
        package = "//" + str(file.parent.relative_to(ROOT))
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RULES):
                continue
            values = {word.arg: word.value for word in node.keywords}
            name = ast.literal_eval(values["name"])
            deps = ast.literal_eval(values["deps"]) if "deps" in values else []
            given, sources = set(), _files(values["srcs"], file.parent) if "srcs" in values else []
            if node.func.id == "pytest_test":
                given, sources = {_full("", package), "@pypi//pytest"}, [file.parent / f"{name}.py"]
            yield Target(_full(":" + name, package), file, sources, {_full(label, package) for label in deps}, given)


def _full(label: str, package: str) -> str:
    label = label if label.startswith(("//", "@")) else package + label
    folder, _, name = label.partition(":")
    return folder if folder.endswith("/" + name) else label


def _files(value: ast.expr, folder: Path) -> list[Path]:
    if not isinstance(value, ast.Call):
        return [folder / name for name in ast.literal_eval(value)]
    options = {str(word.arg): ast.literal_eval(word.value) for word in value.keywords}
    out = {file for pattern in options.get("exclude", ()) for file in folder.glob(pattern)}
    return sorted({file for pattern in ast.literal_eval(value.args[0]) for file in folder.glob(pattern)} - out)


class Imports:
    """Who owns what a file imports."""

    def __init__(self, found: list[Target]) -> None:
        self.owners = {file: target.label for target in found for file in target.sources}
        self.locked = {re.split("==|\\[", line)[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
        self.distributions = packages_distributions()

    def labels(self, file: Path) -> set[str]:
        """Returns the labels of all that a file imports, at its head or in a function, and of the package around it."""
        tree = ast.parse(file.read_text())
        owners = {self._owner(*name) for node in ast.walk(tree) for name in _names(node, file)}
        around = (self.owners.get(folder / "__init__.py") for folder in file.parents)
        owners.add(next((owner for owner in around if owner != self.owners[file]), None))
        return {owner for owner in owners if owner}

    def _owner(self, module: str, name: str) -> str | None:
        top = module.partition(".")[0]
        if top not in HOMES:
            names = (re.sub("[-_.]+", "-", found.lower()) for found in self.distributions.get(top, ()))
            return next(("@pypi//" + name.replace("-", "_") for name in names if name in self.locked), None)
        path = HOMES[top] / module.replace(".", "/")
        for candidate in (path / f"{name}.py", path / (name or "-") / "__init__.py", path.with_suffix(".py")):
            if candidate in self.owners:
                return self.owners[candidate]
        # The packages themselves are lazy: their names are all of them.
        return LAZY.get(module) or self.owners[path / "__init__.py"]


def _names(node: ast.AST, file: Path) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, "") for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = ".".join(file.parents[node.level - 1].relative_to(ROOT).parts) if node.level else ""
        module = ".".join(part for part in (above, node.module) if part)
        yield from ((module, alias.name) for alias in node.names)


def _fix(target: Target, deps: set[str]) -> None:
    """Writes a target's `deps` into its BUILD file, as buildifier wants them."""
    package, name = target.label.partition(":")[0], target.label.rpartition(":")[2].rpartition("/")[2]
    short = [label.removeprefix(package) if label.startswith(package + ":") else label for label in deps]
    labels = sorted(short, key=lambda label: (label[0] == "@", label[0] != ":", label.replace(":", "!")))
    lines = [f'"{label}"' for label in labels]
    written = (
        f"[{lines[0]}]" if len(lines) == 1 else "".join(["[\n", *(f"        {line},\n" for line in lines), "    ]"])
    )
    text = target.file.read_text()
    begin = re.search(rf'^\w+\(\n    name = "{re.escape(name)}",\n', text, re.M)
    assert begin, target.label
    end = text.index("\n)", begin.start()) + 1
    rule = re.sub(r"    deps = \[.*?\],\n", "", text[begin.start() : end], flags=re.S)
    rule += f"    deps = {written},\n" if lines else ""
    target.file.write_text(text[: begin.start()] + rule + text[end:])


def main(fix: bool) -> str | None:
    """Returns what is wrong, or mends what can be mended of it."""
    found = list(targets())
    imports = Imports(found)
    labels = {target.label for target in found}
    tests = {target.label for target in found if target.given}
    wrong = []
    for target in found:
        lazy = target.label in [f"{package}:errors" for package in LAZY.values()]  # has __init__.py, too
        files = [file for file in target.sources if not (lazy and file.name == "__init__.py")]
        imported = {label for file in files for label in imports.labels(file)} - {target.label} - target.given
        shared = [f"{target.label} imports {label}; share code through a helper module" for label in imported & tests]
        wrong += sorted(shared)
        missing = sorted(label for label in target.deps - labels if label[0] == "/")
        wrong += [f"{target.label} depends on {label}, which does not exist" for label in missing]
        if fix and files and imported != target.deps:
            _fix(target, imported)
        elif files and imported != target.deps:
            wrong += [f"{target.label} lacks {label}" for label in sorted(imported - target.deps)]
            wrong += [f"{target.label} does not import {label}" for label in sorted(target.deps - imported)]
    python = {file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")} - set(HERE.iterdir())
    wrong += [f"no BUILD file has {file.relative_to(ROOT)}" for file in sorted(python - set(imports.owners))]
    return "\n".join(wrong) or None


if __name__ == "__main__":
    sys.exit(main(fix=sys.argv[1:] == ["--fix"]))
