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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags

from benchmarks.costs import peak, sizes, times
from benchmarks.peer_rows import NEEDED, lacking
from benchmarks.peers import peak_rss
from benchmarks.rows import Result, circumstances, heading, kept, markdown, put_table, run_apart, take_over
from benchmarks.training_free_pictures import pictures
from benchmarks.training_free_rows import BERT_ROWS, COMPARED_ROWS, QUICK_ROWS, ROWS
from benchmarks.training_free_tasks import BERT, TASKS, VIT, Task, prepare_bert, prepare_quick, prepare_vit
from tfcompress.files import read_json, write_json
from tfcompress.measure import environment

_FOLDER = flags.DEFINE_string("folder", None, "The Hugging Face folder of DeiT-Tiny.")
_PICTURES = flags.DEFINE_string("pictures", None, "Labelled pictures: a folder with one sub-folder per class.")
_CALIBRATION = flags.DEFINE_string("calibration", None, "A folder of unlabelled pictures.")
_STS = flags.DEFINE_string("sts", None, "GLUE's folder STS-B, with train.tsv for calibration and dev.tsv.")
_OUTPUT = flags.DEFINE_string("output", "out/training_free", "Where files and results are kept.")
_ONLY = flags.DEFINE_list("only", [], "MODEL or MODEL/ROW to run; by default all rows of the models with data.")
_SAVE = flags.DEFINE_string("save", None, "Also write all results to this one file, which keeps the rows that it has.")
_TABLE = flags.DEFINE_string("table", None, "Put the tables into this Markdown file, and the pictures beside it.")
_COMPARED = flags.DEFINE_string("compared", None, "Put those of a few rows of each tool into this Markdown file.")
_RENDER = flags.DEFINE_boolean("render", False, "Only put the tables of --save into the page --table.")
_QUICK = flags.DEFINE_boolean("quick", False, "Run a few rows on random models and data, to see that all works.")
_CHILD = flags.DEFINE_string("child", None, "Used by the program itself: the MODEL/ROW to run in this process.")

_ROUNDS, _QUICK_ROUNDS = 30, 2
_NAME = "the training-free tables"
_COMPARED_NAME = "the tools' tables"
"""Of the tables between their markers, in --table and in --compared."""
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
                for row in _possible(QUICK_ROWS):
                    _run(model, row, Path(scratch))
            found = _found(Path(scratch))
        assert _tables(found)
        files = sum(len(row["files"]) for rows in found["models"].values() for row in rows.values())
        print(f"{files} files were made and measured; the figures mean nothing and are not shown")
    elif _RENDER.value:
        _show(read_json(Path(_SAVE.value)))
    else:
        if _SAVE.value and Path(_SAVE.value).is_file():
            for model, rows in read_json(Path(_SAVE.value))["models"].items():
                take_over(rows, output / model)
        _run_missing(output)
        found = _found(output)
        if _SAVE.value:
            write_json(Path(_SAVE.value), found)
        print(_tables(found))
        _show(found)


def _show(found: Mapping[str, Any]) -> None:
    """Puts the tables into the pages that are named, and the pictures beside the first."""
    if _TABLE.value:
        page = Path(_TABLE.value)
        put_table(page, _NAME, _tables(found))
        for model, rows in found["models"].items():
            for name, picture in pictures(model, rows).items():
                (page.parent / name).write_text(picture)
    if _COMPARED.value:
        put_table(Path(_COMPARED.value), _COMPARED_NAME, _tables(found, COMPARED_ROWS))


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
        missing = [row for row in rows if not (output / model / f"{row}.json").is_file()]
        for row in _possible(missing) if Task.of(output / model).ready else ():
            run_apart("benchmarks.training_free", output, f"{model}/{row}")


def _possible(rows: Iterable[str]) -> Iterator[str]:
    """Yields the rows whose packages are there, and says so of the others."""
    for row in rows:
        if why := lacking(row):
            print(why)
        else:
            yield row


def _asked(model: str, row: str) -> bool:
    return not _ONLY.value or model in _ONLY.value or f"{model}/{row}" in _ONLY.value


def _run(model: str, row: str, output: Path) -> None:
    """Makes the files of a row, measures them, and writes down what was found."""
    task = Task.of(output / model)
    for package in NEEDED.get(row, ()):
        import_module(package)  # It is no part of what making the file takes.
    begin = time.perf_counter(), time.process_time()
    made = ROWS[row](task.float32.read_bytes(), task)
    seconds, processor = time.perf_counter() - begin[0], time.process_time() - begin[1]
    memory = peak_rss()
    files: dict[str, Result] = {}
    for number, (name, parts) in enumerate(made.items()):
        written = [output / model / f"{row}-{number}{suffix}" for suffix in parts]
        for path, content in zip(written, parts.values(), strict=True):
            path.write_bytes(content)
        file = written[0]
        rounds = _QUICK_ROUNDS if _QUICK.value else _ROUNDS
        files[name] = {
            **sizes(file),
            "bytes_of_float32": task.float32.stat().st_size,
            **({} if _QUICK.value else {"memory": peak(file)}),
            "time": times({"before": task.float32, "after": file}, task.first, rounds)["after"],
            **task.measure(file),
        }
    figures = {"date": environment.now(), "seconds": seconds, "processor_seconds": processor, "peak_rss": memory}
    figures["versions"] = {package: version(package) for package in NEEDED.get(row, ())}
    write_json(output / model / f"{row}.json", {**figures, "files": files})


def _found(output: Path) -> Result:
    """Returns all results that there are, and the circumstances."""
    rows = {model: kept(output / model, ROWS) for model in TASKS}
    every = [row for found in rows.values() for row in found.values()]
    versions = {name: number for row in every for name, number in row.get("versions", {}).items()}
    versions["litert-quantizer"] = version("litert-quantizer")
    return {**circumstances(every, _COMMAND, versions), "models": rows}


def _tables(found: Mapping[str, Any], wanted: Collection[str] = tuple(ROWS)) -> str:
    """Returns the circumstances in a line, and a Markdown table of the wanted rows for each model."""
    peers = [package for packages in NEEDED.values() for package in packages if package in found["versions"]]
    parts = [heading(found, ("tensorflow", "ai-edge-litert", "litert-quantizer", *peers))]
    for model, rows in found["models"].items():
        if rows:
            figures = TASKS[model]
            columns = [model, *figures, *_COSTS]
            shown = [row for name, row in rows.items() if name in wanted]
            lines = [_line(name, file, row, figures) for row in shown for name, file in row["files"].items()]
            parts.append(markdown(columns, lines))
    return "\n\n".join(parts)


_COSTS: dict[str, Callable[[Result, Result], str]] = {
    "bytes": lambda file, _: f"{file['bytes']:,}",
    "of float32's": lambda file, _: f"1/{file['bytes_of_float32'] / file['bytes']:.2f}",
    "zipped": lambda file, _: f"{file['zipped']:,}" if "zipped" in file else "–",
    "memory": lambda file, _: f"{file['memory'] / 2**20:.0f} MiB" if "memory" in file else "–",
    "time of float32's": lambda file, _: "{ratio:.2f} ({ratio_low:.2f}-{ratio_high:.2f})".format(**file["time"]),
    "to make": lambda _, row: f"{row['processor_seconds']:.0f} s" if "processor_seconds" in row else "–",
}
"""What a file costs, by column, from the figures of the file and of its row."""


def _line(name: str, file: Result, row: Result, figures: Mapping[str, Callable[[Result], str]]) -> list[str]:
    return [name, *(shown(file) for shown in figures.values()), *(shown(file, row) for shown in _COSTS.values())]


if __name__ == "__main__":
    app.run(main)
