"""TensorFlow operations of a traced model for which Keras has no layer."""

from __future__ import annotations

import inspect
import zlib
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tfcompress.errors import UserError
from tfcompress.models.operations import Operation, RandomSeed, constant_argument
from tfcompress.models.rule import Rule, layer_rule

if TYPE_CHECKING:
    from tfcompress.models.emission import Builder


_SEEDS = {"StatelessRandomGetKeyCounter", "RngReadAndSkip"}
"""Operations that take a seed for random numbers from a variable, which they change."""

_PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}


def raw_operation(builder: Builder, tensor: tf.Tensor) -> Rule:
    """Returns what makes a tensor in the copy: an `Operation` that calls the same operation.

    Raises:
        UserError: the operation cannot be part of a Keras model.
    """
    probe, operation = builder.probe, tensor.op
    if operation.type in _SEEDS:
        name = builder.name_for(tensor, "seed")
        seed = RandomSeed(operation.type == "StatelessRandomGetKeyCounter", _seed(name), name=name)
        return layer_rule(next(iter(builder.trace.inputs.values())), seed)
    function = getattr(tf.raw_ops, operation.type, None)
    path = probe.path(tensor)
    where = f"layer {path}" if path else f"model {builder.trace.graph.name}"
    kinds = {x.dtype for x in [*operation.inputs, *operation.outputs]}
    if (
        function is None
        or operation.type in _PYTHON
        or kinds & {tf.resource, tf.variant, tf.string}
        or _has_functions(operation)
    ):
        raise UserError(
            f"{where} uses TensorFlow's {operation.type}, {_why(operation, kinds)}; replace it by layers or operations "
            "on numbers with a fixed number of steps, or take it out of the model and apply it to the data"
        )
    inputs: list[tf.Tensor] = []
    large: list[Any] = []

    def argument(x: tf.Tensor) -> Any:
        constant = probe.constant(x)
        if constant is None:
            inputs.append(x)
            return len(inputs) - 1
        described = constant_argument(constant)
        if "shape" in described:
            large.append(constant)
        return described

    names, attributes = _python_names(operation, function)
    arguments: dict[str, Any] = {}
    position = 0
    for part, python_name in zip(operation.op_def.input_arg, names, strict=True):
        if part.number_attr or part.type_list_attr:
            count = operation.get_attr(part.number_attr or part.type_list_attr)
            count = count if isinstance(count, int) else len(count)
            arguments[python_name] = [argument(x) for x in operation.inputs[position : position + count]]
        else:
            count = 1
            arguments[python_name] = argument(operation.inputs[position])
        position += count
    name = builder.name_for(tensor, operation.type.lower())
    if "seed2" in attributes:
        attributes |= {"seed": 0, "seed2": _seed(name)}
    by_batch = any(not probe.depends_on_data(x) and probe.value(x) is None for x in inputs)
    inferred = tensor.shape.rank is not None and tensor.shape[1:].is_fully_defined()
    shape = probe.shape(tensor) if (by_batch or not inferred) and len(operation.outputs) == 1 else None
    layer = Operation(operation.type, arguments, attributes, shape, name=name)
    inputs = inputs or [next(iter(builder.trace.inputs.values()))]
    return layer_rule(inputs[0] if len(inputs) == 1 else inputs, layer, large)


def _seed(name: str) -> int:
    """Returns a seed, so that the same model always draws the same random numbers, and each layer others."""
    return zlib.crc32(name.encode()) & 0x7FFFFFFF


def _python_names(operation: tf.Operation, function: Any) -> tuple[list[str], dict[str, Any]]:
    """Returns the names of an operation's inputs in `tf.raw_ops`, and its attributes by theirs.

    Some differ from those in graphs, such as `axis`, which graphs call `reduction_indices`.
    """
    inputs = list(operation.op_def.input_arg)
    inferred = {name for part in inputs for name in (part.type_attr, part.number_attr, part.type_list_attr)}
    attributes = [part.name for part in operation.op_def.attr if part.name not in inferred]
    parameters = [name for name in inspect.signature(function).parameters if name != "name"]
    known = {*(part.name for part in inputs), *attributes}
    of_inputs = [name for name in parameters if name not in known and _is_required(function, name)]
    of_attributes = [name for name in parameters if name not in known and not _is_required(function, name)]
    names = [part.name if part.name in parameters else of_inputs.pop(0) for part in inputs]
    values = {}
    for name in attributes:
        if name in parameters or of_attributes:
            values[name if name in parameters else of_attributes.pop(0)] = _plain(operation.get_attr(name))
    return names, values


def _is_required(function: Any, name: str) -> bool:
    return inspect.signature(function).parameters[name].default is inspect.Parameter.empty


def _has_functions(operation: tf.Operation) -> bool:
    return any(attribute.type in ("func", "list(func)") for attribute in operation.op_def.attr)


def _why(operation: tf.Operation, kinds: set[tf.DType]) -> str:
    if operation.type in _PYTHON:
        return "which runs Python code"
    if operation.type in _CALLS:
        return "a function of a SavedModel"
    if _has_functions(operation):
        return "a loop or condition on values"
    if tf.variant in kinds:
        return "a list of tensors, as a loop makes it"
    if tf.string in kinds:
        return "which works on texts"
    return "which keeps a state" if tf.resource in kinds else "which its public interface does not have"


def _plain(value: Any) -> Any:
    """Returns the value of an attribute as JSON can hold it, and as `tf.raw_ops` takes it."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, tf.DType):
        return value.name
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, "dim"):  # a TensorShapeProto
        return None if value.unknown_rank else [None if side.size < 0 else side.size for side in value.dim]
    return value
