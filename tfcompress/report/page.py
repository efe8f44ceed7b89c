"""The report page of a run or of a comparison: one HTML file that needs no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tfcompress.errors import UserError
from tfcompress.files import atomic_write, check_outputs, read_json
from tfcompress.measure.comparison import ComparedFile, Comparison
from tfcompress.packed import file_weights
from tfcompress.report import plots
from tfcompress.report.document import Report, Variant
from tfcompress.settings import to_yaml


def write_comparison(comparison: Comparison, output: Path) -> None:
    """Writes the page of a comparison."""
    _write(_comparison_page(comparison), output)


def write_page(source: Path, output: Path | None = None) -> Path:
    """Writes the page of a run's working folder, or of a comparison's JSON file.

    Args:
        source: the folder or the JSON file.
        output: by default `report.html` in the folder, or the JSON file's name with `.html`.

    Returns:
        The path of the page.

    Raises:
        UserError: `source` is neither of them, or the run has not ended.
    """
    if source.is_dir() and not (source / "report.json").is_file():
        raise UserError(f"{source} has no report.json; let `tfcompress run … --workdir {source}` finish first")
    found = _json(source) if source.is_file() else None
    is_comparison = isinstance(found, dict) and "files" in found
    if not source.is_dir() and not is_comparison:
        raise UserError(f"{source} is neither a run's folder nor a file that `tfcompress compare --json` wrote")
    output = output or (source.with_suffix(".html") if is_comparison else source / "report.html")
    check_outputs([output], [source if is_comparison else source / "report.json"])
    text = _comparison_page(Comparison.load(source)) if is_comparison else _run_page(source)
    _write(text, output)
    return output


def _write(text: str, output: Path) -> None:
    with atomic_write(output) as beside:
        beside.write_text(text, encoding="utf-8")


def _json(path: Path) -> object:
    try:
        return read_json(path)
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; name a run's folder or what `tfcompress compare --json` wrote"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{path} is not a JSON file; name a run's folder or what `tfcompress compare --json` wrote"
        ) from error


def _run_page(workdir: Path) -> str:
    report = Report.load(workdir / "report.json")
    last = report.variants[-1]
    trained = {stage: history for stage, history in report.history.items() if history}
    return _render(
        report.variants,
        title=report.title,
        kernels=_kernels(last, workdir / last.file),
        last=last,
        untreated=report.left_alone,
        explained=report.explained,
        timings={
            "Time per inference, ratio to row 1": Markup(
                plots.ratios("time", [(variant.name, variant.latency) for variant in report.variants])
            )
        },
        curves={stage: Markup(plots.curves(f"curve-{stage}", epochs)) for stage, epochs in trained.items()},
        recipe=_yaml(report.run.settings()),
        command=report.run.command,
        document=report,
        seed=report.run.seed,
    )


def _comparison_page(comparison: Comparison) -> str:
    return _render(
        comparison.files,
        title="Comparison of " + ", ".join(file.name for file in comparison.files),
        command=comparison.command,
        document=comparison,
        compared_on=comparison.described_data,
        phone=comparison.phone,
        timings={
            f"Time per inference, ratio to row 1, threads: {threads}": Markup(
                plots.ratios(f"time-{threads}", [(f.name, f.costs[place].latency) for f in comparison.files])
            )
            for place, threads in enumerate(comparison.threads)
        },
    )


def _render(files: Sequence[Variant] | Sequence[ComparedFile], **more: object) -> str:
    """Fills the template with what both kinds of page have, and with `more`."""
    memory = [(file.name, file.memory.peak_rss) for file in files if file.memory]
    pictures = {}
    if files[0].memory:
        pictures["memory"] = plots.memory("memory", memory)
    if files[0].quality:
        pictures["quality"] = plots.qualities("quality", [(file.name, file.quality[0]) for file in files])
        pictures["size"] = plots.quality_by_size("size", [(file.size.gzip, file.quality[0]) for file in files])
    drawn = {name: Markup(svg) for name, svg in pictures.items()}
    defaults: Mapping[str, object] = {
        "kernels": [],
        "curves": {},
        "recipe": "",
        "untreated": (),
        "explained": {},
        "last": None,
        "seed": None,
        "compared_on": "",
        "phone": None,
    }
    return environment().get_template("page.html.j2").render(rows=files, pictures=drawn, **{**defaults, **more})


def environment() -> Environment:
    """Returns where the templates of pages are."""
    return Environment(
        loader=PackageLoader("tfcompress", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _kernels(variant: Variant, file: Path) -> list[dict[str, object]]:
    """Returns what was found for each kernel, with a histogram of its weights if the file is still there."""
    stored = {w.name: w for w in file_weights.weights(file.read_bytes())} if file.is_file() else {}
    return [
        {
            "found": tensor,
            "picture": Markup(plots.histogram(stored[tensor.tensor].dequantized())) if tensor.tensor in stored else "",
        }
        for tensor in variant.tensors
    ]


def _yaml(run: Mapping[str, object]) -> str:
    return to_yaml(_without_none(run))


def _without_none(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value
