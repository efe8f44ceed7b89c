"""The activation ranges that quantization-aware training starts from."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress.traits import variables


def calibrate(wrapped: tf_keras.Model, model: tf_keras.Model, batches: tf.data.Dataset) -> None:
    """Sets the activation ranges of a freshly wrapped model to those of the plain one, averaged over batches.

    tfmot starts every range at ±6 and moves it by a thousandth of the way per step. After a short training, such ranges
    would still clip values or waste most of their quantization steps.

    Args:
        wrapped: the result of tfmot's `quantize_apply` for `model`; changed in place.
        model: the plain float model, whose layers are called in no other one. Layers that read it are added.
        batches: a few batches of features without labels.
    """
    limits, probes = [], []
    for wrapper in wrapped.layers:
        by_name = variables(wrapper)
        for point in ("pre_activation", "post_activation", "output"):
            if f"{point}_min" in by_name:
                layer = model.get_layer(wrapper.layer.name)
                limits.append((by_name[f"{point}_min"], by_name[f"{point}_max"]))
                probes.append(_before_activation(layer) if point == "pre_activation" else layer.get_output_at(0))
    if not probes:
        return
    probing = tf_keras.Model(model.inputs, probes)
    ranges = np.mean([[_extremes(x) for x in tf.nest.flatten(probing(features))] for features in batches], axis=0)
    for (low, high), (smallest, largest) in zip(limits, ranges, strict=True):
        low.assign(min(smallest, 0.0))
        high.assign(max(largest, 0.0))


def _extremes(x: tf.Tensor) -> tuple[np.float32, np.float32]:
    return tf.reduce_min(x).numpy(), tf.reduce_max(x).numpy()


def _before_activation(dense: tf_keras.layers.Dense) -> tf_keras.KerasTensor:
    linear = tf_keras.layers.Dense.from_config(
        {**dense.get_config(), "activation": "linear", "name": f"{dense.name}_sum"}
    )
    outputs = linear(dense.get_input_at(0))
    linear.set_weights(dense.get_weights())
    return outputs
