"""TensorBoard logs of a finished stage, written from its history so that a killed stage shows no epoch twice."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras
from tensorboard.plugins.histogram import metadata

from tfcompress.files import remove_folder, writing_to
from tfcompress.traits import FloatArray, distinct_values, kernels, sparsity

_BINS = 512
"""Enough for almost every one of 64 centroids to have its own bin; 12 kB per kernel."""


def write_logs(folder: Path, history: Sequence[dict[str, float]], model: tf_keras.Model) -> None:
    """Writes the logs of one stage and replaces what an earlier call left there.

    Args:
        folder: what TensorBoard shows as one run.
        history: one row per epoch, see `tfcompress.training.fit`. Its values become scalars of that epoch, `loss/train`
            and `loss/validation` if a metric is measured on both splits.
        model: of the finished stage. For each kernel, the share of zeros and the number of distinct values are written
            as scalars after the last epoch, and the weights as a histogram.

    Raises:
        UserError: the folder cannot be written.
    """
    remove_folder(folder)
    with writing_to(folder), closing(tf.summary.create_file_writer(str(folder))) as writer, writer.as_default():
        for row in history:
            for name, value in row.items():
                if name != "epoch":
                    tf.summary.scalar(_tag(name, row), value, int(row["epoch"]))
        for name, kernel in kernels(model).items():
            tf.summary.scalar(f"sparsity/{name}", sparsity(kernel, "unstructured"), len(history))
            tf.summary.scalar(f"distinct_values/{name}", distinct_values(kernel), len(history))
            _histogram(f"weights/{name}", kernel, len(history))


def _tag(name: str, row: dict[str, float]) -> str:
    """Names a value so that TensorBoard shows those of both splits together."""
    if name.startswith("val_"):
        return f"{name.removeprefix('val_')}/validation"
    return f"{name}/train" if f"val_{name}" in row else name


def _histogram(tag: str, values: FloatArray, step: int) -> None:
    # TensorBoard's own function needs memory for values x bins, which is gigabytes for an embedding table.
    counts, edges = np.histogram(values.astype(np.float64), _BINS)
    bins = np.stack([edges[:-1], edges[1:], counts], axis=1)
    tf.summary.write(tag, bins, step, metadata.create_summary_metadata(display_name=None, description=None))
