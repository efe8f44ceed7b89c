"""Runs files in LiteRT; packed files with the packed runtime."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from tfcompress import runtime


def feeds(interpreter: Interpreter, seed: int = 0) -> dict[str, np.ndarray]:
    """Random inputs by name: real numbers, ids, and masks whose last third is 0."""
    rng = np.random.default_rng(seed)
    found = {}
    for detail in interpreter.get_input_details():
        name, shape = detail["name"], detail["shape"]
        if "mask" in name:
            values = np.broadcast_to(np.arange(shape[-1]) < 2 * shape[-1] // 3, shape)
        elif detail["dtype"] == np.int32:
            values = rng.integers(0, 2 if "segment" in name else 90, shape)
        else:
            values = rng.random(shape)
        found[name] = values.astype(detail["dtype"])
    return found


def run(content: bytes, *, packed: bool = False, batch: int = 0, seed: int = 0) -> np.ndarray:
    """The first output for random inputs, which are the same for files whose inputs have the same names."""
    delegates = [runtime.load_delegate()] if packed else []
    interpreter = Interpreter(model_content=content, experimental_delegates=delegates)
    if batch:
        for detail in interpreter.get_input_details():
            interpreter.resize_tensor_input(detail["index"], [batch, *detail["shape"][1:]])
    interpreter.allocate_tensors()
    given = feeds(interpreter, seed)
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], given[detail["name"]])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, divided by the largest expected value."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())
