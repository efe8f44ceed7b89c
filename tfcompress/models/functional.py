"""Turns a Keras model of any kind into a functional tf_keras model that every technique can handle."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError, first_line
from tfcompress.models import stock
from tfcompress.models.emission import Builder, CannotCopyError
from tfcompress.models.expand import Call, Trace, advice_on, trace
from tfcompress.models.lookup import Table
from tfcompress.models.modes import trace_both
from tfcompress.models.probing import Probe, random_inputs
from tfcompress.models.signature import Signature, check_stateless, library, output_names, signature

Arrays = dict[str, npt.NDArray[Any]]

_TOLERANCE = 1e-5
"""Largest accepted difference between the outputs of a model and its copy, relative to the largest output.

A mask that is added to the scores of an attention leaves 4e-18 of what it masks, so that is no exception.
"""

_TOLERANCE_ALONE = 1e-3
"""The same for the outputs of an example alone and in a batch, which are computed in another order."""


def as_functional(model: object, features: Any = None) -> tf_keras.Model:
    """Returns a functional tf_keras copy of a model, in the form that techniques treat best; see `expanded`."""
    copy, _ = as_functional_with_tables(model, features)
    return copy


def as_functional_with_tables(model: object, features: Any = None) -> tuple[tf_keras.Model, tuple[Table, ...]]:
    """Returns `as_functional`'s copy, and what looks words up before it.

    Layers such as `TextVectorization` that read an input of the model are not part of the copy. Its inputs are what
    they return.
    """
    copy, traced = _traced_copy(model, features)
    if traced.losses:
        where = ", ".join(path or "its own code" for path in traced.losses)
        warnings.warn(
            f"model {copy.name} is trained without the losses that its layers add with add_loss, here in {where}; what "
            "they are to achieve can get lost",
            UserWarning,
            stacklevel=2,
        )
    return copy, tuple(traced.tables)


def with_listed_outputs(model: tf_keras.Model) -> tuple[tf_keras.Model, tuple[str, ...]]:
    """Returns a functional model that gives no dictionary but a list, or a single output; and the outputs' names."""
    names = tuple(output_names(model, model.output, len(model.outputs)))
    listed = isinstance(model.output, Mapping)
    return tf_keras.Model(model.inputs, list(model.outputs), name=model.name) if listed else model, names


def expanded(model: object, features: Any = None, training: bool = True) -> tf_keras.Model:
    """Returns a functional tf_keras copy that consists of Keras's own layers and those of `models.layers`.

    The model may be functional, sequential or subclassed, of tf_keras or Keras 3, and contain other models. Its code
    is traced; what its own layers compute becomes Keras's layers where one computes the same, and single operations
    otherwise. A `MultiHeadAttention` becomes Dense query, key, value and output projections and a
    `ScaledDotProductAttention`; a Conv2D that cuts an image into patches becomes a Dense layer on patches; the softmax
    of a Dense layer becomes a separate layer; masks become inputs of the layers that use them; a model in mixed
    precision computes in float32. The copy has the same weights, and its outputs are compared with the original's.
    The original is not modified.

    Args:
        model: the model; it must have been called or built.
        features: `tf.TensorSpec` of one example, or several by input name; needed for subclassed models with integer
            inputs or inputs of open shape.
        training: whether the copy computes in training what the model computes then; else it is for inference alone.

    Raises:
        UserError: the model has inputs of unknown or variable shape, or something in it has no equal; the message
            names the layer; or its outputs for an example depend on the others in the batch.
    """
    return _traced_copy(model, features, training)[0]


def _traced_copy(model: object, features: Any, training: bool = True) -> tuple[tf_keras.Model, Trace]:
    """Returns `expanded`'s copy, and the trace that it was made of."""
    keras_model: Any = model
    library(model)
    check_stateless(model)
    inputs = signature(model, features)
    apart: set[int] = set()
    while True:
        traced = (trace_both if training else trace)(keras_model, inputs, apart)
        probe = Probe(traced)
        builder = Builder(traced, probe, keras_model)
        try:
            copy = builder.build()
        except CannotCopyError as error:
            _take_apart(error.call, apart, str(error))
            continue
        examples = random_inputs(probe, 4, seed=1)
        given = examples | {table.feature: table.samples(4, seed=1) for table in traced.tables}
        looked_up = {t.result: np.stack([t(tf.constant(x)) for x in given[t.feature]]) for t in traced.tables}
        difference = _difference(keras_model, inputs, copy, given | looked_up, given)
        if difference <= _TOLERANCE:
            _check_alone(copy, given | looked_up)
            return copy, traced
        wrong = _first_difference(traced, probe, builder, examples)
        if wrong is None or id(wrong.layer) in apart:
            _check_repeats(keras_model, inputs, given)
            raise UserError(
                f"model {keras_model.name} could not be rewritten: its outputs changed by {difference:.2g} of the "
                "largest; please report this"
            )
        _take_apart(wrong, apart, f"its outputs changed by {difference:.2g} of the largest")


def check_same_outputs(model: Any, copy: tf_keras.Model, features: Arrays) -> None:
    """Compares the outputs of a model and its copy on examples of the user's data.

    Args:
        model: of tf_keras or Keras 3.
        copy: what `expanded` returned.
        features: the inputs of a few examples by name, each with a batch axis.

    Raises:
        UserError: they differ.
    """
    inputs = signature(model, {name: tf.TensorSpec(x.shape[1:], x.dtype) for name, x in features.items()})
    difference = _difference(model, inputs, copy, features)
    if difference > _TOLERANCE:
        raise UserError(
            f"model {model.name} could not be rewritten: on the training data its outputs changed by {difference:.2g} "
            "of the largest; please report this"
        )


def _check_repeats(model: Any, inputs: Signature, examples: Arrays) -> None:
    """Refuses a model that gives other outputs when it is called again."""
    first, second = (_outputs_of_model(model, inputs, examples) for _ in range(2))
    if max(_relative(a, b) for a, b in zip(first, second, strict=True)) > _TOLERANCE:
        raise UserError(
            f"model {model.name} gives other outputs each time that it is called with the same inputs; let its layers "
            "draw random numbers only where `training` is true"
        )


def _check_alone(copy: tf_keras.Model, examples: Arrays) -> None:
    """Refuses a model whose outputs for an example depend on the others in the batch: a file takes one at a time."""
    given = [tf.constant(examples[name]) for name in copy.input_names]
    together = _outputs(copy, given)
    difference = max(
        _relative(np.asarray(a[one]), np.asarray(b))
        for one in (slice(1), slice(-1, None))  # Of a running sum, the first or the last does not depend on the others.
        for a, b in zip(together, _outputs(copy, [x[one] for x in given]), strict=True)
    )
    if difference > _TOLERANCE_ALONE:
        raise UserError(
            f"model {copy.name} gives an example another output alone than in a batch: they differ by {difference:.2g} "
            "of the largest; make what it computes for an example independent of the others"
        )


def _take_apart(call: Call, apart: set[int], reason: str) -> None:
    """Marks the layer of a call as one that is not copied as a whole."""
    if id(call.layer) in apart:
        raise UserError(
            f"layer {call.path} ({type(call.layer).__name__}) cannot be copied: {reason.splitlines()[0]}; replace it "
            "by other layers"
        )
    apart.add(id(call.layer))


def _difference(
    model: Any, inputs: Signature, copy: tf_keras.Model, examples: Arrays, before: Arrays | None = None
) -> float:
    """Returns the largest difference between the outputs, relative to the largest output.

    The model may take other examples, `before` words are looked up in them.
    """
    expected = _outputs_of_model(model, inputs, examples if before is None else before)
    found = _outputs(copy, [tf.constant(examples[name]) for name in copy.input_names])
    return max(_relative(a, np.asarray(b)) for a, b in zip(expected, found, strict=True))


def _outputs_of_model(model: Any, inputs: Signature, examples: Arrays) -> list[npt.NDArray[Any]]:
    args, kwargs = inputs.arguments({name: tf.constant(x) for name, x in examples.items()})
    try:
        with stock.in_float32(model):
            return [np.asarray(y) for y in tf.nest.flatten(model(*args, training=False, **kwargs))]
    except Exception as error:  # of the user's code
        raise UserError(
            f"model {model.name} fails when it is called with a batch of examples: {first_line(error)}; "
            f"{advice_on(error)}"
        ) from error


def _outputs(copy: tf_keras.Model, given: list[tf.Tensor]) -> list[tf.Tensor]:
    outputs: list[tf.Tensor] = tf.nest.flatten(copy(given[0] if len(given) == 1 else given, training=False))
    return outputs


def _relative(expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    if expected.shape != found.shape:
        return float("inf")
    a, b = expected.astype(np.float64), found.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))  # such as infinity
    a, b = a[~same], b[~same]
    difference = float(np.abs(a - b).max(initial=0)) / max(1e-6, float(np.abs(a).max(initial=0)))
    return difference if np.isfinite(difference) else float("inf")


def _first_difference(traced: Trace, probe: Probe, builder: Builder, examples: Arrays) -> Call | None:
    """Returns the first call of a stock layer whose copy has other outputs."""
    calls = [call for call in traced.calls if all(x.name in builder.made for x in call.outputs)]
    outputs = [[builder.made[x.name] for x in call.outputs] for call in calls]
    copy = tf_keras.Model(list(builder.inputs.values()), outputs)
    expected = probe.run(examples, [x for call in calls for x in call.outputs])
    found = tf.nest.flatten(copy([tf.constant(examples[name]) for name in builder.inputs], training=False))
    wrong = [_relative(a, np.asarray(b)) > _TOLERANCE for a, b in zip(expected, found, strict=True)]
    owners = [call for call in calls for _ in call.outputs]
    return next((call for call, differs in zip(owners, wrong, strict=True) if differs), None)
