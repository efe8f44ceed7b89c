"""Measures what halving MiniLM costs in accuracy on SST-2, MRPC and TREC, and what each later technique does.

A row is a recipe and a seed. Its figures are kept in one JSON file when it is done; a row that has some is not run
again, nor is a row of the file that --save names, and a run that was killed goes on. SST-2 and MRPC may not be shipped.

python -m benchmarks.halved_accuracy --sst2=SST-2 --mrpc=MRPC \
  --save=benchmarks/results/halved_accuracy.json --table=docs/results.md
python -m benchmarks.halved_accuracy --render --save=benchmarks/results/halved_accuracy.json --table=docs/results.md
python -m benchmarks.halved_accuracy --quick    # a small model and made-up sentences, whose figures mean nothing
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags

from benchmarks.rows import Result, circumstances, heading, kept, run_apart, show, take_over
from benchmarks.seeds import figures, table
from tfcompress.files import read_json, write_json
from tfcompress.measure import environment

_SST2 = flags.DEFINE_string("sst2", None, "The folder of SST-2: train.tsv, dev.tsv and test.tsv.")
_MRPC = flags.DEFINE_string("mrpc", None, "The folder of GLUE's MRPC: train.tsv and dev.tsv.")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Of centroids, dropout and the order of examples.")
_OUTPUT = flags.DEFINE_string("output", "out/halved_accuracy", "Where runs and results are kept.")
_ONLY = flags.DEFINE_list("only", [], "Rows to run, TASK-SEED; by default all whose data are given.")
_SAVE = flags.DEFINE_string("save", None, "Also write all results to this one file, which keeps the rows that it has.")
_TABLE = flags.DEFINE_string("table", None, "Put the tables between the markers of this Markdown file.")
_RENDER = flags.DEFINE_boolean("render", False, "Only put the tables of --save into the page --table.")
_QUICK = flags.DEFINE_boolean("quick", False, "Run a small model on made-up sentences, to see that all works.")
_CHILD = flags.DEFINE_string("child", None, "Used by the program itself: the row to run in this process.")

_RECIPES = {"SST-2": "minilm_half_sst2", "MRPC": "minilm_mrpc", "TREC": "minilm_half_trec"}
"""By what the tables call their data; TREC is fetched."""
_NAME = "the tables of halved models"
"""Of the tables between their markers."""
_COMMAND = "python -m benchmarks.halved_accuracy --sst2=SST-2 --mrpc=MRPC"
_SHORT = (
    "model={preset: bert_tiny_trec, depth: 1, vocabulary: 100, sequence_length: 8}",
    "training={epochs: 1, batch_size: 16}",
    "techniques=[]",
)


def main(arguments: Sequence[str]) -> None:
    """Runs the rows that have no result yet, and prints the tables of all."""
    if arguments[1:]:
        raise app.UsageError(f"unknown arguments {arguments[1:]}")
    output = Path(_OUTPUT.value)
    if _CHILD.value:
        _run(_CHILD.value, output)
    elif _QUICK.value:
        with tempfile.TemporaryDirectory() as scratch:
            _run("SST-2-0", Path(scratch), _sentences(Path(scratch) / "sentences"), _SHORT)
            found = _found(Path(scratch), ["SST-2-0"])
        assert len(_tables(found).splitlines()) == 7
        print(f"{len(found['rows'])} row was measured; the figures mean nothing and are not shown")
    elif _RENDER.value:
        show(_tables(read_json(Path(_SAVE.value))), _NAME, _TABLE.value)
    else:
        _run_all(output)


def _run_all(output: Path) -> None:
    saved = Path(_SAVE.value) if _SAVE.value else None
    earlier = read_json(saved)["rows"] if saved is not None and saved.is_file() else {}
    take_over(earlier, output)
    folders = {"SST-2": _SST2.value, "MRPC": _MRPC.value}
    rows = [f"{task}-{seed}" for task in _RECIPES for seed in _SEEDS.value if folders.get(task, "fetched")]
    shown = list(dict.fromkeys([*earlier, *rows]))
    for row in _ONLY.value or rows:
        if not (output / f"{row}.json").is_file():
            run_apart("benchmarks.halved_accuracy", output, row, f"--sst2={_SST2.value}", f"--mrpc={_MRPC.value}")
            if saved is not None:
                write_json(saved, _found(output, shown))
    show(_tables(_found(output, shown)), _NAME, _TABLE.value)


def _run(row: str, output: Path, sentences: Path | None = None, changes: Sequence[str] = ()) -> None:
    """Runs the recipe of a row, and writes down what its report says."""
    from tfcompress.runs.pipeline import run  # Imports TensorFlow.
    from tfcompress.runs.recipe import Recipe

    task, _, seed = row.rpartition("-")
    folder = sentences or {"SST-2": _SST2.value, "MRPC": _MRPC.value}.get(task)
    data = [] if folder is None else [f"data.path={Path(folder).resolve()}"]
    report = run(Recipe.load(_RECIPES[task], [*data, f"seed={seed}", *changes]), output / row, rehearsal=False)
    about = {"date": environment.now(), "task": task, "seed": int(seed)}
    write_json(output / f"{row}.json", {**about, "variants": figures(report)})


def _found(output: Path, rows: Sequence[str]) -> Result:
    found = kept(output, rows)
    return {**circumstances(found.values(), _COMMAND, {}), "rows": found}


def _tables(found: Mapping[str, Result]) -> str:
    """Returns the circumstances in a line, and a Markdown table for each task."""
    rows = found["rows"].values()
    parts = [heading(found, ("tensorflow", "tensorflow-model-optimization", "ai-edge-litert"))]
    for task in _RECIPES:
        runs = sorted((row for row in rows if row["task"] == task), key=lambda row: row["seed"])
        if runs:
            seeds = ", ".join(str(row["seed"]) for row in runs)
            parts += [f"{task}, seeds {seeds}:", table([row["variants"] for row in runs])]
    return "\n\n".join(parts)


def _sentences(folder: Path) -> Path:
    """Writes the splits of a text data set, whose labels mean nothing."""
    folder.mkdir()
    words = random.Random(0)
    for split, count in (("train", 32), ("dev", 16), ("test", 16)):
        lines = [f"{words.randrange(2)}\t{' '.join(words.choices('abcdefgh', k=5))} {n}" for n in range(count)]
        (folder / f"{split}.tsv").write_text("\n".join(["label\ttext", *lines]) + "\n")
    return folder


if __name__ == "__main__":
    app.run(main)
