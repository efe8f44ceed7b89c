"""Compares the packed runtime with XNNPACK on the same weights: time, size, memory, load time, bytes read.

The weights are random but clustered, because none of these figures depends on their values. The files are written by
the first call and reused by later ones. The time is compared with that of YNNPACK, too, once LiteRT's package has it.

python -m benchmarks.runtime --measure=time --threads=1
python -m benchmarks.runtime --measure=size,memory,load
python -m benchmarks.runtime --measure=reads --models=deit_tiny    # needs valgrind; takes minutes
python -m benchmarks.runtime --measure=files --models=deit_tiny_short    # only writes the files
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from absl import app, flags
from rich.console import Console
from rich.table import Table

from benchmarks import ynnpack
from benchmarks.reads import CACHE, bytes_read
from tfcompress import runtime
from tfcompress.cli.program import as_user_sees, import_tensorflow
from tfcompress.files import atomic_write
from tfcompress.inspect.contents import inspect
from tfcompress.measure.interpreter import Runner
from tfcompress.measure.latency import take_turns
from tfcompress.measure.memory import memory

_MODELS = ("deit_tiny", "minilm_l6", "vit_base", "one_row", "one_row_16")
_SHORT = "deit_tiny_short"
"""The first two blocks of deit_tiny, small enough for an emulator."""
_FILES = ("float32", "float32_packed", "int8", "int8_packed")
_PAIRS = {"float32": "float32_packed", "int8": "int8_packed"}
"""The stock files, which XNNPACK runs, and the packed files they are compared with."""

_MEASURE = flags.DEFINE_list("measure", "time", "What to measure: time, size, memory, load, reads; or files.")
_CHOSEN = flags.DEFINE_multi_enum(
    "models", list(_MODELS), [*_MODELS, _SHORT], "Models; one_row has 85 M weights and one input row, _16 16 clusters."
)
_THREADS = flags.DEFINE_integer("threads", 1, "Threads per inference.", lower_bound=1)
_PROCESSES = flags.DEFINE_integer("processes", 5, "Number of processes that measure the time.", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 15, "Approximate measuring time per model and process.", lower_bound=1)
_FOLDER = flags.DEFINE_string("folder", "out/runtime", "Folder of the files.")
_CHILD = flags.DEFINE_string("child", None, "Internal: the model that this process measures.")


def main(arguments: Sequence[str]) -> None:
    """Writes the missing files, measures, and prints one table per kind of measurement."""
    with as_user_sees():
        if _CHILD.value:
            print(json.dumps(_ratios(_CHILD.value)))
            return
        if unknown := set(_MEASURE.value) - set(_MEASURES) or arguments[1:]:
            raise app.UsageError(f"unknown {', '.join(unknown)}; --measure accepts {', '.join(_MEASURES)}")
        for model in _CHOSEN.value:
            if not all(_path(model, name).exists() for name in _FILES):
                _make(model)
        for measure in _MEASURE.value:
            _MEASURES[measure]()


def _path(model: str, name: str) -> Path:
    return Path(_FOLDER.value) / f"{model}-{name}.tflite"


def _make(model: str) -> None:
    """Writes the four files of a model."""
    import_tensorflow()
    import tf_keras

    from tfcompress.export.converter import convert
    from tfcompress.models import presets
    from tfcompress.models.outputs import Outputs
    from tfcompress.packed.packer import pack

    tf_keras.utils.set_random_seed(0)
    rows = model.startswith("one_row")
    if rows:
        x = features = tf_keras.Input((768,), batch_size=1)
        for _ in range(12):
            for width in (768, 768, 768, 768, 3072, 768):
                x = tf_keras.layers.Dense(width, "relu")(x)
        built = tf_keras.Model(features, x)
    elif model == _SHORT:
        built = presets.build("deit_tiny", 2, depth=2)
    else:
        built = presets.build(model, 2)
    for weights in built.weights:
        if weights.shape.rank == 2 and min(weights.shape) > 2:  # kernels and token embeddings
            weights.assign(_clustered(weights.numpy(), 16 if model == "one_row_16" else 64))
    outputs = Outputs.NUMBERS if rows else None
    content = convert(built, "float32", outputs=outputs)
    contents = {"float32": content, "int8": convert(built, "dynamic", outputs=outputs)}
    contents |= {"float32_packed": pack(content), "int8_packed": pack(content, "int8")}
    for name, made in contents.items():
        with atomic_write(_path(model, name)) as temporary:
            temporary.write_bytes(made)


def _clustered(weights: npt.NDArray[np.float32], clusters: int) -> npt.NDArray[np.float32]:
    """Replaces each weight with the nearest of so many quantiles."""
    centroids = np.quantile(weights, (np.arange(clusters) + 0.5) / clusters).astype(np.float32)
    nearest: npt.NDArray[np.float32] = centroids[np.searchsorted((centroids[1:] + centroids[:-1]) / 2, weights)]
    return nearest


def _example(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Returns one example by input name: normally distributed floats, or ones for token ids and masks."""
    random = np.random.default_rng(0)
    found: dict[str, npt.NDArray[np.generic]] = {}
    for name, port in Runner(path).inputs.items():
        shape = port.shape[1:]
        found[name] = random.normal(size=shape) if port.real else np.ones(shape)
    return found


def _ratios(model: str) -> dict[str, list[float]]:
    """Returns, for each stock file, the median ratio of its time to the packed file's, and both medians in ms."""
    runners = {name: Runner(_path(model, name), _THREADS.value) for name in _FILES}
    example = _example(_path(model, "float32"))
    for runner in runners.values():
        runner.run(example)
    inferences: dict[str, Callable[[], object]] = {name: runner.invoke for name, runner in runners.items()}
    pairs = dict(_PAIRS)
    for stock, packed in _PAIRS.items():
        if (invoke := ynnpack.inference(_path(model, stock), example, _THREADS.value)) is not None:
            inferences[f"{stock}, YNNPACK"] = invoke
            pairs[f"{stock}, YNNPACK"] = packed
    trial = take_turns(inferences, 2, "trying")
    rounds = max(11, round(_SECONDS.value / sum(max(times.min(), 0.005) for times in trial.values())))
    times = take_turns(inferences, rounds, f"timing, threads: {_THREADS.value}")
    return {
        stock: [
            float(np.median(times[stock] / times[packed])),
            *(1e3 * float(np.median(times[n])) for n in (stock, packed)),
        ]
        for stock, packed in pairs.items()
    }


def _time() -> None:
    table = _table(
        f"XNNPACK's time over the packed file's, threads: {_THREADS.value}", "median", "range", "ms, last process"
    )
    for model in _CHOSEN.value:
        command = [sys.executable, "-m", "benchmarks.runtime", f"--child={model}", f"--threads={_THREADS.value}"]
        command += [f"--seconds={_SECONDS.value}", f"--folder={_FOLDER.value}"]
        found = []
        for _ in range(_PROCESSES.value):
            child = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found.append(json.loads(child.stdout.splitlines()[-1]))
        for stock in found[0]:
            ratios = [one[stock][0] for one in found]
            stock_ms, packed_ms = found[-1][stock][1:]
            table.add_row(
                model,
                stock,
                f"{np.median(ratios):.2f}",
                f"{min(ratios):.2f}-{max(ratios):.2f}",
                f"{stock_ms:.1f} / {packed_ms:.1f}",
            )
    Console(width=120).print(table)


def _size() -> None:
    """Prints the bytes of files, of weights, and of all constants of dense and embedding layers, such as biases."""
    layers = ("FULLY_CONNECTED", "GATHER", "tfcompress.ClusteredFullyConnected", "tfcompress.ClusteredEmbedding")
    table = _table("Bytes before any archive, stock over packed", "weights", "layers' constants", "file")
    for model in _CHOSEN.value:
        for stock, packed in (*_PAIRS.items(), ("float32", "int8_packed")):
            found = [inspect(_path(model, name)) for name in (stock, packed)]
            weights = [sum(tensor.bytes for tensor in one.weights if tensor.operator in layers) for one in found]
            constants = [sum(one.bytes_by_operator.get(layer, 0) for layer in layers) for one in found]
            ratios = (f"{a / b:.3f}" for a, b in (weights, constants))
            sizes = [one.bytes for one in found]
            file = f"{sizes[0] / sizes[1]:.3f} ({sizes[0]:,} / {sizes[1]:,})"
            table.add_row(model, f"{stock}, {packed}", *ratios, file)
    Console(width=120).print(table)


def _memory() -> None:
    table = _table("Peak resident memory above an empty process, MiB; packed over stock", "stock", "packed", "ratio")
    for model in _CHOSEN.value:
        peaks = {}
        for name in _FILES:
            found, why = memory(_path(model, name))
            if found is None:
                raise app.UsageError(why)
            peaks[name] = found.above_empty / 2**20
        for stock, packed in (*_PAIRS.items(), ("float32", "int8_packed"), ("int8", "float32_packed")):
            ratio = peaks[packed] / peaks[stock]
            table.add_row(model, f"{stock}, {packed}", f"{peaks[stock]:.1f}", f"{peaks[packed]:.1f}", f"{ratio:.3f}")
    Console(width=120).print(table)


def _load() -> None:
    """Prints the median time from opening a file to its first output; the files take turns in one process."""
    table = _table("Loading and the first inference, stock over packed", "ratio", "ms")
    for model in _CHOSEN.value:
        times: dict[str, list[float]] = {name: [] for name in _FILES}
        for _ in range(11):
            for name in _FILES:
                start = time.perf_counter()
                interpreter = runtime.Interpreter(_path(model, name), 1)
                interpreter.allocate_tensors()
                for port in interpreter.get_input_details():
                    interpreter.set_tensor(port["index"], np.ones(port["shape"], port["dtype"]))
                interpreter.invoke()
                times[name].append(time.perf_counter() - start)
        for stock, packed in _PAIRS.items():
            ratio = np.median(np.array(times[stock]) / np.array(times[packed]))
            both = " / ".join(f"{1e3 * np.median(times[name]):.1f}" for name in (stock, packed))
            table.add_row(model, stock, f"{ratio:.2f}", both)
    Console(width=120).print(table)


def _reads() -> None:
    table = _table(f"MB read past a cache of {CACHE.split(',')[0]} bytes, by one inference", "MB", "float32 over it")
    for model in _CHOSEN.value:
        read = {name: bytes_read(_path(model, name)) / 1e6 for name in _FILES}
        for name in _FILES:
            table.add_row(model, name, f"{read[name]:.2f}", f"{read['float32'] / read[name]:.2f}")
    Console(width=120).print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table("model", "stock file", title=title)
    for column in columns:
        table.add_column(column, justify="right")
    return table


_MEASURES: Mapping[str, Callable[[], None]] = {
    "time": _time,
    "size": _size,
    "memory": _memory,
    "load": _load,
    "reads": _reads,
    "files": lambda: None,
}

if __name__ == "__main__":
    app.run(main)
