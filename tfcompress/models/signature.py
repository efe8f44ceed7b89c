"""Which Keras a model belongs to, and what inputs it takes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError
from tfcompress.names import distinct_names


@dataclass(frozen=True)
class Signature:
    """The inputs of a model.

    Attributes:
        specs: their shapes, with a free batch axis, and dtypes by name.
        arguments: turns values by name into positional and keyword arguments of the model.
    """

    specs: Mapping[str, tf.TensorSpec]
    arguments: Callable[[Mapping[str, Any]], tuple[list[Any], dict[str, Any]]]


def library(model: object) -> ModuleType:
    """Returns the Keras that a model is built with: the module `tf_keras`, or `keras` for Keras 3.

    Raises:
        UserError: it is not a Keras model, or a Keras 3 model of another backend than TensorFlow.
    """
    if isinstance(model, tf_keras.Model):
        return sys.modules["tf_keras"]
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if any(base.__module__.partition(".")[0] == "keras" for base in type(model).__mro__):
        import keras

        if keras.backend.backend() != "tensorflow":
            raise UserError(
                f"the model is a {kind} of Keras 3 with the backend {keras.backend.backend()}; set "
                "KERAS_BACKEND=tensorflow before Keras is imported, or save the model as .keras and pass the file to "
                "`tfcompress run --model`"
            )
        if isinstance(model, keras.Model):
            return sys.modules["keras"]
    raise UserError(f"the model is a {kind}; pass a model of tf_keras or Keras 3")


def output_names(model: Any, outputs: Any, count: int) -> list[str]:
    """Returns what a model of tf_keras or Keras 3 calls its `count` outputs, given what it returns.

    They are the keys of a dictionary; else those of a functional model are named after the layers that compute them,
    and those of other models `output_0`, `output_1` ….
    """
    if isinstance(outputs, Mapping) and len(outputs) == count:
        return [str(key) for key in sorted(outputs)]
    of_tf_keras = library(model) is tf_keras
    if not getattr(model, "inputs", None) or not (of_tf_keras or hasattr(model, "output_names")):
        return [f"output_{place}" for place in range(count)]  # Keras 3 names those of functional models only.
    own = [x.node.layer.name for x in model.outputs] if of_tf_keras else model.output_names
    return distinct_names(own, "output")


def signature(model: Any, features: Any = None) -> Signature:
    """Returns the inputs of a model.

    Args:
        model: a model of tf_keras or Keras 3 that has been called.
        features: the `tf.TensorSpec` of one example, without a batch axis, or several by name. They say what a
            subclassed model takes if Keras has only recorded shapes, and fix dimensions that the model leaves open.

    Raises:
        UserError: the inputs are unknown, or more dimensions than the batch are open.
    """
    structure = _by_keyword(model, features) or _recorded(model)
    flat = tf.nest.flatten(structure)
    given = features if isinstance(features, Mapping) else {}
    names = _names(structure, flat)
    specs = {}
    for name, spec in zip(names, flat, strict=True):
        found = given.get(name, features if len(flat) == 1 and isinstance(features, tf.TensorSpec) else None)
        specs[name] = _completed(name, spec, found, bool(getattr(model, "inputs", None)))

    def arguments(values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        packed = tf.nest.pack_sequence_as(structure, [values[name] for name in names])
        return packed[0], packed[1]

    return Signature(specs, arguments)


def _by_keyword(model: Any, features: Any) -> list[Any] | None:
    """Returns the arguments of a subclassed model that takes each feature as one of its own, else None.

    Keras 3 records the shape of the first argument only.
    """
    if library(model).__name__ != "keras" or getattr(model, "inputs", None) or not isinstance(features, Mapping):
        return None
    if len(features) < 2 or not set(features) <= set(inspect.signature(model.call).parameters):
        return None
    specs = {name: tf.TensorSpec((None, *spec.shape), spec.dtype, name) for name, spec in features.items()}
    return [[], specs]


def _recorded(model: Any) -> list[Any]:
    """Returns the positional and keyword arguments of a model as structures of `tf.TensorSpec`."""
    keras = library(model)
    if getattr(model, "inputs", None):
        struct = getattr(model, "_inputs_struct" if keras.__name__ == "keras" else "_nested_inputs", None)
        return [[tf.nest.map_structure(_spec_of_input, model.inputs[0] if struct is None else _plain(struct))], {}]
    if keras.__name__ == "tf_keras":
        saved = model.save_spec()
        if saved is not None:
            return [list(saved[0]), {key: value for key, value in saved[1].items() if key != "training"}]
    elif getattr(model, "_build_shapes_dict", None) and model.built:
        (_, first), *others = model._build_shapes_dict.items()
        rest = {name.removesuffix("_shape"): _specs_of_shapes(shapes, model) for name, shapes in others}
        _check_recorded(model, 1 + len(rest))
        return [[_specs_of_shapes(first, model)], rest]
    raise UserError(
        f"model {model.name} has never been called, so its inputs are not known; call it on one batch, as training or "
        "loading its weights does"
    )


def _check_recorded(model: Any, recorded: int) -> None:
    """Refuses a model of Keras 3 that needs more arguments than those whose shapes Keras recorded."""
    needed = [name for name, parameter in _arguments(model).items() if parameter.default is parameter.empty]
    if len(needed) > recorded:
        raise UserError(
            f"model {model.name} takes the arguments {', '.join(needed)}, of which Keras 3 keeps the shape of the "
            f"first alone; {ADVICE_ON_ARGUMENTS}"
        )


ADVICE_ON_ARGUMENTS = (
    "make a functional model of it, `keras.Model(inputs, model(**inputs))`, where `inputs` has a `keras.Input` by the "
    "name of each"
)


def check_stateless(model: Any) -> None:
    """Raises a `UserError` if a layer keeps a state between calls, such as a stateful LSTM."""
    if stateful := [x for x in model._flatten_layers(include_self=False) if getattr(x, "stateful", False)]:
        raise UserError(
            f"layer {stateful[-1].name} keeps a state between calls, which a .tflite file of one call cannot; build it "
            "with stateful=False"
        )


def unrecorded_arguments(model: Any) -> list[str]:
    """Returns the optional arguments of a subclassed model of Keras 3, whose use Keras does not record."""
    if library(model) is tf_keras or getattr(model, "inputs", None):
        return []
    recorded = len(getattr(model, "_build_shapes_dict", None) or ())
    others = list(_arguments(model).items())[recorded:]
    return [name for name, parameter in others if parameter.default is None and name != "mask"]


def _arguments(model: Any) -> dict[str, inspect.Parameter]:
    """Returns the parameters of a model's `call` that can take tensors."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = {name: x for name, x in inspect.signature(model.call).parameters.items() if x.kind in kinds}
    return {name: x for name, x in found.items() if name != "training" and x.default in (x.empty, None)}


def _plain(struct: Any) -> Any:
    """Returns a structure of inputs without the layers of lists around a single one."""
    return struct[0] if isinstance(struct, (list, tuple)) and len(struct) == 1 else struct


def _spec_of_input(tensor: Any) -> tf.TensorSpec:
    layer = getattr(getattr(tensor, "node", None), "layer", None)  # tf_keras names tensors otherwise than their layers
    name = str(layer.name if layer is not None else tensor.name)
    return tf.TensorSpec(tuple(tensor.shape), tensor.dtype, "input" if name.startswith("keras_tensor") else name)


def _specs_of_shapes(struct: Any, model: Any) -> Any:
    if isinstance(struct, Mapping):
        return {str(key): _specs_of_shapes(value, model) for key, value in struct.items()}
    if all(side is None or isinstance(side, int) for side in struct):
        return tf.TensorSpec(tuple(struct), model.input_dtype)
    return [_specs_of_shapes(part, model) for part in struct]


def _names(structure: list[Any], flat: list[tf.TensorSpec]) -> list[str]:
    """Returns a name for each input: the key that its value has in a dict, else its own, else `input`."""
    paths = [path for path, _ in _with_paths(structure, ())]
    names: list[str] = []
    for path, spec in zip(paths, flat, strict=True):
        keys = [part for part in path if isinstance(part, str)]
        own = (spec.name or "").partition("/")[0]
        name = keys[-1] if keys else own if own and not own.startswith(("args_", "inputs")) else "input"
        numbered = (f"{name}_{i}" for i in range(1, len(flat) + 1))
        names.append(name if name not in names else next(other for other in numbered if other not in names))
    return names


def _with_paths(structure: Any, path: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], Any]]:
    """Returns the leaves of a structure in the order of `tf.nest`, each with the keys and indices that lead to it."""
    if isinstance(structure, Mapping):
        return [leaf for key in sorted(structure) for leaf in _with_paths(structure[key], (*path, key))]
    if isinstance(structure, (list, tuple)):
        return [leaf for i, part in enumerate(structure) for leaf in _with_paths(part, (*path, i))]
    return [(path, structure)]


def _completed(name: str, spec: tf.TensorSpec, given: tf.TensorSpec | None, knows_dtype: bool) -> tf.TensorSpec:
    """Returns the spec of an input with a free batch axis and no other open dimension."""
    if spec.shape.rank is None:
        raise UserError(f"input {name} has no known rank; fix the shapes of the model's inputs")
    sides = list(spec.shape[1:])
    if given is not None and given.shape.rank == len(sides):
        sides = [side if side is not None else of_data for side, of_data in zip(sides, given.shape, strict=True)]
    if None in sides:
        raise UserError(f"input {name} has shape {tuple(spec.shape)}; all dimensions but the batch must be fixed")
    dtype = spec.dtype if given is None or knows_dtype else given.dtype
    return tf.TensorSpec((None, *sides), tf.as_dtype(dtype), name)
