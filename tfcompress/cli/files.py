"""The commands that make, change and measure files of models."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfcompress.cli.program import AllowCode, Imports, apart, import_tensorflow
from tfcompress.errors import UserError
from tfcompress.files import check_outputs

if TYPE_CHECKING:
    from tfcompress.measure.comparison import Comparison

Page = Annotated[
    Path | None, typer.Option(metavar="FILE.html", help="Write a page that compares the files side by side.")
]
Task = Annotated[
    str | None,
    typer.Option(help="What the labels of your own texts are: classification, multilabel, regression, embedding."),
]


def convert(
    model: Annotated[
        Path,
        typer.Argument(
            help="A SavedModel or Hugging Face folder, a .h5, .keras or float .tflite file, a run's folder or stage."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .tflite file to write.")],
    to: Annotated[
        str, typer.Option(help="float32, float16, dynamic, int8, int8-full, int4, or a recipe of litert-quantizer.")
    ],
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:PATH]|FOLDER|FILE",
            help="Examples for int8 and int8-full: a data set, a folder of pictures, texts (.txt, .csv, .tsv) or .npz.",
        ),
    ] = None,
    examples: Annotated[int, typer.Option(help="The largest number of calibration examples.")] = 256,
    per_channel: Annotated[
        bool | None,
        typer.Option("--per-channel/--per-tensor", help="One scale per output of a layer, or one per tensor."),
    ] = None,
    min_runtime: Annotated[
        str | None, typer.Option(help="The oldest TFLite version that must run the file, such as 2.16.")
    ] = None,
    allow_code: AllowCode = False,
    imports: Imports = None,
) -> None:
    """Convert a trained model to a .tflite file, and run both to compare them."""
    settings = (to, calibration, examples, per_channel, min_runtime, allow_code)
    print(apart(f"converting {model}", _converted, imports or [], model, output, *settings))


def _converted(imports: list[str], model: Path, output: Path, *settings: Any) -> str:
    import_tensorflow()
    from tfcompress.commands.convert import convert_file
    from tfcompress.models.user_code import import_modules

    import_modules(imports, settings[-1])
    return str(convert_file(model, output, *settings))


def cluster(
    model: Annotated[
        Path,
        typer.Argument(help="A float .tflite file of any origin, or any other model that `tfcompress convert` takes."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .tflite file to write.")],
    clusters: Annotated[
        int | None, typer.Option(help="The most distinct values of a kernel, 2 to 256; by default 64.")
    ] = None,
    bits: Annotated[int | None, typer.Option(help="The same in bits, 2 to 8: 4 bits are 16 values.")] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:PATH]|FOLDER|FILE",
            help="Unlabelled examples: a data set, a folder of pictures, texts (.txt, .csv, .tsv) or .npz.",
        ),
    ] = None,
    examples: Annotated[int, typer.Option(help="The largest number of calibration examples.")] = 256,
    packed: Annotated[bool, typer.Option("--packed/--stock", help="For the packed runtime, or for any TFLite.")] = True,
    activations: Annotated[
        str | None, typer.Option(help="The type that a packed file computes in, float32 (the default) or int8.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="POINTSpt|AMOUNT",
            help="Choose the bits of each layer, so that at most so many points of quality on --selection are lost, "
            "such as 0.5pt.",
        ),
    ] = None,
    budget_kl: Annotated[
        float | None,
        typer.Option(help="The same for a mean KL divergence of the outputs, in nats, which needs no labels."),
    ] = None,
    selection: Annotated[
        str | None,
        typer.Option(metavar="NAME[:PATH]", help="Data whose validation split the budget is judged on."),
    ] = None,
    workdir: Annotated[
        Path | None,
        typer.Option(
            help="Where the figures of a budget are kept, so that the same command resumes; by default OUTPUT.bits."
        ),
    ] = None,
    page: Page = None,
    data: Annotated[
        str | None,
        typer.Option(help="Labelled data for --page, whose test split counts; by default the calibration examples."),
    ] = None,
    path: Annotated[Path | None, typer.Option(help="The file or folder of --data, if it needs one.")] = None,
    allow_code: AllowCode = False,
    imports: Imports = None,
) -> None:
    """Cluster the weights of a trained model without training, and compare the file with the float one."""
    if page is None and (data is not None or path is not None):
        raise UserError("--data and --path are what the page compares on; name the page with --page, or leave them out")
    if page is not None:
        # The page compares the file with the model, which must not be replaced by then.
        check_outputs([output, page], [model, calibration, data, path])
    if page is not None and packed:
        from tfcompress import runtime

        runtime.library()  # The page shows how the packed file runs.
    settings = {
        "clusters": clusters,
        "bits": bits,
        "calibration": calibration,
        "examples": examples,
        "packed": packed,
        "activations": activations,
        "allow_code": allow_code,
    }
    within = {"budget": budget, "budget_kl": budget_kl, "selection": selection, "workdir": workdir}
    compared = None if page is None else (data, path)
    made, comparison = apart(
        f"clustering {model}", _clustered, imports or [], model, output, settings, within, compared
    )
    print(made)
    if comparison is not None:
        _show(comparison, page)


def _clustered(
    imports: list[str],
    model: Path,
    output: Path,
    settings: dict[str, Any],
    within: dict[str, Any],
    compared: tuple[str | None, Path | None] | None,
) -> tuple[str, Comparison | None]:
    """Returns what was clustered, in words, and if it is to be compared on some data, the comparison."""
    from tfcompress.commands.cluster import cluster_file, imports_tensorflow

    budget = any(value is not None for value in within.values())
    data, path = compared or (None, None)
    if budget or imports or data is not None or imports_tensorflow(model, settings["calibration"]):
        import_tensorflow()
        from tfcompress.models.user_code import import_modules

        import_modules(imports, settings["allow_code"])
    if budget:
        from tfcompress.study.budget import cluster_within

        make = partial(cluster_within, model, output, **within, **settings)
    else:
        make = partial(cluster_file, model, output, **settings)
    if compared is None:
        return str(make()), None
    from tfcompress.commands.compare import compare_files, float_file

    files: list[Path] = []
    with ExitStack() as if_it_fails:

        def prepare(model: Path) -> Path:
            float_one = float_file(model, output, data, path, settings["allow_code"])
            files.append(if_it_fails.enter_context(float_one))
            return files[0]

        made = make(prepare=prepare)
    return str(made), compare_files([*files, output], data, path, calibration=made.feed)


def pack(
    file: Annotated[Path, typer.Argument(help="A .tflite file with clustered weights, float32 or int8.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The packed .tflite file to write.")],
    activations: Annotated[
        str | None, typer.Option(help="The type to compute in, float32 or int8; by default that of the weights.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME[:PATH]", help="Compare both files on the first test examples of this data set."),
    ] = None,
    allow_larger: Annotated[
        bool, typer.Option("--allow-larger", help="Write the packed file even if it is larger than the file.")
    ] = False,
) -> None:
    """Pack a .tflite file, so that its clustered weights stay clustered at run time."""
    print(apart(f"packing {file}", _packed, file, output, activations, data, allow_larger))


def _packed(*arguments: Any) -> str:
    from tfcompress.commands.pack import pack_file

    return str(pack_file(*arguments))


def unpack(
    file: Annotated[Path, typer.Argument(help="A packed .tflite file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The unpacked .tflite file to write.")],
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME[:PATH]", help="Compare both files on the first test examples of this data set."),
    ] = None,
) -> None:
    """Unpack a packed .tflite file, so that any TFLite runs it."""
    print(apart(f"unpacking {file}", _unpacked, file, output, data))


def _unpacked(*arguments: Any) -> str:
    from tfcompress.commands.pack import unpack_file

    return str(unpack_file(*arguments))


def compare(
    files: Annotated[list[Path], typer.Argument(help=".tflite files; the others are compared with the first.")],
    data: Annotated[
        str | None, typer.Option(help="Compare outputs on the test split of this data set; see `tfcompress datasets`.")
    ] = None,
    path: Annotated[Path | None, typer.Option(help="The file or folder of the data set, if it needs one.")] = None,
    examples: Annotated[
        int | None, typer.Option(help="Use only this many examples, the first of the test split.")
    ] = None,
    task: Task = None,
    threads: Annotated[str, typer.Option(help="Numbers of threads to measure with, such as 1,2.")] = "1",
    rounds: Annotated[int, typer.Option(help="Number of turns of each file in the latency measurement.")] = 50,
    json: Annotated[Path | None, typer.Option(help="Write all figures to this file.")] = None,
    page: Page = None,
    from_phone: Annotated[
        Path | None,
        typer.Option(
            help="These files as measured on a phone by the demo app, or by python -m tfcompress_runtime --json."
        ),
    ] = None,
) -> None:
    """Compare .tflite files: bytes, time, memory, outputs, quality."""
    from tfcompress.commands.compare import compare_files
    from tfcompress.measure import phone

    check_outputs([json, page], [*files, data, path, from_phone])
    counts = _integers("--threads", threads)
    of_phone = None if from_phone is None else phone.load(from_phone)
    if data is None and (path is not None or examples is not None or task is not None):
        raise UserError("--path, --examples and --task belong to a data set; name it with --data")
    names = ", ".join(map(str, files))
    comparison = apart(f"comparing {names}", compare_files, files, data, path, examples, counts, rounds, of_phone, task)
    if json is not None:
        comparison.save(json)  # Before printing, which fails if the reader of a pipe has gone: measuring took long.
    _show(comparison, page)


def _show(comparison: Comparison, page: Path | None) -> None:
    """Writes the page of a comparison if it is named, and prints the tables."""
    from tfcompress.report.comparison import print_comparison

    if page is not None:
        import_tensorflow()
        from tfcompress.report.page import write_comparison

        write_comparison(comparison, page)
    print_comparison(comparison)
    if page is not None:
        print(page)


def evaluate(
    model: Annotated[
        Path, typer.Argument(help="A .tflite file, packed or not, or any other model that `tfcompress convert` takes.")
    ],
    data: Annotated[
        str,
        typer.Option(
            metavar="NAME[:PATH]|YAML",
            help="A data set that `tfcompress datasets` lists, or a file that describes one.",
        ),
    ],
    path: Annotated[Path | None, typer.Option(help="The file or folder of the data set, if it needs one.")] = None,
    examples: Annotated[
        int | None, typer.Option(help="Use only this many examples, the first of the test split.")
    ] = None,
    task: Task = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
    allow_code: AllowCode = False,
    imports: Imports = None,
) -> None:
    """Show how good a model is on a data set's test split."""
    from tfcompress.report.quality import print_figures

    check_outputs([json], [model, data, path])
    found = apart(f"evaluating {model}", _evaluated, imports or [], model, data, path, examples, task, allow_code)
    if json is not None:
        found.save(json)
    print_figures(found.quality, f"{found.model} on {found.data}")


def _evaluated(
    imports: list[str],
    model: Path,
    data: str,
    path: Path | None,
    examples: int | None,
    task: str | None,
    allow_code: bool,
) -> Any:
    import_tensorflow()
    from tfcompress.commands.evaluate import evaluate_model
    from tfcompress.models.user_code import import_modules

    import_modules(imports, allow_code)
    return evaluate_model(model, data, path, examples, task, allow_code)


def _integers(option: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} is {text!r}; it takes whole numbers separated by commas, such as 1,2") from None


def inspect(
    file: Annotated[Path, typer.Argument(help="A .tflite file of any origin.")],
    json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON.")] = False,
    compressed: Annotated[
        bool, typer.Option("--compressed", help="Also measure the file after gzip and zstd.")
    ] = False,
) -> None:
    """Show what a .tflite file holds: operators, bytes, weights."""
    from tfcompress.inspect.contents import inspect as read
    from tfcompress.report.contents import print_contents, to_json

    contents = read(file, compressed)
    if json:
        print(to_json(contents))
    else:
        print_contents(contents)
