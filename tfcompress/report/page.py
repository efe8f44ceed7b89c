"""The report page of a run or of a comparison: one HTML file that needs nothing else."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from ruamel.yaml import YAML

from tfcompress.errors import UserError
from tfcompress.files import atomic_write, read_json
from tfcompress.measure.accuracy import Accuracy, Agreement, Flips
from tfcompress.measure.comparison import Comparison
from tfcompress.measure.latency import Latency
from tfcompress.measure.memory import Memory
from tfcompress.measure.size import Size
from tfcompress.packed import file_weights
from tfcompress.report import plots
from tfcompress.report.document import Report, Variant

_MOST_CENTROIDS = 256


@dataclass(frozen=True)
class Row:
    """What the page says of one file, of a run or compared."""

    name: str
    size: Size
    latency: Latency
    memory: Memory | None
    accuracy: Accuracy | None
    flips: Flips | None
    agreement: Agreement | None
    embedding_bytes: int = 0


def write_page(source: Path, output: Path | None = None) -> Path:
    """Writes the page of a run's working folder, or of a comparison's JSON file.

    Args:
        source: either of them.
        output: by default `report.html` in the folder, or the JSON file's name with `.html`.

    Returns:
        Where it was written.

    Raises:
        UserError: `source` is neither, or is of a run that has not ended.
    """
    if source.is_dir() and not (source / "report.json").is_file():
        raise UserError(f"{source} has no report.json; run `tfcompress run … --workdir {source}` to its end first")
    found = _json(source) if source.is_file() else None
    is_comparison = isinstance(found, dict) and "files" in found
    if not source.is_dir() and not is_comparison:
        raise UserError(f"{source} is no run's folder, and no file that `tfcompress compare --json` wrote")
    text = _comparison_page(Comparison.load(source)) if is_comparison else _run_page(source)
    output = output or (source.with_suffix(".html") if is_comparison else source / "report.html")
    with atomic_write(output) as beside:
        beside.write_text(text, encoding="utf-8")
    return output


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; name a run's folder or what `tfcompress compare --json` wrote"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{path} is no JSON file; name a run's folder or what `tfcompress compare --json` wrote"
        ) from error


def _run_page(workdir: Path) -> str:
    report = Report.load(workdir / "report.json")
    last = report.variants[-1]
    rows = [
        Row(v.name, v.size, v.latency, v.memory, v.accuracy, v.flips, None, v.embedding_bytes) for v in report.variants
    ]
    trained = {stage: history for stage, history in report.history.items() if history}
    return _render(
        rows,
        title=report.title,
        examples=report.variants[0].accuracy.examples,
        kernels=_kernels(last, workdir / last.file),
        last=last,
        left_alone=report.left_alone,
        timings={
            "Time of an inference, ratio to row 1": Markup(plots.ratios("time", [(r.name, r.latency) for r in rows]))
        },
        curves={stage: Markup(plots.curves(f"curve-{stage}", rows_)) for stage, rows_ in trained.items()},
        recipe=_yaml(report.run),
        command="" if "objective" in report.run else "tfcompress run recipe.yaml --workdir out/again",
        document=report,
        seed=report.run["seed"],
    )


def _comparison_page(comparison: Comparison) -> str:
    rows = [
        Row(f.name, f.size, f.costs[0].latency, f.costs[0].memory, f.accuracy, f.flips, f.agreement)
        for f in comparison.files
    ]
    return _render(
        rows,
        title="Comparison of " + ", ".join(file.name for file in comparison.files),
        examples=comparison.examples,
        command=comparison.command,
        document=comparison,
        data=comparison.described_data,
        phone=comparison.phone,
        timings={
            f"Time of an inference, ratio to row 1, threads: {threads}": Markup(
                plots.ratios(f"time-{threads}", [(f.name, f.costs[place].latency) for f in comparison.files])
            )
            for place, threads in enumerate(comparison.threads)
        },
    )


def _render(rows: Sequence[Row], **more: Any) -> str:
    """Fills the template with what both kinds of page have, and with `more`."""
    known = [(row.name, row.accuracy) for row in rows if row.accuracy]
    first = rows[0]
    pictures = {}
    memory = [(row.name, row.memory.peak_rss) for row in rows if row.memory]
    if first.memory:
        pictures["memory"] = plots.memory("memory", memory)
    if known:
        pictures["accuracy"] = plots.accuracies("accuracy", known)
        pictures["size"] = plots.accuracy_by_size("size", [(r.size.gzip, r.accuracy) for r in rows if r.accuracy])
    environment = Environment(
        loader=PackageLoader("tfcompress", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = {name: Markup(svg) for name, svg in pictures.items()}
    defaults: Mapping[str, Any] = {
        "kernels": [],
        "curves": {},
        "recipe": "",
        "left_alone": (),
        "last": None,
        "seed": None,
        "phone": None,
    }
    return environment.get_template("page.html.j2").render(rows=rows, pictures=drawn, **{**defaults, **more})


def _kernels(variant: Variant, file: Path) -> list[dict[str, Any]]:
    """Returns what was found of each kernel, with its picture if the file is still there."""
    stored = {w.name: w for w in file_weights.weights(file.read_bytes())} if file.is_file() else {}
    return [
        {
            "found": tensor,
            "picture": Markup(plots.histogram(stored[tensor.tensor].dequantized(), tensor.distinct <= _MOST_CENTROIDS))
            if tensor.tensor in stored
            else "",
        }
        for tensor in variant.tensors
    ]


def _yaml(run: Mapping[str, Any]) -> str:
    text = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.dump(_without_none(run), text)
    return text.getvalue()


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value
