"""Damages packed files at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfcompress.errors import UserError
from tfcompress.inspect.contents import inspect
from tfcompress.packed.unpacker import unpack
from tfcompress.tflite import reading, writing
from tfcompress.tflite.tensor import ABSENT


def refused(content: bytes, times: int, path: Path) -> int:
    """Unpacks and inspects a packed file that was damaged at random, so many times, and counts the refusals.

    Any other error than a `UserError` is raised. Files are written to `path`.
    """
    rng = np.random.default_rng(0)
    count = 0
    for _ in range(times):
        broken = (_damaged_model if rng.random() < 0.6 else _damaged_bytes)(content, rng)
        try:
            unpack(broken)
            path.write_bytes(broken)
            inspect(path)
        except UserError:
            count += 1
    return count


def _damaged_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """The file with up to 200 bytes changed."""
    changed = np.frombuffer(content, np.uint8).copy()
    for place in rng.integers(0, len(changed), rng.integers(1, 200)):
        changed[place] = rng.integers(0, 256)
    return changed.tobytes()


def _damaged_model(content: bytes, rng: np.random.Generator) -> bytes:
    """The file with wrong options, inputs or shapes of custom operators."""
    model = reading.read(content)
    graph = model.graphs[0]
    ours = [one for one in graph.operators if one.custom_options]
    for _ in range(rng.integers(1, 3)):
        operator = ours[rng.integers(len(ours))]
        what = rng.integers(4)
        if what == 0:
            words = np.frombuffer(operator.custom_options, "<i4").copy()
            words[rng.integers(1, len(words))] = rng.choice([0, 1, 2, 3, 5, 8, 9, 64, 2**31 - 1, -1])
            operator.custom_options = words.tobytes()
        elif what == 1:
            operator.replace_input(rng.integers(len(operator.inputs)), rng.choice([ABSENT, *graph.tensors]))
        elif what == 2:
            tensor = operator.inputs[rng.integers(len(operator.inputs))]
            tensor.shape = tuple(rng.integers(-1, 5, rng.integers(0, 4)).tolist())
        else:
            operator.inputs = operator.inputs[: rng.integers(0, len(operator.inputs))]
    return writing.write(model, 64)
