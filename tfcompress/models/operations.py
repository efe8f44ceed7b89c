"""Layers that stand for what a model does outside of Keras's layers: operations, and weights of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

_register = tf_keras.utils.register_keras_serializable("tfcompress")

_LARGEST_IN_CONFIG = 64
"""A constant with more numbers is stored among the weights instead of the configuration."""


def unquantizable(tensor: tf.Tensor) -> tf.Tensor:
    """Multiplies a tensor by 1 + 1.2e-7, so that TFLite's converter does not quantize the operators before it.

    The converter makes the operators that lead to a fake-quantized tensor int8. Softmax probabilities would then have
    steps of 1/256, which is too coarse for hundreds of tokens. The converter stops at a multiplication whose output is
    not fake-quantized; it would remove a multiplication by exactly 1.
    """
    return tensor * np.nextafter(np.float32(1), np.float32(2))


def _in_order(inputs: Any) -> list[tf.Tensor]:
    return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]


@_register
class Operation(tf_keras.layers.Layer):
    """Calls one TensorFlow operation, `tf.raw_ops.NAME`.

    Inputs: the tensors among its arguments, a single one without a list. Output: that of the operation, or a list.

    Args:
        operation: the name in `tf.raw_ops`.
        arguments: for each argument of the operation the position of an input, a constant as `{"dtype", "value"}` or,
            if it is large and therefore a weight, `{"dtype", "shape"}`, or a list of these.
        attributes: the attributes of the operation that do not follow from its arguments.
        shape: of the only output, None for open sides, if TensorFlow cannot infer it.
        keep_float: whether the only output stays float in quantized models; see `unquantizable`.
    """

    def __init__(
        self,
        operation: str,
        arguments: Mapping[str, Any],
        attributes: Mapping[str, Any],
        shape: Sequence[int | None] | None = None,
        keep_float: bool = False,
        **kwargs: object,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self._shape, self._keep_float = shape, keep_float
        self.operation = operation
        self._arguments = arguments
        self._attributes = attributes

    def build(self, input_shape: object) -> None:
        self._large = [
            self.add_weight(f"constant_{i}", x["shape"], x["dtype"], initializer="zeros", trainable=False)
            for i, x in enumerate(self._stored())
        ]
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        given, large = _in_order(inputs), iter(self._large)

        def value(argument: Any) -> Any:
            if isinstance(argument, Mapping) and "shape" in argument:
                return tf.convert_to_tensor(next(large))
            if isinstance(argument, Mapping):
                return tf.constant(argument["value"], argument["dtype"])
            return [value(part) for part in argument] if isinstance(argument, (list, tuple)) else given[argument]

        arguments = {name: value(argument) for name, argument in self._arguments.items()}
        outputs = getattr(tf.raw_ops, self.operation)(**arguments, **self._attributes)
        if isinstance(outputs, (list, tuple)):
            return list(outputs)
        if self._shape is not None:
            outputs.set_shape(self._shape)
        return unquantizable(outputs) if self._keep_float else outputs

    def _stored(self) -> list[Mapping[str, Any]]:
        flat = [x for part in self._arguments.values() for x in (part if isinstance(part, (list, tuple)) else [part])]
        return [x for x in flat if isinstance(x, Mapping) and "shape" in x]

    def get_config(self) -> dict[str, object]:
        own = {"operation": self.operation, "arguments": self._arguments, "attributes": self._attributes}
        return {**super().get_config(), **own, "shape": self._shape, "keep_float": self._keep_float}


def constant_argument(value: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Returns a constant as an argument of an `Operation`; a large one must be set as a weight afterwards."""
    kind = {"dtype": value.dtype.name}
    return kind | ({"value": value.tolist()} if value.size <= _LARGEST_IN_CONFIG else {"shape": list(value.shape)})


@_register
class Weight(tf_keras.layers.Layer):
    """Returns a weight, such as a position embedding or the factors of a LayerScale.

    Input: any tensor, of which only the length of the batch matters. Output: the weight, in its own shape or repeated
    for each example of the batch.

    Args:
        shape: of the weight; `(1, …)` if it is repeated.
        per_example: whether to repeat it.
        kind: its dtype.
    """

    def __init__(
        self, shape: Sequence[int], per_example: bool = False, kind: str = "float32", **kwargs: object
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self._shape, self._per_example, self._kind = list(shape), per_example, kind

    def build(self, input_shape: object) -> None:
        # TensorFlow has no gradient for integers, so they are never trainable.
        trainable = self.trainable and tf.as_dtype(self._kind).is_floating
        self.value = self.add_weight("value", self._shape, self._kind, initializer="zeros", trainable=trainable)
        super().build(input_shape)

    def call(self, inputs: Any) -> tf.Tensor:
        value = tf.convert_to_tensor(self.value)
        if not self._per_example:
            return value
        batch = tf.shape(_in_order(inputs)[0])[0]
        return tf.tile(value, [batch, *([1] * (len(self._shape) - 1))])

    def get_config(self) -> dict[str, object]:
        own = {"shape": self._shape, "per_example": self._per_example, "kind": self._kind}
        return {**super().get_config(), **own}


@_register
class FromBatchSize(tf_keras.layers.Layer):
    """Returns integers `offset + factor * batch`, such as a shape that begins with the length of the batch.

    Input: any tensor with a batch axis.
    """

    def __init__(self, offset: Any, factor: Any, kind: str = "int32", **kwargs: object) -> None:
        super().__init__(autocast=False, **kwargs)
        self._offset, self._factor, self._kind = offset, factor, kind

    def call(self, inputs: Any) -> tf.Tensor:
        batch = tf.cast(tf.shape(_in_order(inputs)[0])[0], self._kind)
        return tf.constant(self._offset, self._kind) + tf.constant(self._factor, self._kind) * batch

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "offset": self._offset, "factor": self._factor, "kind": self._kind}


@_register
class Masked(tf_keras.layers.Wrapper):
    """Calls a recurrent layer with a mask that it takes as an input, because techniques do not keep other masks.

    Inputs: `[sequence, mask, *states]`: `(batch, steps, width)`, `(batch, steps)` with true for real steps, and the
    initial states if there are any.
    """

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> Any:
        sequence, mask, *states = inputs
        options = {"initial_state": states} if states else {}
        outputs = self.layer(sequence, mask=tf.cast(mask, tf.bool), training=training, **options)
        for output in tf.nest.flatten(outputs):
            output._keras_mask = None  # Keras would hand it to tfmot's wrappers, whose layers may not take one.
        return outputs

    def build(self, input_shape: Any) -> None:
        super().build(input_shape[0])


@_register
class RandomSeed(tf_keras.layers.Layer):
    """Returns other random numbers in each call, with which an operation begins its own: a seed.

    Input: any tensor. Output: int64 `(3,)`, or uint64 `(1,)` and `(2,)`, the key and counter of an operation.

    Args:
        keyed: whether to return key and counter.
        seed: of the seeds.
    """

    def __init__(self, keyed: bool, seed: int, **kwargs: object) -> None:
        super().__init__(autocast=False, **kwargs)
        self._keyed, self._seed = keyed, seed

    def call(self, inputs: Any) -> Any:
        numbers = tf.random.uniform((3,), 0, tf.int64.max, tf.int64, seed=self._seed)
        return list(tf.raw_ops.StatelessRandomGetKeyCounter(seed=numbers[:2])) if self._keyed else numbers

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "keyed": self._keyed, "seed": self._seed}


@_register
class ByMode(tf_keras.layers.Layer):
    """Returns some of its inputs in inference, and in training what a model computes from the others.

    Inputs: first the outputs in inference, then the model's inputs. Output: a tensor, or a list.

    Args:
        model: computes the outputs in training; a functional model, or its configuration.
        outputs: their number.
    """

    def __init__(self, model: tf_keras.Model | Mapping[str, Any], outputs: int = 1, **kwargs: object) -> None:
        super().__init__(autocast=False, **kwargs)
        self.model = _model_of(model) if isinstance(model, Mapping) else model
        self._outputs = outputs

    def call(self, inputs: list[tf.Tensor], training: Any = None) -> Any:
        inference, given = inputs[: self._outputs], inputs[self._outputs :]

        def in_training() -> list[tf.Tensor]:
            outputs = tf.nest.flatten(self.model(given[0] if len(given) == 1 else given, training=True))
            return [tf.ensure_shape(x, like.shape) for x, like in zip(outputs, inference, strict=True)]

        if tf.is_tensor(training):
            outputs = tf.cond(tf.cast(training, tf.bool), in_training, lambda: [tf.identity(x) for x in inference])
        else:
            outputs = in_training() if training else [tf.identity(x) for x in inference]
        return outputs[0] if self._outputs == 1 else outputs

    def get_config(self) -> dict[str, object]:
        own = {"model": self.model.get_config(), "outputs": self._outputs}
        return {**super().get_config(), **own}


def _model_of(config: Mapping[str, Any]) -> tf_keras.Model:
    """Returns the model of a configuration, in which an `.h5` file has our layers under their bare names."""
    registered = tf_keras.utils.get_custom_objects().items()
    own = {kind.__name__: kind for name, kind in registered if name.startswith("tfcompress>")}
    # Layers that are built before they are called would all name their weights alike, which no `.h5` file can hold.
    layers = [{key: value for key, value in layer.items() if key != "build_config"} for layer in config["layers"]]
    return tf_keras.Model.from_config({**config, "layers": layers}, custom_objects=own)


LAYERS = (Operation, Weight, FromBatchSize, Masked, RandomSeed, ByMode)
