"""The teacher's outputs for each example, kept on disk so that the teacher runs once."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras

from tfcompress.data.dataset import Dataset, Split, Targets
from tfcompress.errors import UserError
from tfcompress.files import atomic_write
from tfcompress.models.outputs import Outputs
from tfcompress.progress import track


def teacher_targets(taught: tf_keras.Model, given: Outputs, data: Dataset, folder: Path) -> Targets:
    """Returns a function that puts a teacher's outputs beside the labels.

    The outputs are computed once and kept in `folder`; if training examples are augmented, they are computed for each
    batch instead.

    Args:
        taught: a model that gives logits, probabilities or numbers `(batch, …, classes)`, then any further outputs to
            be learned.
        given: what the first outputs are.
        data: the data as the teacher takes them.
        folder: where the outputs are kept.

    Returns:
        Targets: float32 `(batch, …, labels + classes)`, the label and the logits; with more outputs, a tuple that
        begins so. A label of fewer axes than the logits is one number, so that a classifier has
        `(batch, 1 + classes)`.

    Raises:
        UserError: labels and outputs have too different shapes.
    """
    shapes = [output.shape[1:] for output in taught.outputs]
    of_labels = data.examples("train").element_spec[1].shape
    missing = None if of_labels.rank is None else shapes[0].rank - of_labels.rank
    if missing not in (0, 1):
        raise UserError(
            f"distil: labels of the shape {of_labels} cannot be learned beside outputs of the shape {shapes[0]}; leave "
            "distil out"
        )
    kept: dict[Split, list[npt.NDArray[Any]]] = {}
    if data.augment is None:
        splits: tuple[Split, ...] = ("train", "validation")
        kept = {split: _kept(taught, data, split, folder) for split in splits}

    def targets(split: Split, features: Any, labels: tf.Tensor, indices: tf.Tensor) -> Any:
        if kept:
            types = [array.dtype for array in kept[split]]
            outputs = tf.numpy_function(lambda i: [array[i] for array in kept[split]], [indices], types)
        else:
            outputs = taught(features, training=False)
        outputs = [tf.cast(output, tf.float32) for output in tf.nest.flatten(outputs)]
        for output, shape in zip(outputs, shapes, strict=True):
            output.set_shape([None, *shape])
        labels = tf.cast(labels, tf.float32)
        hard = labels[..., None] if missing else labels
        soft = tf.concat([hard, given.to_logits(outputs[0])], axis=-1)
        return (soft, *outputs[1:]) if len(outputs) > 1 else soft

    return targets


def _kept(taught: tf_keras.Model, data: Dataset, split: Split, folder: Path) -> list[npt.NDArray[Any]]:
    """Returns the teacher's outputs for a split, memory-mapped, and computes them unless an earlier call did."""
    size, batch = data.size(split), 32
    paths = [folder / f"{split}-{number}.npy" for number in range(len(taught.outputs))]
    if not all(path.is_file() for path in paths):
        with ExitStack() as stack:
            arrays = []
            for path, output in zip(paths, taught.outputs, strict=True):
                kind = np.float32 if output is taught.outputs[0] else np.float16
                beside = stack.enter_context(atomic_write(path))
                arrays.append(np.lib.format.open_memmap(beside, "w+", kind, (size, *output.shape[1:])))
            batches = (features for features, _ in data.batches(split, batch))
            for number, features in enumerate(track(batches, f"teacher on {split}", -(-size // batch))):
                outputs = taught(features, training=False)
                for array, output in zip(arrays, tf.nest.flatten(outputs), strict=True):
                    array[number * batch : (number + 1) * batch] = output.numpy()
            for array in arrays:
                array.flush()
    return [np.load(path, mmap_mode="r") for path in paths]
