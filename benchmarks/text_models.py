"""Compares halved models with whole ones, DistilBERT and MobileBERT: parameters, bytes, memory and time.

The weights are random, because none of these figures depends on them; there are 63 distinct ones per kernel, so that
the same model can be packed. Each model at each length runs in a process of its own, and its figures and files are
kept; a row that has them is not run again. At last, all files of one length take turns in one process.

python -m benchmarks.text_models --save=benchmarks/results/text_models.json --table=docs/results.md
python -m benchmarks.text_models --render --save=benchmarks/results/text_models.json --table=docs/results.md
python -m benchmarks.text_models --quick    # two tiny models, whose figures mean nothing
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from absl import app, flags

from benchmarks.costs import peak, times
from benchmarks.rows import Result, circumstances, heading, markdown, run_apart, show
from tfcompress.cli.program import import_tensorflow
from tfcompress.files import read_json, write_json
from tfcompress.measure import environment
from tfcompress.packed.packer import pack

_OUTPUT = flags.DEFINE_string("output", "out/text_models", "Where files and results are kept.")
_SAVE = flags.DEFINE_string("save", None, "Also write all results to this JSON file.")
_TABLE = flags.DEFINE_string("table", None, "Put the table between the markers of this Markdown file.")
_RENDER = flags.DEFINE_boolean("render", False, "Only put the table of --save into the page --table.")
_QUICK = flags.DEFINE_boolean("quick", False, "Measure two tiny models, to see that all works.")
_CHILD = flags.DEFINE_string("child", None, "Used by the program itself: the row to run in this process.")

_NAME = "the table of text models"
"""Of the table between its markers."""
_COMMAND = "python -m benchmarks.text_models"
_LENGTHS = (32, 64, 128)
_ROUNDS = 30
_STEPS = 31
"""On either side of zero, to which weights are rounded: 63 distinct values."""

_Changes = dict[str, int]
"""Fields of a preset and their new values."""

MODELS: dict[str, tuple[str, _Changes]] = {
    "BERT-base": ("bert_base", {}),
    "BERT-base halved": ("bert_half", {}),
    "DistilBERT": ("distilbert", {}),
    "MobileBERT": ("mobilebert", {}),
    "MiniLM-L6": ("minilm_l6", {}),
    "MiniLM-L6 halved": ("minilm_l6", {"width": 192, "heads": 6, "mlp": 768}),
}
"""The preset of each model and what differs from it; times are those of the first model in float32."""
_TINY: dict[str, tuple[str, _Changes]] = {
    "tiny": ("minilm_l6", {"vocabulary": 50, "width": 32, "heads": 2, "mlp": 64, "depth": 1}),
    "tiny halved": ("minilm_l6", {"vocabulary": 50, "width": 16, "heads": 1, "mlp": 32, "depth": 1}),
}
KINDS = {
    "float32": "float32",
    "dynamic": "int8, stock",
    "packed_float32": "packed, float32",
    "packed_int8": "packed, int8",
}
"""What is made of each model, and how the table calls it; packed files compute in the type that is named."""


def main(arguments: Sequence[str]) -> None:
    """Measures what has no result yet, and prints the table of all."""
    if arguments[1:]:
        raise app.UsageError(f"unknown arguments {arguments[1:]}")
    output = Path(_OUTPUT.value)
    if _CHILD.value:
        name, _, length = _CHILD.value.rpartition("-")
        _make(name, *MODELS[name], int(length), output)
    elif _QUICK.value:
        with tempfile.TemporaryDirectory() as scratch:
            for name, (preset, changes) in _TINY.items():
                _make(name, preset, changes, 8, Path(scratch))
            _time(_TINY, 8, Path(scratch), rounds=2)
            found = _found(Path(scratch), _TINY, [8])
        assert len(_table(found).splitlines()) == len(_TINY) * len(KINDS) + 4
        print(f"{len(_TINY)} models were measured; the figures mean nothing and are not shown")
    elif _RENDER.value:
        show(_table(read_json(Path(_SAVE.value))), _NAME, _TABLE.value)
    else:
        _run_all(output)


def _run_all(output: Path) -> None:
    for length in _LENGTHS:
        for name in MODELS:
            if not (output / f"{name}-{length}.json").is_file():
                run_apart("benchmarks.text_models", output, f"{name}-{length}")
        if not (output / f"times-{length}.json").is_file():
            _time(MODELS, length, output, _ROUNDS)
    found = _found(output, MODELS, _LENGTHS)
    if _SAVE.value:
        write_json(Path(_SAVE.value), found)
    show(_table(found), _NAME, _TABLE.value)


def _make(name: str, preset: str, changes: _Changes, length: int, output: Path) -> None:
    """Makes the files of a model for texts of this length, and writes down all but their times."""
    import_tensorflow()
    from tfcompress.export.converter import convert
    from tfcompress.models import presets

    model = presets.build(preset, 2, sequence_length=length, **changes)
    model.set_weights([_few_values(weight) if weight.ndim > 1 else weight for weight in model.get_weights()])
    float32 = convert(model, "float32")
    files = {
        "float32": float32,
        "dynamic": convert(model, "dynamic"),
        "packed_float32": pack(float32, "float32"),
        "packed_int8": pack(float32, "int8"),
    }
    output.mkdir(parents=True, exist_ok=True)
    figures = {}
    for kind, content in files.items():
        path = _file(output, name, length, kind)
        path.write_bytes(content)
        figures[kind] = {"bytes": len(content), "memory": peak(path)}
    about = {"date": environment.now(), "parameters": model.count_params()}
    write_json(output / f"{name}-{length}.json", {**about, "files": figures})


def _few_values(kernel: np.ndarray) -> np.ndarray:
    step = np.abs(kernel).max() / _STEPS
    return np.round(kernel / step) * step if step else kernel


def _time(names: Iterable[str], length: int, output: Path, rounds: int) -> None:
    """Lets all files of one length take turns, and writes down their times beside the first model's in float32."""
    files = {f"{name}-{kind}": _file(output, name, length, kind) for name in names for kind in KINDS}
    ones = np.ones(length, np.int32)
    example = {"token_ids": ones, "segment_ids": 0 * ones, "padding_mask": ones}
    write_json(output / f"times-{length}.json", times(files, example, rounds))


def _file(output: Path, name: str, length: int, kind: str) -> Path:
    return output / f"{name}-{length}-{kind}.tflite"


def _found(output: Path, names: Iterable[str], lengths: Sequence[int]) -> Result:
    taken = {length: read_json(output / f"times-{length}.json") for length in lengths}
    rows = {}
    for name in names:
        row = rows[name] = read_json(output / f"{name}-{lengths[-1]}.json")
        for kind, file in row["files"].items():
            file["time"] = {str(length): found[f"{name}-{kind}"] for length, found in taken.items()}
    return {**circumstances(rows.values(), _COMMAND, {}), "lengths": list(lengths), "rows": rows}


def _table(found: Mapping[str, Result]) -> str:
    """Returns the circumstances in a line, and a Markdown table; bytes and memory are those of the longest texts."""
    lengths = found["lengths"]
    columns = ("model", "file", "parameters", "bytes", "memory", *(f"time, {length} tokens" for length in lengths))
    first = next(iter(found["rows"].values()))["files"]["float32"]["bytes"]
    lines = [
        [
            name,
            KINDS[kind],
            f"{row['parameters']:,}",
            f"{file['bytes']:,} (1/{first / file['bytes']:.2f})",
            f"{file['memory'] / 2**20:.0f} MiB",
            *(f"{file['time'][str(length)]['ratio']:.3f}" for length in lengths),
        ]
        for name, row in found["rows"].items()
        for kind, file in row["files"].items()
    ]
    return f"{heading(found, ('tensorflow', 'ai-edge-litert'))}\n\n{markdown(columns, lines)}"


if __name__ == "__main__":
    app.run(main)
