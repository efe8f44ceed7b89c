"""Functions that the TFLite converter takes, made from Keras models and SavedModels."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow.python.autograph.core.ag_ctx import ControlStatusCtx, Status

from tfcompress.errors import UserError, first_line
from tfcompress.export.lengths import shortened
from tfcompress.export.norms import plain_norms
from tfcompress.models.expand import advice_on
from tfcompress.models.functional import expanded
from tfcompress.models.lookup import KINDS
from tfcompress.models.operations import unquantizable
from tfcompress.models.outputs import Outputs, outputs_of
from tfcompress.models.safety import check_safe
from tfcompress.models.scopes import valid_names
from tfcompress.models.signature import (
    ADVICE_ON_ARGUMENTS,
    check_stateless,
    library,
    output_names,
    signature,
    unrecorded_arguments,
)
from tfcompress.models.stock import in_float32
from tfcompress.names import distinct_names, graph_name, plain_name
from tfcompress.quiet import native_libraries_quiet


@dataclass(frozen=True, eq=False)
class ServingFunction:
    """The inference function of a model, for inputs of batch size 1.

    Attributes:
        function: a `tf.function` with an input signature that takes one tensor per input and returns its outputs in a
            dictionary by name.
        owner: keeps the function's variables alive.
        name: what error messages call the model.
        taken_apart: returns the same of stock layers, whose operators TFLite has more often; None if that is not known.
        advice: what the user can do about an operator that TFLite does not have.
    """

    function: tf.types.experimental.PolymorphicFunction
    owner: object
    name: str
    taken_apart: Callable[[], ServingFunction | None] = lambda: None
    advice: str = "build the model from operators that TFLite has"

    @property
    def fake_quantizes(self) -> bool:
        """Whether the model went through quantization-aware training."""
        graph = self.function.get_concrete_function().graph.as_graph_def()
        nodes = chain(graph.node, *(function.node_def for function in graph.library.function))
        return any(node.op.startswith("FakeQuant") for node in nodes)


def serve_answers(
    model: tf_keras.Model,
    logits: bool = False,
    quantized: bool = False,
    outputs: Outputs | None = None,
    names: Sequence[str] = ("probabilities",),
    length: int | None = None,
) -> ServingFunction:
    """Returns the function of a model whose outputs, float32 `(1, …)`, answer a task.

    Args:
        model: gives logits, probabilities or other numbers.
        logits: name the output `logits` and add no softmax or sigmoid.
        quantized: the model went through quantization-aware training; keep the softmax or sigmoid in float32.
        outputs: what the model gives; by default it is found out, of a classifier.
        names: of the outputs otherwise; if there are none, outputs keep their own names and values.
        length: the number of tokens that a text model takes, see `tfcompress.export.lengths`; by default all.

    Raises:
        UserError: it cannot be found out what the model gives.
    """
    if not names:
        return serve_model(model, length=length)
    given = (Outputs.LOGITS if logits else outputs_of(model)) if outputs is None else outputs

    def name_outputs(made: Any) -> dict[str, tf.Tensor]:
        if logits:
            return {"logits": made}
        flat = tf.nest.flatten(made)
        if quantized and given.are_logits:
            flat = [unquantizable(output) for output in flat]
        return {name: given.to_probabilities(output) for name, output in zip(names, flat, strict=True)}

    return _serve(model, name_outputs, length=length)


def serve_model(model: Any, name: str = "", length: int | None = None) -> ServingFunction:
    """Returns the function of any model of tf_keras or Keras 3, traced in inference, with its outputs unchanged.

    The outputs have the order of Keras. In a dictionary they have its keys as names; else those of a functional model
    are named after the layers that compute them, and those of other models `output_0`, `output_1` ….

    Args:
        model: with inputs of fixed shape, and called before if it is subclassed.
        name: what error messages call it; by default its own name.
        length: the number of tokens that a text model takes, see `tfcompress.export.lengths`; by default all.

    Raises:
        UserError: an input has no fixed shape or takes texts, or a layer keeps a state between calls or looks its input
            up.
    """
    check_stateless(model)
    for layer in model._flatten_layers(include_self=False):
        if type(layer).__name__ in KINDS and type(layer).__module__.startswith(("keras.", "tf_keras.")):
            raise UserError(
                f"layer {layer.name} ({type(layer).__name__}) looks its input up, which a .tflite file cannot; apply "
                "it to the data instead, and build the model without it"
            )
    if unrecorded := unrecorded_arguments(model):
        warnings.warn(
            f"model {name or model.name} is served without {', '.join(unrecorded)}, of which Keras 3 keeps no shapes; "
            f"if they are inputs, {ADVICE_ON_ARGUMENTS}",
            UserWarning,
            stacklevel=2,
        )
    names: list[str] = []

    def name_outputs(outputs: Any) -> dict[str, tf.Tensor]:
        flat = tf.nest.flatten(outputs)
        names[:] = names or output_names(model, outputs, len(flat))
        return dict(zip(names, flat, strict=True))

    def taken_apart() -> ServingFunction | None:
        try:
            return _serve(expanded(model, training=False), name_outputs, name, length)
        except UserError:
            return None

    return replace(_serve(model, name_outputs, name, length), taken_apart=taken_apart)


def serve_saved_model(path: Path, name: str, allow_code: bool) -> ServingFunction:
    """Returns the function of a SavedModel's signature. The Python classes that it was saved from are not needed.

    Args:
        path: a SavedModel folder.
        name: what error messages call it.
        allow_code: skip `tfcompress.models.safety.check_safe`.

    Raises:
        UserError: the SavedModel is damaged or can run code, it has no signature or several without a
            `serving_default`, or an input has no fixed shape.
    """
    try:
        if not allow_code:
            check_safe(path)
        with native_libraries_quiet():
            loaded = tf.saved_model.load(str(path))
        signatures = loaded.signatures
    except UserError:
        raise
    except (AttributeError, KeyError, OSError, TypeError, ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"{name} cannot be loaded as a SavedModel: {first_line(error)}; export the model again"
        ) from error
    if "serving_default" not in signatures and len(signatures) != 1:
        raise UserError(
            f"{name} has the signatures {', '.join(signatures) or 'none'}; a SavedModel needs one that is called "
            "serving_default, or exactly one"
        )
    entry = signatures["serving_default" if "serving_default" in signatures else next(iter(signatures))]
    # The order of the inputs changes from process to process.
    specs = dict(sorted(entry.structured_input_signature[1].items()))
    check_shapes({key: _shape_of_example(spec) for key, spec in specs.items()}, name)
    batch_of_one = [tf.TensorSpec((1, *spec.shape[1:]), spec.dtype, key) for key, spec in specs.items()]

    @tf.function(input_signature=batch_of_one, autograph=False)  # type: ignore[untyped-decorator]
    def serve(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs: dict[str, tf.Tensor] = entry(**dict(zip(specs, inputs, strict=True)))
        # A SavedModel does not keep their order; Keras numbers them, or sorts the keys of a dictionary.
        return {name: outputs[name] for name in sorted(outputs, key=_by_number)}

    # What computes the same of other operators is found in layers, which a SavedModel need not have.
    advice = f"give the Keras model instead, as a .keras or .h5 file, or {ServingFunction.advice}"
    return ServingFunction(serve, loaded, name, advice=advice)


def _by_number(name: str) -> tuple[str, int]:
    """Returns a key that sorts `output_10` after `output_9`."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1)


def check_shapes(inputs: Mapping[str, tuple[int | None, ...]], name: str) -> None:
    """Raises a `UserError` for an input whose shape, without the batch axis, is not fixed."""
    for key, shape in inputs.items():
        if None in shape:
            raise UserError(
                f"{name}: input {key} must be a tensor of numbers (not of texts) whose batch size is free or 1 and "
                "whose other dimensions are fixed; export the model with such an input"
            )


def _serve(
    model: Any, name_outputs: Callable[[Any], dict[str, tf.Tensor]], name: str = "", length: int | None = None
) -> ServingFunction:
    name = name or model.name
    for x in getattr(model, "inputs", None) or ():
        text = tf.as_dtype(x.dtype) == tf.string
        check_shapes({_name_of_input(x): (None,) if text else tuple(x.shape[1:])}, name)
    takes = signature(model)
    keys = distinct_names([graph_name(key) for key in takes.specs], "input")
    batch_of_one = [
        tf.TensorSpec(
            (1, *(spec.shape[1:] if length is None else (length,))),
            tf.float32 if spec.dtype.is_floating else spec.dtype,
            key,
        )
        for key, spec in zip(keys, takes.specs.values(), strict=True)
    ]
    inference = {"training": False} if "training" in inspect.signature(model.call).parameters else {}

    @tf.function(input_signature=batch_of_one, autograph=False)  # type: ignore[untyped-decorator]
    def serve(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        args, kwargs = takes.arguments(dict(zip(takes.specs, inputs, strict=True)))
        with ExitStack() as entered:
            for change in (in_float32, valid_names, plain_norms, _unfused_lstms, _converting):
                entered.enter_context(change(model))
            entered.enter_context(shortened(model, length))
            try:
                outputs = model(*args, **kwargs, **inference)
            except UserError:
                raise
            except Exception as error:  # of the user's code
                raise UserError(
                    f"{name} fails when it is called with one example in a graph: {first_line(error)}; "
                    f"{advice_on(error)}"
                ) from error
            return name_outputs(outputs)

    # The converter saves its owner object: saving only the weights takes a quarter of the time of saving the layers.
    owner = tf.Module()
    own = model.variables
    owner.weights = own if library(model) is tf_keras else [_with_valid_name(variable.value) for variable in own]
    return ServingFunction(serve, owner, name)


def _with_valid_name(weight: tf.Variable) -> tf.Variable:
    """Returns a weight of Keras 3, whose name can have spaces and accents, under a name that it can be saved by."""
    weight._handle_name = graph_name(plain_name(weight._handle_name)) + ":0"
    return weight


def _name_of_input(x: Any) -> str:
    return str(x.node.layer.name if hasattr(x, "node") else x.name)


@contextmanager
def _unfused_lstms(model: Any) -> Iterator[None]:
    """Keeps the converter from fusing an LSTM of tf_keras into an operator that keeps its state while it is entered."""
    fused = [layer for layer in model._flatten_layers() if getattr(layer, "_could_use_gpu_kernel", False) is True]
    for layer in fused:
        layer._could_use_gpu_kernel = False
    try:
        yield
    finally:
        for layer in fused:
            layer._could_use_gpu_kernel = True


@contextmanager
def _converting(model: Any) -> Iterator[None]:
    """Lets AutoGraph convert the code of tf_keras layers, which may loop over tensors; Keras 3 converts none."""
    with ControlStatusCtx(Status.ENABLED if library(model) is tf_keras else Status.DISABLED):
        yield


def _shape_of_example(spec: tf.TensorSpec) -> tuple[int | None, ...]:
    """Returns the shape of an input without its batch axis; `(None,)` if the converter cannot take the input."""
    if spec.dtype == tf.string or not spec.shape.rank or spec.shape[0] not in (None, 1):
        return (None,)
    return tuple(spec.shape[1:])
