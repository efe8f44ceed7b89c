"""Traces a model into a TensorFlow graph in which the calls of stock Keras layers stay recognisable.

The model's own code runs: that of subclassed models and layers, of models inside models and of operations between
layers. Only stock layers, which tf_keras has too, are recorded as calls.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph, func_graph_from_py_func

from tfcompress.errors import UserError, first_line
from tfcompress.models import stock
from tfcompress.models.lookup import KINDS, Table
from tfcompress.models.lookup_inputs import LookupInputs
from tfcompress.models.scopes import valid_names
from tfcompress.models.signature import Signature, library
from tfcompress.names import graph_name

_UPDATES = {"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"}
"""Operations that set a variable."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a stock layer.

    Attributes:
        layer: the layer, of Keras 3 or tf_keras.
        path: the names of the models and layers that contain it and its own, joined by slashes.
        arguments: by the name that the layer's `call` gives them; tensors, structures of tensors and other values.
        masks: the implicit masks of those arguments.
        outputs: the tensors that it returned.
        structure: the structure of these tensors.
        training: whether the call was made for training. After `modes.trace_both`, whether it always is; None if it
            follows the model's mode.
    """

    layer: Any
    path: str
    arguments: Mapping[str, Any]
    masks: Mapping[str, Any]
    outputs: list[tf.Tensor]
    structure: Any
    training: bool | None

    @property
    def inputs(self) -> list[tf.Tensor]:
        """The tensors that the call reads, masks included."""
        return [x for x in tf.nest.flatten([dict(self.arguments), dict(self.masks)]) if tf.is_tensor(x)]


@dataclass(eq=False)
class Trace:
    """A model as a graph with a free batch axis.

    Attributes:
        graph: the graph, with all that stock layers do inside.
        inputs: the placeholders of the model's inputs by name.
        outputs: a tensor, or a structure of tensors, that the model returns.
        calls: the calls of stock layers, in order.
        made_by: for each output of these calls, by tensor name, the call.
        paths: for each operation outside of these calls, by its name, the path of the layer whose code made it.
        updates: the paths of the user's layers that set variables of theirs, each with the variable's name.
        losses: the paths of the layers whose code adds losses by `add_loss`, which are not part of the graph.
        tables: what looks words up at the beginning of the model; the inputs are what they return.
    """

    graph: FuncGraph
    inputs: dict[str, tf.Tensor] = field(default_factory=dict)
    outputs: Any = None
    calls: list[Call] = field(default_factory=list)
    made_by: dict[str, Call] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    updates: list[tuple[str, str]] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


PassOn = Callable[[Trace, str, Any, str, list[tf.Tensor]], list[tf.Tensor]]
"""Gets the trace, `inputs` or `outputs`, a layer, its path, and what a stock layer is given or another layer returns;
returns what takes its place."""


def trace(
    model: Any,
    signature: Signature,
    apart: Collection[int] = (),
    training: bool = False,
    pass_on: PassOn = lambda *given: given[-1],
) -> Trace:
    """Traces a model.

    Args:
        model: a model of Keras 3 or tf_keras that has been called.
        signature: its inputs.
        apart: the ids of stock layers that are taken apart like composite ones.
        training: whether the model is called for training.
        pass_on: is called with what stock layers are given and other layers return.

    Raises:
        UserError: the model's code cannot run with a free batch axis.
    """
    found = Trace(FuncGraph(graph_name(model.name) or "model"))
    recorder = _Recorder(found, model, apart, training, pass_on)

    def call(*tensors: tf.Tensor) -> Any:
        found.inputs = dict(zip(signature.specs, tensors, strict=True))
        args, kwargs = signature.arguments(found.inputs)
        with recorder.patched():
            found.outputs = model(*args, training=training, **kwargs)
        recorder.lookups.drop_unread(found.inputs)
        return tf.nest.flatten(found.outputs)

    eager = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # Otherwise a tf.function in the model would hide the layers that it calls.
    try:
        with stock.in_float32(model), valid_names(model):
            specs = [tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in signature.specs.items()]
            func_graph_from_py_func(model.name, call, specs, {}, func_graph=found.graph)
    except UserError:
        raise
    except Exception as error:
        where = f"layer {recorder.last_path}" if recorder.last_path else "its code"
        raise UserError(
            f"model {model.name} cannot be taken apart, because {where} fails with a batch of any length: "
            f"{first_line(error)}; {advice_on(error)}"
        ) from error
    finally:
        tf.config.run_functions_eagerly(eager)
    return found


def advice_on(error: Exception) -> str:
    """Returns what its author can do about an error of a model's code while it is traced."""
    if "float16" in str(error):
        return "use the layer's compute_dtype in place of a fixed type, because models are computed in float32"
    if isinstance(error, tf.errors.OperatorNotAllowedInGraphError) or "symbolic" in str(error).lower():
        return "replace Python's if and for on the values of tensors by operations such as tf.where"
    return "use shapes and operations that are known without the values of the inputs"


class _Recorder:
    """Records the calls of stock layers while a model runs."""

    def __init__(self, found: Trace, model: Any, apart: Collection[int], training: bool, pass_on: PassOn) -> None:
        self._found = found
        self._keras = library(model)
        self._apart = apart
        self._pass_on = pass_on
        self.lookups = LookupInputs(found.tables)
        self._variables = {id(handle(variable)): getattr(variable, "name", "") for variable in model.weights}
        self._names: list[str] = []
        self._training: list[bool | None] = [training]
        self._within_stock = False
        self.last_path = ""

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Replaces `Layer.__call__` and `Layer.add_loss` for as long as the model runs."""
        base = self._keras.layers.Layer
        original, add_loss, recorder = base.__call__, base.add_loss, self

        def recorded(layer: Any, *args: Any, **kwargs: Any) -> Any:
            return recorder.call(original, layer, args, kwargs)

        def noted(layer: Any, *args: Any, **kwargs: Any) -> None:
            if recorder._within_stock:
                add_loss(layer, *args, **kwargs)
            elif recorder.last_path not in recorder._found.losses:
                recorder._found.losses.append(recorder.last_path)

        base.__call__, base.add_loss = recorded, noted
        try:
            yield
        finally:
            base.__call__, base.add_loss = original, add_loss

    def call(self, original: Any, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        elsewhere = tf.compat.v1.get_default_graph() is not self._found.graph
        if self._within_stock or elsewhere or _connects_layers(args, kwargs):
            return original(layer, *args, **kwargs)
        start = self._operations()
        arguments = _bound(layer, args, kwargs)
        given = arguments.get("training")
        self._training.append(self._training[-1] if given is None else bool(given))
        self._names.append(layer.name)
        self.last_path = path = "/".join(self._names[1:])
        try:
            masks = _masks(layer, arguments, self._keras)
            if type(layer).__name__ in KINDS and type(layer) is getattr(self._keras.layers, type(layer).__name__):
                self._within_stock = True  # its table is called, too
                try:
                    outputs = self.lookups.replaced(layer, path, arguments, self._found.inputs)
                finally:
                    self._within_stock = False
            elif id(layer) in self._apart or not stock.is_stock(layer, self._keras, arguments, masks):
                expansion = stock.expansion(layer, masks)
                with stock.unrolled(layer):
                    outputs = original(layer, *args, **kwargs) if expansion is None else expansion(*args, **kwargs)
                outputs = self._passed("outputs", layer, path, outputs)
                if not type(layer).__module__.startswith(("keras.", "tf_keras.")):
                    self._find_updates(path, start)
            else:
                outputs = self._stock_call(original, layer, path, args, kwargs)
        finally:
            self._names.pop()
            self._training.pop()
        for operation in self._operations_since(start):
            self._found.paths.setdefault(operation, path)
        self.last_path = "/".join(self._names[1:])
        return outputs

    def _stock_call(
        self,
        original: Any,
        layer: Any,
        path: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        self._within_stock = True
        args, kwargs = self._passed("inputs", layer, path, tf.nest.map_structure(_in_graph, (args, kwargs)))
        arguments = _bound(layer, args, kwargs)
        masks = _masks(layer, arguments, self._keras)
        try:
            with stock.activation_apart(layer) as activation:
                returned = original(layer, *args, **kwargs)
        finally:
            self._within_stock = False
        # A layer may return its input, so each output becomes a tensor of its own.
        outputs = tf.nest.map_structure(own_tensor, returned)
        flat = tf.nest.flatten(outputs)
        call = Call(layer, path, arguments, masks, flat, outputs, self._training[-1])
        self._found.calls.append(call)
        self._found.made_by.update((tensor.name, call) for tensor in flat)
        if activation is None:
            return outputs
        activated = activation(outputs)
        mask = getattr(outputs, "_keras_mask", None)
        if mask is not None:
            activated._keras_mask = mask
        return activated

    def _passed(self, kind: str, layer: Any, path: str, structure: Any) -> Any:
        """Returns a structure with the tensors that take the place of those in it."""
        flat = tf.nest.flatten(structure)
        places = [i for i, x in enumerate(flat) if isinstance(x, tf.Tensor) and tf.is_symbolic_tensor(x)]
        passed = self._pass_on(self._found, kind, layer, path, [flat[i] for i in places])
        for i, tensor in zip(places, passed, strict=True):
            flat[i] = tensor
        return tf.nest.pack_sequence_as(structure, flat)

    def _find_updates(self, path: str, start: int) -> None:
        outer = {inner.name: outer for outer, inner in self._found.graph.captures}
        for operation in self._found.graph.get_operations()[start:]:
            if operation.name not in self._found.paths and operation.type in _UPDATES:
                variable = self._variables.get(id(outer.get(operation.inputs[0].name)))
                if variable is not None:
                    self._found.updates.append((path, variable))

    def _operations(self) -> int:
        return len(self._found.graph.get_operations())

    def _operations_since(self, start: int) -> list[str]:
        return [operation.name for operation in self._found.graph.get_operations()[start:]]


def handle(variable: Any) -> Any:
    """Returns the handle of a variable of Keras 3 or tf_keras; None for a vocabulary, which tf_keras counts as one."""
    return getattr(getattr(variable, "_value", variable), "handle", None)


def own_tensor(tensor: tf.Tensor) -> tf.Tensor:
    """Returns a tensor of its own with the same values and mask."""
    own = tf.identity(tensor)
    mask = getattr(tensor, "_keras_mask", None)
    if mask is not None:
        own._keras_mask = mask
    return own


def _connects_layers(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Returns whether a call is one of the functional API, which a Sequential model makes when it sees a new shape."""
    return any(type(x).__name__ == "KerasTensor" for x in tf.nest.flatten([args, kwargs]))


def _in_graph(value: Any) -> Any:
    """Returns a tensor of the graph for an array or a tensor from outside of it."""
    if isinstance(value, np.ndarray) or (tf.is_tensor(value) and not tf.is_symbolic_tensor(value)):
        return tf.identity(value)
    return value


def _bound(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a call by name."""
    parameters = inspect.signature(layer.call)
    if "training" not in parameters.parameters:  # Keras 3 passes it to every layer of a functional model
        kwargs = {name: value for name, value in kwargs.items() if name != "training"}
    try:
        found = parameters.bind_partial(*args, **kwargs).arguments
    except TypeError:  # Keras says what is wrong when it makes the call
        return dict(kwargs)
    return {name: value for name, value in found.items() if value is not None}


def _masks(layer: Any, arguments: Mapping[str, Any], keras: Any) -> dict[str, Any]:
    """Returns the implicit masks that Keras passes to a call or to what follows it, by the argument's name."""
    given = {name: tf.nest.flatten(value) for name, value in arguments.items()}
    given = {name: tensors for name, tensors in given.items() if any(map(tf.is_tensor, tensors))}
    if keras.__name__ == "keras" and len(given) > 1:  # Keras 3 then wants an argument for the mask of each
        parameters = inspect.signature(layer.call).parameters
        given = {name: tensors for name, tensors in given.items() if f"{name}_mask" in parameters}
    found = {}
    for name, tensors in given.items():
        masks = [getattr(tensor, "_keras_mask", None) for tensor in tensors]
        if any(mask is not None for mask in masks):
            found[name] = masks[0] if len(masks) == 1 else masks
    return found
