"""Running a `.tflite` on LiteRT, one example at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from tfcompress.quiet import native_libraries_quiet

Example = npt.NDArray[Any] | dict[str, npt.NDArray[Any]]
"""Features of one example without a batch axis: an array, or arrays by the names of the model's inputs."""

FloatArray = npt.NDArray[np.float32]


class Runner:
    """A loaded file with one signature, fed by `load`, run by `invoke`, read by `output`.

    Args:
        path: of the `.tflite`.
        threads: for one inference.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        with native_libraries_quiet():
            self._interpreter = Interpreter(str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        signature = self._interpreter.get_signature_runner()
        self._inputs = {name: (d["index"], d["dtype"]) for name, d in signature.get_input_details().items()}
        (self._output,) = (detail["index"] for detail in signature.get_output_details().values())
        self.invoke = self._interpreter.invoke

    def load(self, example: Example) -> None:
        """Feeds the features of one example, cast to what the file takes, as Keras does."""
        features = example if isinstance(example, dict) else dict.fromkeys(self._inputs, example)
        for name, (index, dtype) in self._inputs.items():
            self._interpreter.set_tensor(index, np.asarray(features[name])[None].astype(dtype))

    def output(self) -> FloatArray:
        """Returns the output `(classes,)` of the last `invoke`."""
        result: FloatArray = self._interpreter.get_tensor(self._output)[0]
        return result


def inputs(path: Path) -> dict[str, str]:
    """Returns what a file takes: by the inputs' names, type and shape, such as `int32 (1, 128)`."""
    with native_libraries_quiet():
        details = Interpreter(str(path)).get_signature_runner().get_input_details()
    return {name: f"{np.dtype(d['dtype'])} {tuple(map(int, d['shape']))}" for name, d in details.items()}


def predict(path: Path, examples: Iterable[Example]) -> FloatArray:
    """Returns the outputs `(n, classes)` of a file for examples without a batch axis."""
    runner = Runner(path)
    outputs = []
    for example in examples:
        runner.load(example)
        runner.invoke()
        outputs.append(runner.output())
    return np.stack(outputs)
