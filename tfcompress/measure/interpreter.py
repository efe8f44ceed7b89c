"""Running a `.tflite` on LiteRT, one example at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfcompress import runtime
from tfcompress.errors import UserError, first_line
from tfcompress.names import distinct_names, plain_name
from tfcompress.quiet import native_libraries_quiet

Example = npt.NDArray[Any] | dict[str, npt.NDArray[Any]]
"""Features of one example without a batch axis: an array, or arrays by the names of the model's inputs."""

_TABLE = f"{runtime.OPERATORS}ClusteredEmbedding"

FloatArray = npt.NDArray[np.float32]

Answers = FloatArray | dict[str, FloatArray]
"""What a model with one output gives for several examples, `(n, …)`; of several outputs, such arrays by name."""


@dataclass(frozen=True)
class Port:
    """An input or output of a file.

    Attributes:
        name: by the signature, or, without one, the tensor's.
        index: of the tensor.
        shape: with the batch axis; a free batch is 1.
        dtype: as stored.
        scale: the value of one step of a quantized integer; 0 if the port is not quantized.
        zero_point: the integer that means 0.
        free: whether an axis after the first has no fixed length.
    """

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int
    free: bool

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"

    @property
    def real(self) -> bool:
        """Whether its values are real numbers, stored as such or quantized."""
        return bool(np.issubdtype(self.dtype, np.floating) or self.scale)

    def encoded(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Casts values to the stored type, as Keras does; real values are quantized where the file takes integers."""
        if self.scale and np.issubdtype(values.dtype, np.floating):
            limits = np.iinfo(self.dtype)
            values = np.clip(np.round(values / self.scale) + self.zero_point, limits.min, limits.max)
        return values.astype(self.dtype)

    def decoded(self, stored: npt.NDArray[Any]) -> FloatArray:
        """Returns the real values that stored values stand for; see `real_values`."""
        values = real_values(stored).astype(np.float32)
        return (values - self.zero_point) * np.float32(self.scale) if self.scale else values


class Runner:
    """A loaded file: `load` feeds it, `invoke` runs it, and `output` reads it; `run` does all three.

    The first subgraph is run, in a packed file by the packed runtime. If the batch size is fixed to more than one, the
    batch is filled with copies of the example.

    Args:
        path: of the `.tflite`.
        threads: per inference.
        xnnpack: whether XNNPACK runs the operators that it knows, as on a phone. Versions of XNNPACK round int8
            differently; the interpreter's own operators do not.

    Attributes:
        inputs, results: by name.
        scores: the output that `output` reads, the first by `order_of_scores`.

    Raises:
        UserError: LiteRT cannot load the file, an input has no fixed size or holds texts, as an output may not either,
            or the packed runtime is missing.
    """

    def __init__(self, path: Path, threads: int = 1, xnnpack: bool = True) -> None:
        kind = OpResolverType.BUILTIN if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        if not path.is_file():
            raise UserError(f"{path} does not exist; name a .tflite file")
        self._path = path
        with native_libraries_quiet(), _blaming(path):
            self._interpreter = Interpreter(str(path), num_threads=threads, experimental_op_resolver_type=kind)
            if _has_own_operators(self._interpreter):
                self._interpreter = runtime.Interpreter(path, threads, experimental_op_resolver_type=kind)
            self._interpreter.allocate_tensors()
        inputs, outputs = _ports(self._interpreter)
        self.inputs = {port.name: port for port in inputs}
        self.results = {port.name: port for port in outputs}
        for name, port in {**self.results, **self.inputs}.items():
            if not np.issubdtype(port.dtype, np.number) and port.dtype != np.bool_:
                raise UserError(f"{path}: {name} holds texts; only models whose inputs and outputs are numbers can run")
        for name, port in self.inputs.items():
            if port.free:
                raise UserError(f"{path}: input {name} has no fixed size; convert the model for inputs of one size")
        self.scores = min(outputs, key=lambda port: order_of_scores(port.real, port.shape))
        self.invoke = self._interpreter.invoke

    def load(self, example: Example) -> None:
        """Feeds the features of one example; see `Port.encoded`.

        Raises:
            UserError: the example lacks an input, or has another shape.
        """
        features = example if isinstance(example, dict) else dict.fromkeys(self.inputs, example)
        for name, port in self.inputs.items():
            if name not in features:
                raise UserError(f"{self._path} takes {', '.join(self.inputs)}; the examples have {', '.join(features)}")
            values = np.asarray(features[name])
            if values.shape not in (port.shape, port.shape[1:]):
                raise UserError(f"{self._path} takes {port} as {name}; the examples have shape {values.shape}")
            self._interpreter.set_tensor(port.index, np.broadcast_to(port.encoded(values), port.shape))

    def output(self) -> FloatArray:
        """Returns the scores of the last `invoke` without a batch axis, in a classifier `(classes,)`."""
        return self._read(self.scores)

    def outputs(self) -> dict[str, FloatArray]:
        """Returns all outputs of the last `invoke`, by name and without a batch axis."""
        return {name: self._read(port) for name, port in self.results.items()}

    def _read(self, port: Port) -> FloatArray:
        return port.decoded(without_batch(self._interpreter.get_tensor(port.index)))

    def run(self, example: Example) -> FloatArray:
        """Returns the output for an example.

        Raises:
            UserError: see `load`; or LiteRT fails, for instance at an id that its table has no row for.
        """
        self.load(example)
        with _blaming(self._path):
            self.invoke()
        return self.output()

    def run_all(self, example: Example) -> dict[str, FloatArray]:
        """Returns all outputs for an example; see `run` and `outputs`."""
        self.run(example)
        return self.outputs()

    def table_rows(self) -> dict[str, int]:
        """Returns, by input name, the number of rows of the shortest table that the input's values are looked up in."""
        shapes = {tensor["index"]: tensor["shape"] for tensor in self._interpreter.get_tensor_details()}
        operators = self._interpreter._get_ops_details()
        found = {}
        for name, port in self.inputs.items():
            ids, rows = {port.index}, []
            for operator in operators:
                inputs = [int(index) for index in operator["inputs"]]
                place = {"GATHER": 1, "EMBEDDING_LOOKUP": 0, _TABLE: 0}.get(operator["op_name"])
                if place is not None and inputs[place] in ids:
                    rows.append(_rows(operator, shapes))
                elif ids & set(inputs) and all(np.issubdtype(kind, np.integer) for kind in operator["result_types"]):
                    ids |= set(map(int, operator["outputs"]))  # The ids were reshaped, cast or clipped.
            if rows:
                found[name] = min(rows)
        return found


def order_of_scores(real: bool, shape: Sequence[int]) -> tuple[bool, bool]:
    """Returns what outputs are sorted by to find the one that counts: real numbers of rank 2, or the nearest to that.

    Args:
        real: whether the output has real numbers, stored as such or quantized.
        shape: with the batch axis.
    """
    return not real, len(shape) != 2


def is_packed(path: Path) -> bool:
    """Returns whether a file needs the packed runtime."""
    with native_libraries_quiet(), _blaming(path):
        return _has_own_operators(Interpreter(str(path)))


def check_runs(path: Path, name: str) -> None:
    """Raises a `UserError` that calls a file `name` if LiteRT cannot load it; the quantizer does not end on some."""
    try:
        Runner(path)
    except UserError as error:
        raise UserError(str(error).replace(str(path), name)) from error


def inputs(path: Path) -> dict[str, str]:
    """Returns type and shape of a file's inputs by name, such as `int32 (1, 128)`."""
    return {name: str(port) for name, port in Runner(path).inputs.items()}


def predict(path: Path, examples: Iterable[Example]) -> FloatArray:
    """Returns the outputs `(n, classes)` of a file for examples without a batch axis."""
    runner = Runner(path)
    return np.stack([runner.run(example) for example in examples])


def predict_all(path: Path, examples: Iterable[Example]) -> Answers:
    """Returns all outputs of a file for examples without a batch axis."""
    return all_outputs(Runner(path), examples)


def all_outputs(runner: Runner, examples: Iterable[Example]) -> Answers:
    """Returns all outputs of a loaded file for examples without a batch axis."""
    rows = [runner.run_all(example) for example in examples]
    found = {name: np.stack([row[name] for row in rows]) for name in runner.results}
    return next(iter(found.values())) if len(found) == 1 else found


def real_values(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns complex values as their real and imaginary parts in a last axis, and others as they are."""
    return np.stack([values.real, values.imag], -1) if np.iscomplexobj(values) else values


def without_batch(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns the first of a batch, or all values if they have no batch axis or an empty one."""
    found: npt.NDArray[Any] = values[0] if values.ndim > 1 and len(values) else values
    return found


def _has_own_operators(interpreter: Interpreter) -> bool:
    return any(operator["op_name"].startswith(runtime.OPERATORS) for operator in interpreter._get_ops_details())


def _rows(lookup: dict[str, Any], shapes: dict[int, npt.NDArray[np.int32]]) -> int:
    """Returns the number of rows of the table that an operator looks ids up in."""
    inputs = [int(index) for index in lookup["inputs"]]
    if lookup["op_name"] != _TABLE:
        return int(shapes[inputs[0] if lookup["op_name"] == "GATHER" else inputs[1]][0])
    _, indices, codebook, *_ = inputs
    bits = max(2, int(shapes[codebook][0] - 1).bit_length())
    width = int(shapes[int(lookup["outputs"][0])][-1])
    return int(shapes[indices][0]) // (-(-width // 8) * bits)


def _ports(interpreter: Interpreter) -> tuple[list[Port], list[Port]]:
    """Returns inputs and outputs of the first subgraph."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    tensors = {(detail["index"], detail["name"]) for detail in (*inputs, *outputs)}
    for key in interpreter.get_signature_list():
        signature = interpreter.get_signature_runner(key)
        ends = signature.get_input_details(), signature.get_output_details()
        # Otherwise it belongs to another subgraph.
        if tensors >= {(detail["index"], detail["name"]) for end in ends for detail in end.values()}:
            return _named(inputs, ends[0], "input"), _named(outputs, ends[1], "output")
    return _named(inputs, {}, "input"), _named(outputs, {}, "output")


def _named(details: Sequence[dict[str, Any]], signed: Mapping[str, dict[str, Any]], kind: str) -> list[Port]:
    """Returns the inputs or outputs, named by a signature; a tensor that is given several times has several names."""
    names: dict[int, list[str]] = {}
    for name, detail in signed.items():
        names.setdefault(detail["index"], []).append(name)
    ports = []
    for detail, own in zip(details, distinct_names([plain_name(one["name"]) for one in details], kind), strict=True):
        some = names.get(detail["index"], [own])
        ports.append(_port(detail, some.pop(0) if len(some) > 1 else some[0]))
    return ports


def _port(detail: dict[str, Any], name: str) -> Port:
    scale, zero_point = detail["quantization"]
    return Port(
        name,
        int(detail["index"]),
        tuple(map(int, detail["shape"])),
        np.dtype(detail["dtype"]),
        float(scale) if np.issubdtype(detail["dtype"], np.integer) else 0.0,
        int(zero_point),
        -1 in detail["shape_signature"][1:],
    )


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Turns an error of LiteRT into a `UserError` that names the file."""
    try:
        yield
    except UserError:
        raise
    except (RuntimeError, ValueError) as error:
        reason = first_line(error).rstrip(".")
        raise UserError(f"LiteRT cannot run {path}: {reason}; name a .tflite file that it can run") from error
