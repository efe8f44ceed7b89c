"""Compares clusters without training with litert-quantizer's formats, on a real ViT and a real BERT.

Each row runs in a process of its own, and its figures are kept in one JSON file; a row that has one is not run again,
nor is a row of the file that --save names, which keeps it.
The ViT and the pictures are named on the command line, because they may not be shipped; MiniLM comes from a wheel.

python -m benchmarks.training_free --folder=DEIT_TINY --pictures=VALIDATION --calibration=PICTURES --sts=STS-B \
  --save=benchmarks/results/training_free.json --table=docs/results.md
python -m benchmarks.training_free --output=out/training_free --only=deit_tiny/ours-16
python -m benchmarks.training_free --render    # only puts the kept results into the page
python -m benchmarks.training_free --quick    # random models and data, whose figures mean nothing
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags

from benchmarks.rows import Result, circumstances, heading, kept, put_table, run_apart, take_over
from benchmarks.training_free_rows import BERT_ROWS, QUICK_ROWS, ROWS
from benchmarks.training_free_tasks import BERT, TASKS, VIT, Task, prepare_bert, prepare_quick, prepare_vit
from tfcompress.files import read_json, write_json
from tfcompress.measure import environment
from tfcompress.measure.latency import latencies

_FOLDER = flags.DEFINE_string("folder", None, "The Hugging Face folder of DeiT-Tiny.")
_PICTURES = flags.DEFINE_string("pictures", None, "Labelled pictures: a folder with one sub-folder per class.")
_CALIBRATION = flags.DEFINE_string("calibration", None, "A folder of unlabelled pictures.")
_STS = flags.DEFINE_string("sts", None, "GLUE's folder STS-B, with train.tsv for calibration and dev.tsv.")
_OUTPUT = flags.DEFINE_string("output", "out/training_free", "Where files and results are kept.")
_ONLY = flags.DEFINE_list("only", [], "MODEL or MODEL/ROW to run; by default all rows of the models with data.")
_SAVE = flags.DEFINE_string("save", None, "Also write all results to this one file, which keeps the rows that it has.")
_TABLE = flags.DEFINE_string("table", None, "Put the tables between the markers of this Markdown file.")
_RENDER = flags.DEFINE_boolean("render", False, "Only put the tables of --save into the page --table.")
_QUICK = flags.DEFINE_boolean("quick", False, "Run a few rows on random models and data, to see that all works.")
_CHILD = flags.DEFINE_string("child", None, "Used by the program itself: the MODEL/ROW to run in this process.")

_ROUNDS, _QUICK_ROUNDS = 30, 2
_BEGIN, _END = "<!-- begin of the training-free tables -->", "<!-- end of the training-free tables -->"
_COMMAND = (
    "python -m benchmarks.training_free --folder=DEIT_TINY --pictures=VALIDATION --calibration=PICTURES --sts=STS-B"
)


def main(arguments: Sequence[str]) -> None:
    """Runs the rows that have no result yet, and prints the tables of all."""
    if arguments[1:]:
        raise app.UsageError(f"unknown arguments {arguments[1:]}")
    output = Path(_OUTPUT.value)
    if _CHILD.value:
        model, _, row = _CHILD.value.partition("/")
        _run(model, row, output)
    elif _QUICK.value:
        with tempfile.TemporaryDirectory() as scratch:
            prepare_quick(Path(scratch))
            for model in TASKS:
                for row in QUICK_ROWS:
                    _run(model, row, Path(scratch))
            found = _found(Path(scratch))
        assert _tables(found)
        files = sum(len(row["files"]) for rows in found["models"].values() for row in rows.values())
        print(f"{files} files were made and measured; the figures mean nothing and are not shown")
    elif _RENDER.value:
        put_table(Path(_TABLE.value), _BEGIN, _END, _tables(read_json(Path(_SAVE.value))))
    else:
        if _SAVE.value and Path(_SAVE.value).is_file():
            for model, rows in read_json(Path(_SAVE.value))["models"].items():
                take_over(rows, output / model)
        _run_missing(output)
        found = _found(output)
        if _SAVE.value:
            write_json(Path(_SAVE.value), found)
        tables = _tables(found)
        print(tables)
        if _TABLE.value:
            put_table(Path(_TABLE.value), _BEGIN, _END, tables)


def _run_missing(output: Path) -> None:
    """Prepares the models whose data are given, and runs their rows, each in a process of its own."""
    preparations: dict[str, tuple[bool, Callable[[], None]]] = {
        VIT: (
            bool(_FOLDER.value and _PICTURES.value and _CALIBRATION.value),
            lambda: prepare_vit(output / VIT, Path(_FOLDER.value), Path(_PICTURES.value), _CALIBRATION.value),
        ),
        BERT: (bool(_STS.value), lambda: prepare_bert(output / BERT, Path(_STS.value))),
    }
    for model, (possible, prepare) in preparations.items():
        rows = [row for row in (BERT_ROWS if model == BERT else ROWS) if _asked(model, row)]
        if rows and possible and not Task.of(output / model).ready:
            prepare()
        for row in rows if Task.of(output / model).ready else []:
            if not (output / model / f"{row}.json").is_file():
                run_apart("benchmarks.training_free", output, f"{model}/{row}")


def _asked(model: str, row: str) -> bool:
    return not _ONLY.value or model in _ONLY.value or f"{model}/{row}" in _ONLY.value


def _run(model: str, row: str, output: Path) -> None:
    """Makes the files of a row, measures them, and writes down what was found."""
    task = Task.of(output / model)
    begin = time.perf_counter(), time.process_time()
    made = ROWS[row](task.float32.read_bytes(), task)
    seconds, processor = time.perf_counter() - begin[0], time.process_time() - begin[1]
    peak = _peak_rss()
    files: dict[str, Result] = {}
    for number, (name, content) in enumerate(made.items()):
        file = output / model / f"{row}-{number}.tflite"
        file.write_bytes(content)
        found = task.measure(file)
        rounds = _QUICK_ROUNDS if _QUICK.value else _ROUNDS
        pair = {"before": task.float32, "after": file}
        ratio = latencies(pair, dict.fromkeys(pair, task.first), rounds)["after"]
        files[name] = {
            "bytes": len(content),
            "bytes_of_float32": task.float32.stat().st_size,
            "time": {key: getattr(ratio, key) for key in ("ratio", "ratio_low", "ratio_high")},
            **found,
        }
    figures = {"date": environment.now(), "seconds": seconds, "processor_seconds": processor, "peak_rss": peak}
    write_json(output / model / f"{row}.json", {**figures, "files": files})


def _peak_rss() -> int | None:
    """Returns the peak memory of this process in bytes, which ru_maxrss would mix with its parent's; Linux only."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)


def _found(output: Path) -> Result:
    """Returns all results that there are, and the circumstances."""
    rows = {model: kept(output / model, ROWS) for model in TASKS}
    every = [row for found in rows.values() for row in found.values()]
    return {**circumstances(every, _COMMAND, {"litert-quantizer": version("litert-quantizer")}), "models": rows}


def _tables(found: Mapping[str, Any]) -> str:
    """Returns the circumstances in a line, and a Markdown table for each model."""
    parts = [heading(found, ("tensorflow", "ai-edge-litert", "litert-quantizer"))]
    for model, rows in found["models"].items():
        if rows:
            figures = TASKS[model]
            header = f"| {model} | {' | '.join(figures)} | bytes | of float32's | time of float32's (95 %) |"
            lines = [header, f"| -- |{' -- |' * (len(figures) + 3)}"]
            for row in rows.values():
                lines += [_line(name, file, figures) for name, file in row["files"].items()]
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _line(name: str, file: Result, figures: Mapping[str, Callable[[Result], str]]) -> str:
    cells = [shown(file) for shown in figures.values()]
    ratio = file["bytes_of_float32"] / file["bytes"]
    time = "{ratio:.2f} ({ratio_low:.2f}-{ratio_high:.2f})".format(**file["time"])
    return f"| {name} | {' | '.join(cells)} | {file['bytes']:,} | 1/{ratio:.2f} | {time} |"


if __name__ == "__main__":
    app.run(main)
