"""Finds out what the tensors of a traced model depend on, and their shapes and values, by running it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Flag, auto
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.python.eager.wrap_function import function_from_graph_def

from tfcompress.models.expand import Trace

Array = npt.NDArray[Any]

_BATCHES = (2, 3)

ALIASES = {
    "Identity",
    "IdentityN",
    "EnsureShape",
    "PlaceholderWithDefault",
    "Snapshot",
    "PreventGradient",
    "CheckNumerics",
}
"""Operations that return their inputs."""


class Needs(Flag):
    """What the value of a tensor depends on."""

    NOTHING = 0
    DATA = auto()
    WEIGHTS = auto()
    BATCH = auto()


class Probe:
    """What is known about the tensors of a trace that its outputs depend on.

    Attributes:
        trace: the trace.
        needs: what each tensor depends on, by its name.
        order: the position of each operation in the graph, by its name; operations come after their inputs.
    """

    def __init__(self, trace: Trace, seed: int = 0) -> None:
        self.trace = trace
        self.captured = {inner.name: outer for outer, inner in trace.graph.captures}
        operations = trace.graph.get_operations()
        self.order = {operation.name: i for i, operation in enumerate(operations)}
        self.needs: dict[str, Needs] = {}
        for operation in operations:
            self._find_needs(operation)
        wanted = {tensor.name: tensor for tensor in self._wanted()}
        self._tensors = [tensor for tensor in wanted.values() if _can_be_fetched(tensor)]
        fixed = [tensor for tensor in self._tensors if not self.depends_on_data(tensor)]
        self._values: dict[str, list[Array]] = {}
        self._shapes: dict[str, list[tuple[int, ...]]] = {}
        self._last: tuple[tuple[str, ...], Any] | None = None
        with trace.graph.as_default():
            shapes = [tf.shape(tensor) for tensor in self._tensors]
        for batch in _BATCHES:
            inputs = random_inputs(self, batch, seed)
            found = self.run(inputs, shapes + fixed)
            for tensor, shape in zip(self._tensors, found, strict=False):
                self._shapes.setdefault(tensor.name, []).append(tuple(int(side) for side in shape))
            for tensor, value in zip(fixed, found[len(shapes) :], strict=True):
                self._values.setdefault(tensor.name, []).append(value)

    def depends_on_data(self, tensor: tf.Tensor) -> bool:
        return bool(self.needs[tensor.name] & Needs.DATA)

    def is_known(self, tensor: tf.Tensor) -> bool:
        """Returns whether the outputs depend on a tensor, so that its shape is known."""
        return tensor.name in self._shapes

    def shape(self, tensor: tf.Tensor) -> tuple[int | None, ...]:
        """Returns the shape of a tensor; None for the sides that depend on the length of the batch."""
        return tuple(a if a == b else None for a, b in zip(*self._shapes[tensor.name], strict=True))

    def has_batch(self, tensor: tf.Tensor) -> bool:
        """Returns whether the first axis of a tensor is the batch, and no other side depends on it."""
        two, three = self._shapes[tensor.name]
        return bool(two) and (two[0], three[0]) == _BATCHES and two[1:] == three[1:]

    def value(self, tensor: tf.Tensor) -> Array | None:
        """Returns the value of a tensor that is the same for all inputs and batches, else None."""
        two, three = self._values.get(tensor.name, (None, None))
        same = two is not None and three is not None and two.shape == three.shape and _equal(two, three)
        return two if same else None

    def constant(self, tensor: tf.Tensor) -> Array | None:
        """Returns the value of a tensor that depends on no weights either, else None."""
        return None if self.needs[tensor.name] & Needs.WEIGHTS else self.value(tensor)

    def value_per_example(self, tensor: tf.Tensor) -> Array | None:
        """Returns `(1, …)`, what a tensor without data repeats for each example of the batch, else None."""
        if tensor.name not in self._values or not self.has_batch(tensor):
            return None
        two, three = self._values[tensor.name]
        same = all(_equal(two[:1], example[None]) for example in (*two, *three))
        return two[:1] if same else None

    def from_batch(self, tensor: tf.Tensor) -> tuple[Array, Array] | None:
        """Returns `(offset, factor)` of integers that are `offset + factor * batch`, else None."""
        if tensor.name not in self._values or not tensor.dtype.is_integer:
            return None
        two, three = self._values[tensor.name]
        return (two - 2 * (three - two), three - two) if two.shape == three.shape else None

    def run(self, inputs: Mapping[str, Array], fetches: list[tf.Tensor]) -> list[Array]:
        """Runs the traced graph."""
        distinct = tuple({tensor.name: tensor.name for tensor in fetches})
        function = self._function(distinct)
        given = [tf.constant(inputs[key], tensor.dtype) for key, tensor in self.trace.inputs.items()]
        with _without_optimizer():
            found = dict(zip(distinct, tf.nest.flatten(function(*given)), strict=True))
        return [np.asarray(found[tensor.name]) for tensor in fetches]

    def _function(self, fetches: tuple[str, ...]) -> Any:
        """Returns a function from the inputs to some tensors; the last one again if they are the same."""
        if self._last is None or self._last[0] != fetches:
            names = [tensor.name for tensor in self.trace.inputs.values()]
            captures = {name.partition(":")[0]: outer for name, outer in self.captured.items()}
            definition = self.trace.graph.as_graph_def()
            self._last = fetches, function_from_graph_def(definition, names, list(fetches), captures)
        return self._last[1]

    def source(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns the tensor that a chain of operations hands on unchanged."""
        while tensor.name not in self.trace.made_by and tensor.op.type in ALIASES:
            tensor = tensor.op.inputs[tensor.value_index]
        return tensor

    def parents(self, tensor: tf.Tensor) -> list[tf.Tensor]:
        """Returns the tensors that a tensor with data is made of: the inputs of a layer or of an operation."""
        call = self.trace.made_by.get(tensor.name)
        return call.inputs if call is not None else list(tensor.op.inputs)

    def path(self, tensor: tf.Tensor) -> str:
        """Returns the path of the layer whose code makes a tensor; empty for the model's own code."""
        call = self.trace.made_by.get(tensor.name)
        return call.path if call is not None else self.trace.paths.get(tensor.op.name, "")

    def _wanted(self) -> Iterator[tf.Tensor]:
        """Yields every tensor that the outputs depend on and that a copy may need."""
        pending, seen = [x for x in tf.nest.flatten(self.trace.outputs) if tf.is_tensor(x)], set[str]()
        while pending:
            tensor = pending.pop()
            if tensor.name in seen:
                continue
            seen.add(tensor.name)
            yield tensor
            if self.depends_on_data(tensor) or (
                self.needs[tensor.name] & Needs.BATCH and tensor.op.type not in _SHAPES
            ):
                pending += self.parents(tensor)

    def _find_needs(self, operation: tf.Operation) -> None:
        inputs = Needs.NOTHING
        for tensor in operation.inputs:
            inputs |= self.needs[tensor.name]
        given = {tensor.name for tensor in self.trace.inputs.values()}
        for tensor in operation.outputs:
            call = self.trace.made_by.get(tensor.name)
            if call is not None:
                self.needs[tensor.name] = self._needs_of_call([*call.inputs], call.layer)
            elif tensor.name in given:
                self.needs[tensor.name] = Needs.DATA
            elif tensor.name in self.captured:
                self.needs[tensor.name] = Needs.WEIGHTS if tensor.dtype == tf.resource else Needs.NOTHING
            elif operation.type in _SHAPES:
                self.needs[tensor.name] = Needs.BATCH
            elif operation.type == "StatelessRandomGetKeyCounter" and inputs & Needs.WEIGHTS:
                self.needs[tensor.name] = Needs.DATA  # a seed that changes from call to call
            elif operation.op_def.is_stateful and operation.type not in _READS:
                self.needs[tensor.name] = Needs.DATA
            else:
                self.needs[tensor.name] = inputs

    def _needs_of_call(self, inputs: Iterable[tf.Tensor], layer: Any) -> Needs:
        found = Needs.WEIGHTS if layer.weights else Needs.NOTHING
        for tensor in inputs:
            found |= self.needs[tensor.name]
        # What a layer does in training only must stay.
        return found | (Needs.DATA if "training" in inspect.signature(layer.call).parameters else Needs.NOTHING)


@contextmanager
def _without_optimizer() -> Iterator[None]:
    """Runs graphs as they are, because TensorFlow fuses grouped convolutions into what the CPU cannot compute."""
    before = tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": before})


def _equal(one: Array, other: Array) -> bool:
    """Returns whether two values are the same, which NaN is to itself."""
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))


_SHAPES = {"Shape", "ShapeN", "Size", "Rank"}
_READS = {"ReadVariableOp", "ResourceGather", "Const"}


def _can_be_fetched(tensor: tf.Tensor) -> bool:
    return tensor.dtype not in (tf.resource, tf.variant)


def random_inputs(probe: Probe, examples: int, seed: int) -> dict[str, Array]:
    """Makes inputs for a traced model: ids within its tables, the second half of every second example padded with 0.

    Numbers are from 0 to 1, and those of pictures from 0 to 255 in the last example. If a layer has a mask, series are
    padded like ids.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for name, tensor in probe.trace.inputs.items():
        shape, rows = (examples, *tensor.shape[1:]), rows_of_table(probe, tensor)
        kept = np.ones(shape, bool)
        if len(shape) > 1:
            kept[1::2, (shape[1] + 1) // 2 :] = False
        if tensor.dtype == tf.string:
            found[name] = np.full(shape, "some words", object)
        elif rows is not None:
            found[name] = rng.integers(min(1, rows - 1), rows, shape) * kept
        elif tensor.dtype.is_floating:
            found[name] = rng.uniform(size=shape)
            if len(shape) == 4:
                found[name][-1] *= 255
            elif len(shape) == 3 and any(call.masks for call in probe.trace.calls):
                found[name] *= kept
        else:
            found[name] = kept
    return {name: x.astype(probe.trace.inputs[name].dtype.as_numpy_dtype) for name, x in found.items()}


def rows_of_table(probe: Probe, ids: tf.Tensor) -> int | None:
    """Returns the number of rows of the smallest table in which an input is looked up; None if it is in none."""
    rows: list[int] = []
    for call in probe.trace.calls:
        if type(call.layer).__name__ == "Embedding" and _leads_to(call.inputs[0], ids):
            rows.append(call.layer.input_dim)
    for operation in probe.trace.graph.get_operations():
        if operation.type in ("ResourceGather", "GatherV2") and _leads_to(operation.inputs[1], ids):
            table = operation.inputs[0]
            if operation.type == "ResourceGather":
                outer = probe.captured.get(probe.source(table).name)
                shape = getattr(getattr(outer, "_handle_data", None), "shape_and_type", None)
                if shape:
                    rows.append(int(shape[0].shape.dim[0].size))
            elif not probe.depends_on_data(table) and table.shape.rank and table.shape[0] is not None:
                rows.append(int(table.shape[0]))
    return min(rows, default=None)


def _leads_to(tensor: tf.Tensor, source: tf.Tensor) -> bool:
    """Returns whether a tensor has the values of an input, at most cast, cut or in another shape."""
    while tensor.name != source.name:
        if tensor.op.type not in ALIASES | {"Cast", "Reshape", "ExpandDims", "Squeeze", "StridedSlice"}:
            return False
        tensor = tensor.op.inputs[0]
    return True
