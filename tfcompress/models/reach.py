"""Which layers of a functional model its inputs do not reach."""

from __future__ import annotations

import tensorflow as tf
import tf_keras

from tfcompress.models.operations import Weight


def unreached(model: tf_keras.Model) -> set[str]:
    """Returns the names of the layers whose outputs are the same for all inputs, such as a Dense on learned queries.

    The converter computes these once and stores the outputs instead of the kernels.
    """
    constant: set[int] = set()
    reached: set[str] = set()
    names: set[str] = set()
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            names.add(node.layer.name)
            weight = type(node.layer) is Weight  # It reads an input for the length of the batch only.
            if node.is_input or not (weight or all(id(x) in constant for x in node.keras_inputs)):
                reached.add(node.layer.name)
            else:
                constant.update(id(x) for x in tf.nest.flatten(node.outputs))
    return names - reached
