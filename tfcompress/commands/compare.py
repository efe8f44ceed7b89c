"""Compares `.tflite` files on random inputs or on a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tfcompress.commands.scores import score_orders
from tfcompress.files import has_suffix
from tfcompress.measure.comparison import CALIBRATION, Comparison, compare
from tfcompress.measure.interpreter import Example
from tfcompress.measure.phone import PhoneReport
from tfcompress.progress import console


@contextmanager
def float_file(
    source: Path, output: Path, data: str | None = None, path: Path | None = None, allow_code: bool = False
) -> Iterator[Path]:
    """Yields the file that one made of a model is compared with: a `.tflite` file itself, or the model in float32.

    Args:
        source: what `tfcompress convert` takes.
        output: the file that is made. The model in float32 is written beside it, as `OUTPUT_float32.tflite`, and
            removed if the block fails.
        data: the data set that the two are compared on; None for random inputs.
        path: of its file or folder, if it needs one.
        allow_code: whether to open files that can run code.

    Raises:
        UserError: the model cannot be converted, or the data set cannot be loaded or fed to it.
    """
    if data is not None:
        from tfcompress.commands.examples import examples_for  # Imports TensorFlow.
        from tfcompress.data import registry

        registry.named(data, path)
    file = source
    if not has_suffix(source, ".tflite"):
        from tfcompress.commands.convert import convert_file  # Imports TensorFlow.

        file = output.with_name(f"{output.stem}_float32.tflite")
        convert_file(source, file, "float32", allow_code=allow_code)
    try:
        if data is not None:
            examples_for([file], data, path, 1)
        yield file
    except BaseException:
        if file != source:
            file.unlink()
        raise


def compare_files(
    files: Sequence[Path],
    data: str | None = None,
    path: Path | None = None,
    examples: int | None = None,
    threads: Sequence[int] = (1,),
    rounds: int = 50,
    phone: PhoneReport | None = None,
    task: str | None = None,
    calibration: Sequence[Example] = (),
) -> Comparison:
    """Compares files; see `tfcompress.measure.comparison.compare`.

    Args:
        files: paths; the others are compared with the first.
        data: a data set that `tfcompress datasets` lists; by default calibration examples, and no quality.
        path: of the file or folder of the data set, if it needs one.
        examples: how many, the first of the test split; by default all.
        threads: numbers of threads to measure with.
        rounds: number of turns of each file in the latency measurement.
        phone: what a phone measured with these files.
        task: of the data, if they are yours and a YAML file does not say it; by default classification.
        calibration: examples without a batch axis that a file was calibrated with; by default random inputs.

    Raises:
        UserError: a file cannot be run, or the data set cannot be loaded or fed to it.
    """
    if data is None:
        name = CALIBRATION if calibration else ""
        return compare(files, calibration or None, None, threads, rounds, name, phone=phone, orders=score_orders(files))
    from tfcompress.commands.examples import examples_for  # Imports TensorFlow.

    fed = examples_for(files, data, path, examples, task=task)
    if fed.not_judged:
        console.print(f"{fed.not_judged}: quality is not measured")
    return compare(
        files,
        fed.feeds,
        fed.labels,
        threads,
        rounds,
        data,
        str(path or ""),
        phone,
        fed.orders,
        fed.metrics,
        task or "",
    )
