"""Rebuilds the model of arXiv 2501.00042, whole and halved, in NumPy as there and for LiteRT.

The paper gives parameters, bytes, seconds and at most 10 tokens, but not the sizes. Whole matrices that add up to both
of its numbers of parameters are: 1,000 words of 64 or 32 channels, three matrices for attention, which here has 8 or 4
heads, and a layer that scores the words. The weights are random: no figure depends on them.

python -m benchmarks.halved_paper --save=benchmarks/results/halved_paper.json --table=docs/results.md
python -m benchmarks.halved_paper --render --save=benchmarks/results/halved_paper.json --table=docs/results.md
python -m benchmarks.halved_paper --quick    # two rounds, whose times are not shown
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of NumPy

import numpy as np
import numpy.typing as npt
from absl import app, flags

from benchmarks.rows import Result, circumstances, heading, markdown, show
from tfcompress.files import read_json, write_json
from tfcompress.measure import environment
from tfcompress.measure.interpreter import Runner
from tfcompress.measure.latency import latency, take_turns
from tfcompress.quiet import native_libraries_quiet

_SAVE = flags.DEFINE_string("save", None, "Write the figures to this JSON file.")
_TABLE = flags.DEFINE_string("table", None, "Put the table between the markers of this Markdown file.")
_RENDER = flags.DEFINE_boolean("render", False, "Only put the table of --save into the page --table.")
_QUICK = flags.DEFINE_boolean("quick", False, "Time two rounds only, to see that all works.")

_NAME = "the table of the halved model"
"""Of the table between its markers."""
_COMMAND = "python -m benchmarks.halved_paper"
_WORDS, _TOKENS = 1000, 10
_SIZES = {"whole": (64, 8), "halved": (32, 4)}
"""Channels and heads."""
_ROUNDS = 200

_PAPER = {"whole": (140_288, 1_122_304, 0.02408), "halved": (67_072, 536_576, 0.01596)}
"""Parameters, bytes in float64 and seconds."""

Weights = dict[str, npt.NDArray[np.float64]]


def main(arguments: Sequence[str]) -> None:
    """Measures both models, and prints the table."""
    if arguments[1:]:
        raise app.UsageError(f"unknown arguments {arguments[1:]}")
    found = read_json(Path(_SAVE.value)) if _RENDER.value else _measured(2 if _QUICK.value else _ROUNDS)
    if _QUICK.value:
        print(f"{len(found['models'])} models were measured; their times mean nothing and are not shown")
        return
    if _SAVE.value:
        write_json(Path(_SAVE.value), found)
    table = _table(found)
    show(table, _NAME, _TABLE.value)


def random_weights(channels: int) -> Weights:
    """Returns the matrices of a model by name, float64."""
    random = np.random.default_rng(0)
    shapes = {"words": (_WORDS, channels), **dict.fromkeys("qkv", (channels, channels)), "scores": (channels, _WORDS)}
    return {name: random.normal(size=shape) / np.sqrt(channels) for name, shape in shapes.items()}


def in_numpy(weights: Weights, heads: int, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Runs a model on tokens `(tokens,)`. Returns the scores of all words for each, `(tokens, words)`."""
    embedded = weights["words"][tokens]
    q, k, v = ((embedded @ weights[name]).reshape(len(tokens), heads, -1).swapaxes(0, 1) for name in "qkv")
    scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (shares / shares.sum(-1, keepdims=True)) @ v
    return np.asarray(mixed.swapaxes(0, 1).reshape(len(tokens), -1) @ weights["scores"])


def for_litert(weights: Weights, heads: int, weights_as: str) -> bytes:
    """Returns the same model as a `.tflite` file in float32, or with dynamic int8 weights."""
    import tensorflow as tf

    constants = {name: tf.constant(matrix, tf.float32) for name, matrix in weights.items()}
    shape = (1, _TOKENS, heads, weights["q"].shape[1] // heads)

    def run(tokens: tf.Tensor) -> tf.Tensor:
        embedded = tf.gather(constants["words"], tokens)
        q, k, v = (tf.transpose(tf.reshape(embedded @ constants[name], shape), (0, 2, 1, 3)) for name in "qkv")
        shares = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / shape[-1] ** 0.5)
        mixed = tf.reshape(tf.transpose(shares @ v, (0, 2, 1, 3)), embedded.shape)
        return mixed @ constants["scores"]

    traced = tf.function(run).get_concrete_function(tf.TensorSpec((1, _TOKENS), tf.int32, name="tokens"))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], tf.Module())
    if weights_as == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    with native_libraries_quiet():
        content: bytes = converter.convert()
    return content


def _measured(rounds: int) -> Result:
    tokens = np.random.default_rng(1).integers(0, _WORDS, _TOKENS).astype(np.int32)
    models: dict[str, Result] = {}
    calls = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (channels, heads) in _SIZES.items():
            weights = random_weights(channels)
            models[name] = {
                "parameters": sum(matrix.size for matrix in weights.values()),
                "float64": sum(matrix.nbytes for matrix in weights.values()),
            }
            calls[f"NumPy {name}"] = lambda weights=weights, heads=heads: in_numpy(weights, heads, tokens)
            for weights_as in ("float32", "int8"):
                file = Path(folder) / f"{name}-{weights_as}.tflite"
                file.write_bytes(for_litert(weights, heads, weights_as))
                models[name][weights_as] = file.stat().st_size
                runner = Runner(file)
                runner.load(dict.fromkeys(runner.inputs, tokens))
                runner.invoke()
                expected = in_numpy(weights, heads, tokens)
                error = np.abs(runner.output() - expected).max() / np.abs(expected).max()
                models[name][f"{weights_as} error"] = float(error)
                calls[f"{weights_as} {name}"] = runner.invoke
        times = take_turns(calls, rounds, "timing")
    for way in ("NumPy", "float32", "int8"):
        models["halved"][f"{way} time"] = asdict(latency(times[f"{way} halved"], times[f"{way} whole"]))
    about = {"date": environment.now(), **models["whole"]}
    return {**circumstances([about], _COMMAND, {}), "models": models}


def _table(found: Mapping[str, Result]) -> str:
    """Returns the circumstances in a line, and a Markdown table."""
    whole, halved = (found["models"][name] for name in _SIZES)
    paper = [dict(zip(("parameters", "float64", "seconds"), _PAPER[name], strict=True)) for name in _SIZES]
    lines = []
    for title, before, after in (
        ("parameters: paper", paper[0]["parameters"], paper[1]["parameters"]),
        ("parameters: here", whole["parameters"], halved["parameters"]),
        ("bytes in float64: paper", paper[0]["float64"], paper[1]["float64"]),
        ("bytes in float64: here", whole["float64"], halved["float64"]),
        ("bytes of the `.tflite` file, float32", whole["float32"], halved["float32"]),
        ("bytes of the `.tflite` file, int8", whole["int8"], halved["int8"]),
    ):
        lines.append([title, f"{before:,}", f"{after:,}", f"{1 - after / before:.1%}"])
    seconds = paper[1]["seconds"] / paper[0]["seconds"]
    lines.append(["time in NumPy: paper", "1", f"{seconds:.2f}", f"{1 - seconds:.1%}"])
    for way, title in (("NumPy", "in NumPy: here"), ("float32", "in LiteRT, float32"), ("int8", "in LiteRT, int8")):
        time = halved[f"{way} time"]
        interval = "{ratio:.2f} ({ratio_low:.2f}-{ratio_high:.2f})".format(**time)
        lines.append([f"time {title}", "1", interval, f"{1 - time['ratio']:.1%}"])
    table = markdown(("", "whole", "halved", "less"), lines)
    return f"{heading(found, ('ai-edge-litert', 'numpy'))}\n\n{table}"


if __name__ == "__main__":
    app.run(main)
