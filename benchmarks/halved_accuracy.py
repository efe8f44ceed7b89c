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
from collections.abc import Mapping
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags

from benchmarks.program import QUICK, Program
from benchmarks.rows import Result, heading
from benchmarks.seeds import figures, table
from tfcompress.files import write_json
from tfcompress.measure import environment

_SST2 = flags.DEFINE_string("sst2", None, "The folder of SST-2: train.tsv, dev.tsv and test.tsv.")
_MRPC = flags.DEFINE_string("mrpc", None, "The folder of GLUE's MRPC: train.tsv and dev.tsv.")

_RECIPES = {"SST-2": "minilm_half_sst2", "MRPC": "minilm_mrpc", "TREC": "minilm_half_trec"}
"""By what the tables call their data; TREC is fetched."""
_SEEDS = (0, 1, 2)
_SENTENCES = "sentences"
_SHORT = (
    "model={preset: bert_tiny_trec, depth: 1, vocabulary: 100, sequence_length: 8}",
    "training={epochs: 1, batch_size: 16}",
    "techniques=[]",
)


def _folder(task: str, output: Path) -> str | None:
    """Returns the folder of a task's data; None if they are not given, or are fetched."""
    if QUICK.value:
        return str(output / _SENTENCES)
    return {"SST-2": _SST2.value, "MRPC": _MRPC.value}.get(task)


def _run(row: str, output: Path) -> None:
    """Runs the recipe of a row, and writes down what its report says."""
    from tfcompress.runs.pipeline import run  # Imports TensorFlow.
    from tfcompress.runs.recipe import Recipe

    task, _, seed = row.rpartition("-")
    folder = _folder(task, output)
    data = [] if folder is None else [f"data.path={Path(folder).resolve()}"]
    changes = [*data, f"seed={seed}", *(_SHORT if QUICK.value else ())]
    report = run(Recipe.load(_RECIPES[task], changes), output / row, rehearsal=False)
    about = {"date": environment.now(), "task": task, "seed": int(seed)}
    write_json(output / f"{row}.json", {**about, "variants": figures(report)})


def _tables(found: Mapping[str, Result]) -> str:
    """Returns the circumstances in a line, and a Markdown table for each task."""
    rows = found["rows"].values()
    parts = [heading(found, ("tensorflow", "tensorflow-model-optimization", "ai-edge-litert"))]
    for task in _RECIPES:
        runs = sorted((row for row in rows if row["task"] == task), key=lambda row: row["seed"])
        if runs:
            seeds = ", ".join(str(row["seed"]) for row in runs)
            parts += [f"{task}, seed{'s' * (len(runs) > 1)} {seeds}:", table([row["variants"] for row in runs])]
    return "\n\n".join(parts)


def _prepare(output: Path) -> None:
    """Writes the splits of a text data set for a quick run, whose labels mean nothing."""
    if not QUICK.value:
        return
    folder = output / _SENTENCES
    folder.mkdir()
    words = random.Random(0)
    for split, count in (("train", 32), ("dev", 16), ("test", 16)):
        lines = [f"{words.randrange(2)}\t{' '.join(words.choices('abcdefgh', k=5))} {n}" for n in range(count)]
        (folder / f"{split}.tsv").write_text("\n".join(["label\ttext", *lines]) + "\n")


PROGRAM = Program(
    name="halved_accuracy",
    shown="the tables of halved models",
    command="python -m benchmarks.halved_accuracy --sst2=SST-2 --mrpc=MRPC",
    rows=[f"{task}-{seed}" for task in _RECIPES for seed in _SEEDS],
    runs=lambda row: row.startswith("TREC") or _folder(row.rpartition("-")[0], Path()) is not None,
    run=_run,
    tables=_tables,
    quick=(("SST-2-0",), 7),
    prepare=_prepare,
)

if __name__ == "__main__":
    app.run(PROGRAM.main)
