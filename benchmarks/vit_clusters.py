"""Measures DeiT-Tiny with 16 to 256 clusters on real pictures, as arXiv 2106.16006 does with its ViT.

Each row runs in a process of its own, and its figures are kept in one JSON file; a row that has one is not run again,
nor is a row of the file that --save names, which keeps it. The model and the pictures may not be shipped.
`benchmarks.energy` counts what an inference of these files reads.

python -m benchmarks.vit_clusters --folder=DEIT_TINY --pictures=VALIDATION --calibration=PICTURES \
  --bits=bits/bits.json --save=benchmarks/results/vit_clusters.json --table=docs/results.md
python -m benchmarks.vit_clusters --render --save=benchmarks/results/vit_clusters.json --table=docs/results.md
python -m benchmarks.vit_clusters --quick    # random models and data, whose figures mean nothing
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from absl import app, flags

from benchmarks.costs import peak, sizes, times
from benchmarks.program import QUICK, Program
from benchmarks.rows import Result, heading, markdown
from benchmarks.training_free_tasks import VIT, Task, mean_with_error, prepare_quick, prepare_vit
from tfcompress.files import read_json, write_json
from tfcompress.measure import environment
from tfcompress.measure.quality import Quality
from tfcompress.packed.packer import pack_counted
from tfcompress.post_training.clustering import cluster
from tfcompress.post_training.kernels import SMALLEST_KERNEL, find_kernels
from tfcompress.post_training.kmeans import exact_centroids, midpoints
from tfcompress.post_training.method import Settings
from tfcompress.report import plots
from tfcompress.tflite.attached import with_attached_files
from tfcompress.tflite.reading import read
from tfcompress.tflite.writing import write

_FOLDER = flags.DEFINE_string("folder", None, "The Hugging Face folder of DeiT-Tiny.")
_PICTURES = flags.DEFINE_string("pictures", None, "Labelled pictures: a folder with one sub-folder per class.")
_CALIBRATION = flags.DEFINE_string("calibration", None, "A folder of unlabelled pictures.")
_BITS = flags.DEFINE_string(
    "bits",
    None,
    "FOLDER/bits.json of `tfcompress cluster --budget-kl 0.02 --workdir FOLDER`; for the rows `shared`.",
)

_WIDTHS = (64, 16, 32, 128, 256)
"""The most important first."""
_SHARED = "8, 16 or 32"
"""What the tables call numbers of clusters that differ from layer to layer."""
_ROUNDS = 30
_EPOCHS = 2
"""Of distillation."""

Make = Callable[[bytes, Task], dict[str, bytes]]
"""Makes files, by the type that they compute in, from a float32 file."""


def _float32(content: bytes, _: Task) -> dict[str, bytes]:
    return {"float32": content}


def _packed(clusters: int, compensated: bool, content: bytes, task: Task) -> dict[str, bytes]:
    """Gives each kernel a codebook of its own."""
    found = cluster(content, Settings(clusters, compensated=compensated), task.calibration if compensated else None)
    return _both(found.content)


def _one_codebook(clusters: int, content: bytes, _: Task) -> dict[str, bytes]:
    """Gives all kernels the same centroids, those of the least squared error; there is no packed form of it."""
    model = read(content)
    kernels = [kernel for kernel in find_kernels(model) if kernel.tensor.elements >= SMALLEST_KERNEL]
    together = np.concatenate([kernel.matrix.ravel() for kernel in kernels])
    [centroids] = exact_centroids(together, None, [clusters])
    for kernel in kernels:
        nearest = np.searchsorted(midpoints(centroids), kernel.matrix)
        kernel.set_values(centroids.astype(np.float32)[nearest])
    return {"float32": with_attached_files(content, write(model))}


def _shared(content: bytes, task: Task) -> dict[str, bytes]:
    """Gives each kernel as many clusters as it has in --bits."""
    settings = {name: Settings(clusters) for name, clusters in _shared_clusters().items()}
    return _both(cluster(content, settings, task.calibration).content)


def _shared_clusters() -> dict[str, int]:
    """Returns the number of clusters by the names of kernels in the file."""
    return {layer["name"]: 2 ** layer["bits"] for layer in read_json(Path(_BITS.value))["layers"]}


def _distilled(clusters: int | None, _: bytes, task: Task) -> dict[str, bytes]:
    """Fine-tunes compensated clusters by the float model's outputs on all pictures of --calibration.

    Without a number, each layer has as many clusters as in --bits.
    """
    from benchmarks.vit_distilled import distilled

    workdir = task.folder / f"distilled-{clusters or 'shared'}"
    of_layers = clusters or {_layer(name): count for name, count in _shared_clusters().items()}
    return _both(distilled(task.source(), Path(_CALIBRATION.value), of_layers, _EPOCHS, workdir))


def _layer(kernel: str) -> str:
    """Returns the layer of a kernel; the converter names that of a query after the scaled product that follows it."""
    name = kernel.split("/")[1]
    return f"{name.removesuffix('_attention')}_query" if name.endswith("_attention") else name


def _both(content: bytes) -> dict[str, bytes]:
    """Packs a clustered file for computing in float32 and in int8."""
    return {computing: pack_counted(content, computing).content for computing in ("float32", "int8")}


ROWS: dict[str, tuple[tuple[str, str, str], Make]] = {
    "float32": (("", "", ""), _float32),
    **{f"compensated-{n}": ((str(n), "kernel", "compensated"), partial(_packed, n, True)) for n in _WIDTHS},
    **{f"k-means-{n}": ((str(n), "kernel", "k-means"), partial(_packed, n, False)) for n in _WIDTHS},
    **{f"distilled-{n}": ((str(n), "kernel", "distilled"), partial(_distilled, n)) for n in _WIDTHS[:2]},
    **{f"one-codebook-{n}": ((str(n), "model", "k-means"), partial(_one_codebook, n)) for n in _WIDTHS},
    "compensated-shared": ((_SHARED, "kernel", "compensated"), _shared),
    "distilled-shared": ((_SHARED, "kernel", "distilled"), partial(_distilled, None)),
}
"""By name: the number of clusters, what shares a codebook, the method; and how the files are made."""


def _prepare(output: Path) -> None:
    if QUICK.value:
        prepare_quick(output, [VIT])
    elif not Task.of(output / VIT).ready:
        prepare_vit(output / VIT, Path(_FOLDER.value), Path(_PICTURES.value), _CALIBRATION.value)


def _run(row: str, output: Path) -> None:
    """Makes the files of a row, measures them, and writes down what was found."""
    task = Task.of(output / VIT)
    (clusters, shared, method), make = ROWS[row]
    files = {}
    for computing, content in make(task.float32.read_bytes(), task).items():
        file = output / VIT / f"{row}-{computing}.tflite"
        file.write_bytes(content)
        files[computing] = {**sizes(file), **task.measure(file)}
        if shared != "model":
            files[computing] |= _costs(file, task)
    about = {"clusters": clusters, "shared": shared, "method": method}
    write_json(output / f"{row}.json", {"date": environment.now(), **about, "files": files})


def _costs(file: Path, task: Task) -> Result:
    """Returns the time beside the float32 file's, and the peak of memory above an empty process."""
    rounds = 2 if QUICK.value else _ROUNDS
    return {
        "time": times({"before": task.float32, "after": file}, task.first, rounds)["after"],
        "memory": peak(file),
    }


def _table(found: Mapping[str, Result]) -> str:
    """Returns the circumstances in a line, and a Markdown table."""
    columns = (
        "clusters", "a codebook per", "method", "computed in", "top-1 (95 %)", "lost / gained", "KL from float32",
        "bytes", "zipped", "time of float32's (95 %)", "memory",
    )  # fmt: skip
    base = found["rows"]["float32"]["files"]["float32"]
    rows = sorted(
        found["rows"].values(), key=lambda row: (row["shared"], row["method"], row["files"]["float32"]["zipped"])
    )
    cells = [
        [row["clusters"] or "–", row["shared"] or "–", row["method"] or "–", computing, *_figures(file, base)]
        for row in rows
        for computing, file in row["files"].items()
    ]
    measured = [place for place, column in enumerate(zip(*cells, strict=True)) if any(column)]
    shown, *lines = [[line[place] for place in measured] for line in (columns, *cells)]
    return f"{heading(found, ('tensorflow', 'ai-edge-litert'))}\n\n{markdown(shown, lines)}"


def _figures(file: Result, base: Result) -> list[str]:
    """Returns the cells of a file; what is measured in bytes has its ratio to the float32 file's."""
    packed = "time" in file
    lost = "{lost} / {gained} (p {p_value:.2g})".format(**file["change"])
    return [
        str(Quality(**file["quality"])),
        lost,
        mean_with_error(file["divergence"], 4),
        f"{file['bytes']:,} ({_over(base['bytes'], file['bytes'])})" if packed else "",
        f"{file['zipped']:,} ({_over(base['zipped'], file['zipped'])})",
        "{ratio:.2f} ({ratio_low:.2f}-{ratio_high:.2f})".format(**file["time"]) if packed else "",
        f"{file['memory'] / 2**20:.0f} MiB" if packed else "",
    ]


def _picture(rows: Mapping[str, Result]) -> str:
    """Draws the divergence against the zipped bytes, a line per method, as SVG."""
    groups: dict[str, list[tuple[float, float, str]]] = {}
    for row in rows.values():
        if row["clusters"]:
            file = row["files"]["float32"]
            point = (file["zipped"] / 1e6, file["divergence"]["value"], row["clusters"])
            groups.setdefault(f"{row['method']}, a codebook per {row['shared']}", []).append(point)
    for points in groups.values():
        points.sort()
    ours = [group for group in groups if not group.startswith("k-means")]
    axes = ("megabytes, zipped", "KL from float32, nats")
    return plots.standalone(plots.series("vit-clusters", groups, ours, *axes, logarithmic="y"))


def _over(base: float, value: float) -> str:
    return f"1/{base / value:.2f}"


PROGRAM = Program(
    name="vit_clusters",
    shown="the table of clusters",
    command="python -m benchmarks.vit_clusters --folder=DEIT_TINY --pictures=VALIDATION --calibration=PICTURES "
    "--bits=bits/bits.json",
    rows=list(ROWS),
    runs=lambda row: bool(_BITS.value) or not row.endswith("shared"),
    run=_run,
    tables=_table,
    quick=(("float32", "k-means-16", "one-codebook-16"), 8),
    prepare=_prepare,
    pictures=lambda found: {"vit_clusters.svg": _picture(found["rows"])},
)

if __name__ == "__main__":
    app.run(PROGRAM.main)
