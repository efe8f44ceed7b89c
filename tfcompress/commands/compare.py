"""Compares `.tflite` files on random inputs or on a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tfcompress.commands.scores import score_orders
from tfcompress.measure.comparison import Comparison, compare
from tfcompress.measure.phone import PhoneReport
from tfcompress.progress import console


def compare_files(
    files: Sequence[Path],
    data: str | None = None,
    path: Path | None = None,
    examples: int | None = None,
    threads: Sequence[int] = (1,),
    rounds: int = 50,
    phone: PhoneReport | None = None,
    task: str | None = None,
) -> Comparison:
    """Compares files; see `tfcompress.measure.comparison.compare`.

    Args:
        files: paths; the others are compared with the first.
        data: a data set that `tfcompress datasets` lists; by default random inputs, and no quality.
        path: of the file or folder of the data set, if it needs one.
        examples: how many, the first of the test split; by default all.
        threads: numbers of threads to measure with.
        rounds: number of turns of each file in the latency measurement.
        phone: what a phone measured with these files.
        task: of the data, if they are yours and a YAML file does not say it; by default classification.

    Raises:
        UserError: a file cannot be run, or the data set cannot be loaded or fed to it.
    """
    if data is None:
        return compare(files, threads=threads, rounds=rounds, phone=phone, orders=score_orders(files))
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
