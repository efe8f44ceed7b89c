"""Builds a functional tf_keras model from a traced one: stock layers, our own layers, and single operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError, first_line
from tfcompress.models import operation_rules, stock
from tfcompress.models.expand import Call, Trace, handle
from tfcompress.models.layer_copies import LayerCopy, copy_of
from tfcompress.models.operations import FromBatchSize, Weight
from tfcompress.models.probing import Array, Probe


@dataclass(frozen=True, eq=False)
class Step:
    """What makes one or several tensors of the copy.

    Attributes:
        order: the position in the graph.
        inputs: the tensors of the trace that it reads.
        outputs: the tensors of the trace that it makes.
        make: returns the outputs for the inputs, both of the copy.
    """

    order: int
    inputs: list[tf.Tensor]
    outputs: list[tf.Tensor]
    make: Callable[[list[Any]], list[Any]]


class CannotCopyError(Exception):
    """A stock layer cannot be copied, so it must be taken apart."""

    def __init__(self, call: Call, reason: str) -> None:
        super().__init__(reason)
        self.call = call


class Builder:
    """Builds the copy of one traced model.

    Attributes:
        probe: what is known about the tensors of the trace.
        made: the tensors of the copy by the names of those in the trace.
    """

    def __init__(self, trace: Trace, probe: Probe, model: Any) -> None:
        self.trace, self.probe = trace, probe
        self._model = model
        self._names = _Names(trace)
        self._copies: dict[int, LayerCopy] = {}
        self._weights: dict[Any, Any] = {}
        self._shared: dict[Any, Any] = {}
        self._trainable = {id(handle(variable)) for variable in model.trainable_variables}
        self.made: dict[str, Any] = {}
        self.inputs: dict[str, Any] = {}

    def build(self) -> tf_keras.Model:
        """Returns the copy.

        Raises:
            CannotCopyError: a stock layer has no equal in tf_keras.
            UserError: an operation of the model cannot be part of a Keras model.
        """
        for name, tensor in self.trace.inputs.items():
            self.inputs[name] = tf_keras.Input(tensor.shape[1:], name=name, dtype=tensor.dtype)
            self.made[tensor.name] = self.inputs[name]
        for step in sorted(self._plan(), key=lambda step: step.order):
            made = step.make([self.tensor(x) for x in step.inputs])
            self.made.update(zip((tensor.name for tensor in step.outputs), made, strict=True))
        outputs = tf.nest.map_structure(self._output, self.trace.outputs)
        if isinstance(outputs, (list, tuple)) and len(outputs) == 1:
            outputs = outputs[0]
        inputs = list(self.inputs.values())
        return tf_keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=self.trace.graph.name)

    def part(self, trace: Trace) -> tf_keras.Model:
        """Returns the copy of a part of the model that has a trace of its own."""
        return Builder(trace, Probe(trace), self._model).build()

    def name(self, wanted: str) -> str:
        """Returns a name that no layer of the copy has yet."""
        return self._names.unused(wanted)

    def name_for(self, tensor: tf.Tensor, what: str) -> str:
        """Returns an unused name for a layer that makes a tensor, from the path of the layer whose code it replaces."""
        path = self.probe.path(tensor).replace("/", "_")
        return self.name(f"{path}_{what}" if path else what)

    def name_of(self, layer: Any, path: str) -> str:
        """Returns the name of the copy of a layer."""
        return self._names.of(layer, path)

    def is_trainable(self, tensor: tf.Tensor) -> bool:
        """Returns whether one of the variables that a tensor without data is made of is trainable."""
        return any(id(self.probe.captured[name]) in self._trainable for name in self._variables(tensor))

    def tensor(self, tensor: tf.Tensor) -> Any:
        """Returns the tensor of the copy for one of the trace."""
        source = self.probe.source(tensor)
        if source.name not in self.made:
            self.made[source.name] = self._without_data(source)
        return self.made[source.name]

    def any_input(self) -> Any:
        return next(iter(self.inputs.values()))

    def weight(self, value: Array, trainable: bool, name: str, per_example: bool = False, key: Any = None) -> Any:
        """Returns the tensor of a `Weight` layer; the same one for the same key."""
        if key is not None and key in self._weights:
            return self._weights[key]
        layer = Weight(value.shape, per_example, value.dtype.name, name=self.name(name), trainable=trainable)
        output = layer(self.any_input())
        layer.set_weights([value])
        if key is not None:
            self._weights[key] = output
        return output

    def shared(self, tensors: Sequence[tf.Tensor | None], make: Callable[[], Any]) -> Any:
        """Returns the layer that `make` made for the same variables, with the same values, before; else a new one."""
        key = tuple((self._variables(x), _bytes(self.probe.value(x))) for x in tensors if x is not None)
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    def variable(self, handle: tf.Tensor) -> Array | None:
        """Returns the value of a captured variable by the tensor of its handle."""
        outer = self.probe.captured.get(self.probe.source(handle).name)
        values = (v for v in self._model.variables if outer is not None and id(handle(v)) == id(outer))
        return next((np.asarray(getattr(v, "_value", v)) for v in values), None)

    def _output(self, value: Any) -> Any:
        return self.tensor(value) if tf.is_tensor(value) else value

    def _without_data(self, tensor: tf.Tensor) -> Any:
        """Returns the tensor of the copy for one that depends on weights and the length of the batch only."""
        value, name = self.probe.value(tensor), self.name_of_weight(tensor)
        key = (self._variables(tensor), tensor.dtype)
        if value is not None:
            return self.weight(value, self.is_trainable(tensor), name, key=(*key, value.shape, value.tobytes()))
        per_example = self.probe.value_per_example(tensor)
        if per_example is not None:
            repeated = (*key, "per example", per_example.shape, per_example.tobytes())
            return self.weight(per_example, self.is_trainable(tensor), name, per_example=True, key=repeated)
        integers = self.probe.from_batch(tensor)
        if integers is None:  # such as the numbers of the examples
            step = self._step(tensor)
            made = step.make([self.tensor(x) for x in step.inputs])
            return made[[x.name for x in step.outputs].index(tensor.name)]
        offset, factor = (part.tolist() for part in integers)
        layer = FromBatchSize(offset, factor, tensor.dtype.name, name=self.name_for(tensor, "shape"))
        return layer(self.any_input())

    def name_of_weight(self, tensor: tf.Tensor) -> str:
        """Returns a name for what a tensor without data holds: that of its variable after the path of its layer."""
        path = self.probe.path(tensor).replace("/", "_")
        variables = self._variables(tensor)
        if len(variables) != 1 or tensor.name in self.trace.made_by:
            return path or ("weight" if variables else "constant")
        name = self.trace.graph.get_tensor_by_name(next(iter(variables))).op.name
        for variable in self._model.variables:
            if id(handle(variable)) == id(self.probe.captured[next(iter(variables))]):
                name = variable.name.partition(":")[0]
        last = name.rpartition("/")[2]
        return f"{path}_{last}" if path else last

    def _variables(self, tensor: tf.Tensor) -> frozenset[str]:
        """Returns the names of the captured variables that a tensor depends on."""
        pending, seen, found = [tensor], set[str](), set[str]()
        while pending:
            tensor = pending.pop()
            if tensor.name in seen:
                continue
            seen.add(tensor.name)
            if tensor.name in self.probe.captured and tensor.dtype == tf.resource:
                found.add(tensor.name)
            pending += tensor.op.inputs
        return frozenset(found)

    def _plan(self) -> list[Step]:
        """Returns the steps that make all outputs, each once."""
        steps: dict[Any, Step] = {}
        pending = [x for x in tf.nest.flatten(self.trace.outputs) if tf.is_tensor(x)]
        while pending:
            tensor = self.probe.source(pending.pop())
            call = self.trace.made_by.get(tensor.name)
            key = id(call) if call is not None else tensor.op.name
            if key in steps or tensor.name in self.made or not self.probe.depends_on_data(tensor):
                continue
            step = self._step(tensor)
            steps[key] = step
            pending += step.inputs
        return list(steps.values())

    def _step(self, tensor: tf.Tensor) -> Step:
        call = self.trace.made_by.get(tensor.name)
        return self._operation_step(tensor) if call is None else self._call_step(call)

    def _call_step(self, call: Call) -> Step:
        layer = call.layer
        if id(layer) not in self._copies:
            try:
                self._copies[id(layer)] = copy_of(self, call)
            except stock.NoEqualError as error:
                raise CannotCopyError(call, str(error)) from error
        copy = self._copies[id(layer)]
        inputs, make = copy.call(call)

        def checked(tensors: list[Any]) -> list[Any]:
            try:
                return list(tf.nest.flatten(make(tensors)))
            except (TypeError, ValueError, NotImplementedError) as error:
                raise CannotCopyError(call, str(error)) from error

        return Step(max(self.probe.order[x.op.name] for x in call.outputs), inputs, call.outputs, checked)

    def _operation_step(self, tensor: tf.Tensor) -> Step:
        inputs, make = operation_rules.rule_for(self, tensor)
        outputs = list(tensor.op.outputs)

        def checked(tensors: list[Any]) -> list[Any]:
            try:
                return list(tf.nest.flatten(make(tensors)))
            except (TypeError, ValueError, NotImplementedError, tf.errors.OpError) as error:
                path = self.probe.path(tensor)
                raise UserError(
                    f"{f'layer {path}' if path else 'the model'} uses TensorFlow's {tensor.op.type}, which cannot be "
                    f"part of a Keras model: {first_line(error)}; replace it by layers or other operations"
                ) from error

        return Step(self.probe.order[tensor.op.name], inputs, outputs, checked)


class _Names:
    """Gives each layer of the copy a name of its own, that of the user's layer where it is unique."""

    def __init__(self, trace: Trace) -> None:
        layers = {id(call.layer): call.layer for call in trace.calls}
        names = [layer.name for layer in layers.values()]
        self._plain = {name for name in names if names.count(name) == 1} - set(trace.inputs)
        self._used = {*trace.inputs, *self._plain}
        self._given: dict[int, str] = {}

    def of(self, layer: Any, path: str) -> str:
        if id(layer) not in self._given:
            self._given[id(layer)] = layer.name if layer.name in self._plain else self.unused(path.replace("/", "_"))
        return self._given[id(layer)]

    def unused(self, wanted: str) -> str:
        wanted = wanted.strip("_") or "layer"
        name, number = wanted, 0
        while name in self._used:
            number += 1
            name = f"{wanted}_{number}"
        self._used.add(name)
        return name


def _bytes(value: Array | None) -> tuple[tuple[int, ...], bytes] | None:
    return None if value is None else (value.shape, value.tobytes())
