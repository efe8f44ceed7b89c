"""Functions that the TFLite converter takes, made from Keras models and SavedModels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError, first_line
from tfcompress.export.norms import plain_norms
from tfcompress.models.layers import unquantizable
from tfcompress.models.outputs import Outputs, outputs_of
from tfcompress.models.safety import check_safe
from tfcompress.names import distinct_names
from tfcompress.quiet import native_libraries_quiet


@dataclass(frozen=True, eq=False)
class ServingFunction:
    """The inference function of a model, for inputs of batch size 1.

    Attributes:
        function: a `tf.function` with an input signature that takes one tensor per input and returns its outputs in a
            dictionary by name.
        owner: keeps the function's variables alive.
        name: what error messages call the model.
    """

    function: tf.types.experimental.PolymorphicFunction
    owner: object
    name: str

    @property
    def fake_quantizes(self) -> bool:
        """Whether the model went through quantization-aware training."""
        graph = self.function.get_concrete_function().graph.as_graph_def()
        nodes = chain(graph.node, *(function.node_def for function in graph.library.function))
        return any(node.op.startswith("FakeQuant") for node in nodes)


def serve_classifier(
    model: tf_keras.Model, logits: bool = False, quantized: bool = False, outputs: Outputs | None = None
) -> ServingFunction:
    """Returns the function of a classifier, with one output, float32 `(1, classes)`.

    Args:
        model: gives logits or probabilities.
        logits: name the output `logits` and add no softmax; otherwise the output is `probabilities`.
        quantized: the model went through quantization-aware training; keep the softmax in float32.
        outputs: what the model gives; found out by default.

    Raises:
        UserError: it cannot be found out what the model gives.
    """
    given = Outputs.LOGITS if logits else outputs or outputs_of(model)

    def name_output(output: tf.Tensor) -> dict[str, tf.Tensor]:
        if logits:
            return {"logits": output}
        if quantized and given is Outputs.LOGITS:
            output = unquantizable(output)
        return {"probabilities": given.to_probabilities(output)}

    return _serve(model, name_output)


def serve_model(model: tf_keras.Model) -> ServingFunction:
    """Returns the function of any model, with its outputs unchanged and named after the layers that compute them.

    Raises:
        UserError: the model keeps a state between its calls.
    """
    _check_stateless(model)
    model = _in_float32(model, tf_keras.models.clone_model)
    names = distinct_names([x.node.layer.name for x in model.outputs], "output")
    return _serve(model, lambda outputs: dict(zip(names, tf.nest.flatten(outputs), strict=True)))


def serve_keras_3(model: Any, name: str) -> ServingFunction:
    """Returns the function of a functional or sequential Keras 3 model, traced in inference.

    Args:
        model: with one or more inputs of fixed shape and the TensorFlow backend.
        name: what error messages call it.

    Raises:
        UserError: an input has no fixed shape, or the model keeps a state between its calls.
    """
    import keras

    _check_stateless(model)
    inputs = list(model.inputs)
    check_shapes({x.name: (None,) if x.dtype == "string" else tuple(x.shape[1:]) for x in inputs}, name)
    model = _in_float32(model, keras.models.clone_model)
    names = distinct_names(getattr(model, "output_names", None) or ["output_0"], "output")
    batch_of_one = [tf.TensorSpec((1, *x.shape[1:]), x.dtype, name=x.name) for x in inputs]
    structure = getattr(model, "_inputs_struct", None)

    @tf.function(input_signature=batch_of_one, autograph=False)  # type: ignore[untyped-decorator]
    def serve(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        given = keras.tree.pack_sequence_as(structure, list(tensors)) if structure is not None else tensors[0]
        return dict(zip(names, keras.tree.flatten(model(given, training=False)), strict=True))

    owner = tf.Module()
    owner.weights = [variable.value for variable in model.variables]
    return ServingFunction(serve, owner, name)


def _check_stateless(model: Any) -> None:
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            raise UserError(
                f"layer {layer.name} keeps a state between calls, which a .tflite file of one call cannot; build it "
                "with stateful=False"
            )


def _in_float32(model: Any, clone: Callable[..., Any]) -> Any:
    """Returns a model that computes in half precision as one that computes in float32, with the same weights."""
    if not any("16" in str(getattr(layer, "compute_dtype", "")) for layer in model.layers):
        return model

    def full(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config({**config, "dtype": "float32"} if "16" in str(config.get("dtype")) else config)

    copy = clone(model, clone_function=full)
    copy.set_weights(model.get_weights())
    return copy


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
    signature = signatures["serving_default" if "serving_default" in signatures else next(iter(signatures))]
    # The order of the inputs changes from process to process.
    specs = dict(sorted(signature.structured_input_signature[1].items()))
    check_shapes({key: _shape_of_example(spec) for key, spec in specs.items()}, name)
    batch_of_one = [tf.TensorSpec((1, *spec.shape[1:]), spec.dtype, key) for key, spec in specs.items()]

    @tf.function(input_signature=batch_of_one, autograph=False)  # type: ignore[untyped-decorator]
    def serve(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs: dict[str, tf.Tensor] = signature(**dict(zip(specs, inputs, strict=True)))
        return outputs

    return ServingFunction(serve, loaded, name)


def check_shapes(inputs: Mapping[str, tuple[int | None, ...]], name: str) -> None:
    """Raises a `UserError` for an input whose shape, without the batch axis, is not fixed."""
    for key, shape in inputs.items():
        if None in shape:
            raise UserError(
                f"{name}: input {key} must be a tensor of numbers (not of texts) whose batch size is free or 1 and "
                "whose other dimensions are fixed; export the model with such an input"
            )


def _serve(model: tf_keras.Model, name_outputs: Callable[[tf.Tensor], dict[str, tf.Tensor]]) -> ServingFunction:
    batch_of_one = [tf.TensorSpec((1, *x.shape[1:]), x.dtype, name=x.node.layer.name) for x in model.inputs]
    for layer in model._flatten_layers():
        if isinstance(layer, tf_keras.layers.LSTM):
            # Otherwise the converter fuses it into an operator that keeps its state from one inference to the next.
            layer._could_use_gpu_kernel = False

    @tf.function(input_signature=batch_of_one, autograph=False)  # type: ignore[untyped-decorator]
    def serve(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        with plain_norms(model):
            return name_outputs(model(inputs[0] if len(inputs) == 1 else list(inputs), training=False))

    # The converter saves its owner object: saving only the weights takes a quarter of the time of saving the layers.
    owner = tf.Module()
    owner.weights = model.weights
    return ServingFunction(serve, owner, model.name)


def _shape_of_example(spec: tf.TensorSpec) -> tuple[int | None, ...]:
    """Returns the shape of an input without its batch axis; `(None,)` if the converter cannot take the input."""
    if spec.dtype == tf.string or not spec.shape.rank or spec.shape[0] not in (None, 1):
        return (None,)
    return tuple(spec.shape[1:])
