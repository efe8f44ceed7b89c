"""Tries 40 kinds of user models with `convert`, `pack`, `prune`, `cluster` and `quantize`, and prints a table.

Each kind runs in a process of its own, so that an abort is a row of the table and not its end. The results are kept in
one JSON file per kind; a kind that has one is not run again.

python -m benchmarks.limits --folder=out/limits
python -m benchmarks.limits --folder=out/limits --before=benchmarks/results/limits_before.json --table=docs/limits.md
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags

from benchmarks.rows import kept, show
from tfcompress.files import read_json, write_json
from tfcompress.measure import environment

_FOLDER = flags.DEFINE_string("folder", "out/limits", "Where the results are kept, one file per kind.")
_ONLY = flags.DEFINE_list("only", [], "Names of kinds; by default all of them.")
_QUICK = flags.DEFINE_boolean("quick", False, "Only convert and pack.")
_BEFORE = flags.DEFINE_string("before", None, "A file that --save wrote, for the figures before.")
_SAVE = flags.DEFINE_string("save", None, "Also write all results to this one file.")
_TABLE = flags.DEFINE_string("table", None, "Put the table between the markers of this Markdown file.")
_CHILD = flags.DEFINE_string("child", None, "Used by the program itself: the kind to run in this process.")

COMMANDS = ("convert", "pack", "prune", "cluster", "quantize")
_SECONDS = 1800
_NAME = "the table of kinds"
"""Of the table between its markers."""
Result = dict[str, str]
"""`right`, `refused: why` or `failed: why` by command."""


def main(_: Sequence[str]) -> None:
    """Runs the kinds that have no result yet, and prints the table of all."""
    folder = Path(_FOLDER.value)
    if _CHILD.value:
        _run_kind(_CHILD.value, folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    from tests.user_models.catalog import KINDS

    names = _ONLY.value or list(KINDS)
    for number, name in enumerate(names, start=1):
        path = folder / f"{name}.json"
        if _ONLY.value or not path.is_file() or len(read_json(path)) < (2 if _QUICK.value else len(COMMANDS)):
            _run_in_child(name, folder)
        print(f"{number}/{len(names)} {name}: {_short(read_json(path))}", flush=True)
    found: dict[str, Any] = {"environment": _environment(), "kinds": kept(folder, KINDS)}
    if _SAVE.value:
        write_json(Path(_SAVE.value), found)
    before: dict[str, Any] = read_json(Path(_BEFORE.value)) if _BEFORE.value else {"kinds": {}}
    styles = {name: (kind.style, kind.keras) for name, kind in KINDS.items()}
    table = _table(found, before, styles)
    show(table, _NAME, _TABLE.value)


def _environment() -> str:
    versions = environment.versions()
    named = ("tensorflow", "tf-keras", "ai-edge-litert")
    libraries = ", ".join(f"{name} {versions[name]}" for name in named if name in versions)
    machine = environment.machine()
    return f"{environment.now()[:10]}, {machine['processor']}, Python {versions['python']}, {libraries}"


def _run_in_child(name: str, folder: Path) -> None:
    """Runs a kind in a process of its own, and writes down why, if that dies."""
    path = folder / f"{name}.json"
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.limits", f"--folder={folder}", f"--child={name}"]
    command += ["--quick"] if _QUICK.value else []
    with (folder / f"{name}.log").open("w") as log:
        try:
            status = subprocess.run(command, stdout=log, stderr=log, timeout=_SECONDS, check=False).returncode
            end = f"the process ended with {status}"
        except subprocess.TimeoutExpired:
            end = f"not done after {_SECONDS} seconds"
    result: Result = read_json(path) if path.is_file() else {}
    missing = [command for command in (COMMANDS[:2] if _QUICK.value else COMMANDS) if command not in result]
    if missing:  # Commands after the one that ended the process could not be tried.
        result |= {missing[0]: f"failed: {end}"} | dict.fromkeys(missing[1:], "failed: not reached")
        write_json(path, result)


def _run_kind(name: str, folder: Path) -> None:
    """Runs all commands on one kind in this process, and writes what was found after each."""
    from benchmarks.limits_trials import TRIALS, Trial
    from tfcompress.errors import UserError

    trial: Trial | None = None
    result: Result = {}
    for command in COMMANDS[:2] if _QUICK.value else COMMANDS:
        work = tempfile.mkdtemp()
        try:
            trial = trial or Trial.of(name)
            result[command] = TRIALS[command](trial, Path(work)) or "right"
        except UserError as error:
            result[command] = f"{'refused' if _is_refusal(error, Path(work)) else 'failed'}: {_tidy(str(error))}"
        except Exception as error:  # A traceback is what the table has to show.
            traceback.print_exc()
            result[command] = f"failed: {type(error).__name__}: {_tidy(str(error))}"
        write_json(folder / f"{name}.json", result)
        shutil.rmtree(work)


def _is_refusal(error: Exception, work: Path) -> bool:
    """Returns whether an error is one line, blames no fault of ours, and came before anything was trained."""
    trained = any(work.glob("run/stages/01-*/stage.json"))
    return not trained and len(str(error).splitlines()) == 1 and "please report" not in str(error)


def _tidy(message: str) -> str:
    """Returns a message in one short line, without the names of scratch folders."""
    plain = re.sub(r"/tmp/[\w/]*/", "", re.sub(r"\x1b\[\d*m", "", message))
    return textwrap.shorten(plain.replace("|", "/"), 180, placeholder=" …")


def _short(result: Result) -> str:
    return ", ".join(f"{command} {outcome.partition(':')[0]}" for command, outcome in result.items())


def _table(found: Mapping[str, Any], before: Mapping[str, Any], styles: Mapping[str, tuple[str, str]]) -> str:
    """Returns the Markdown: one row per kind, a count per command, and the reasons of those that are not right."""
    rows, reasons = [], []
    for name, result in found["kinds"].items():
        style, keras = styles[name]
        earlier = before["kinds"].get(name, {})
        cells = []
        for command in COMMANDS:
            outcome = result.get(command, "")
            cells.append(_cell(outcome, earlier.get(command)))
            if outcome and not outcome.startswith("right"):
                reasons.append(f"- {name}, {command}: {outcome}")
        rows.append(f"| {style.rstrip('.')} | {keras} | {' | '.join(cells)} |")
    counts = [_count(found, command) for command in COMMANDS]
    then = [f" ({_count(before, command)})" if before["kinds"] else "" for command in COMMANDS]
    total = [f"**{count}**{old}" for count, old in zip(counts, then, strict=True)]
    header = f"| a model as in | Keras | {' | '.join(COMMANDS)} |\n| -- | -- |{' -- |' * len(COMMANDS)}"
    rows.append(f"| **right, of {len(found['kinds'])}** | | {' | '.join(total)} |")
    parts = [found["environment"] + ".", "\n".join([header, *rows])]
    return "\n\n".join(parts + (["\n".join(reasons)] if reasons else []))


def _cell(outcome: str, earlier: str | None) -> str:
    kind, before = outcome.partition(":")[0], (earlier or "").partition(":")[0]
    return kind if earlier is None or before == kind else f"{kind} ({before})"


def _count(found: Mapping[str, Any], command: str) -> int:
    outcomes: Callable[[Result], str] = lambda result: result.get(command, "").partition(":")[0]  # noqa: E731
    return Counter(map(outcomes, found["kinds"].values()))["right"]


if __name__ == "__main__":
    app.run(main)
