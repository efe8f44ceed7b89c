"""Files of OpenVINO and ONNX Runtime, which run as those of LiteRT do; needs the packages of the extra `bench`.

`python -m benchmarks.peers FILE` prints the memory of one inference in a process that loads nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tfcompress.names import plain_name

Array = npt.NDArray[Any]
Features = Mapping[str, Array]

_NUMPY = {"tensor(float)": np.dtype(np.float32), "tensor(int32)": np.dtype(np.int32)}


class Inference(Protocol):
    """A loaded file, as `tfcompress.measure.interpreter.Runner` is one: features have no batch axis."""

    def run(self, example: dict[str, Array], /) -> Array:
        """Returns the output for an example, without a batch axis."""
        ...

    def load(self, example: dict[str, Array], /) -> None:
        """Feeds the features of an example."""
        ...

    def invoke(self) -> object:
        """Runs what was fed."""
        ...


class OpenVino:
    """A model of OpenVINO in one thread: a `.xml` with its `.bin`, or a `.tflite`.

    The thread is not bound to a core, as LiteRT's is not.
    """

    def __init__(self, path: Path) -> None:
        openvino = import_module("openvino")
        options = {
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        compiled = openvino.Core().compile_model(str(path), "CPU", options)
        self._request = compiled.create_infer_request()
        self._tensor = openvino.Tensor
        self.ports = {
            plain_name(port.any_name): (tuple(port.shape), np.dtype(port.element_type.to_dtype()))
            for port in compiled.inputs
        }
        self.invoke = self._request.infer

    def load(self, example: Features) -> None:
        for place, (name, (shape, kind)) in enumerate(self.ports.items()):
            self._request.set_input_tensor(place, self._tensor(np.array(example[name], kind).reshape(shape)))

    def run(self, example: Features) -> Array:
        self.load(example)
        self.invoke()
        return np.array(self._request.get_output_tensor().data[0])


class OnnxRuntime:
    """An `.onnx` model of ONNX Runtime in one thread."""

    def __init__(self, path: Path) -> None:
        onnxruntime = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        inputs = self._session.get_inputs()
        self._names = {plain_name(port.name): port.name for port in inputs}
        self.ports = {plain_name(port.name): (tuple(port.shape), _NUMPY[port.type]) for port in inputs}
        self._fed: dict[str, Array] = {}

    def load(self, example: Features) -> None:
        self._fed = {
            self._names[name]: np.array(example[name], kind).reshape(shape)
            for name, (shape, kind) in self.ports.items()
        }

    def invoke(self) -> list[Array]:
        """Returns all outputs for what was loaded."""
        found: list[Array] = self._session.run(None, self._fed)
        return found

    def run(self, example: Features) -> Array:
        self.load(example)
        found: Array = self.invoke()[0][0]
        return found


PEERS: dict[str, tuple[str, type[OpenVino] | type[OnnxRuntime]]] = {
    ".xml": ("openvino", OpenVino),
    ".onnx": ("onnxruntime", OnnxRuntime),
}
"""The package and the class that run a file, by its suffix."""


def parts(file: Path) -> list[Path]:
    """Returns the files that a model consists of: OpenVINO keeps weights beside the graph."""
    return [file, file.with_suffix(".bin")] if file.suffix == ".xml" else [file]


def peak_rss() -> int | None:
    """Returns the peak memory of this process in bytes, which ru_maxrss would mix with its parent's; Linux only."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)


def _memory(file: Path) -> int:
    """Returns the peak above that of the process with the package imported, as `tfcompress.measure.memory` does."""
    package, opened = PEERS[file.suffix]
    import_module(package)
    before = peak_rss()
    model = opened(file)
    model.run({name: np.ones(shape, kind) for name, (shape, kind) in model.ports.items()})
    after = peak_rss()
    if before is None or after is None:
        raise RuntimeError("this system has no /proc")
    return after - before


if __name__ == "__main__":
    print(_memory(Path(sys.argv[1])))
