"""Measures the memory that training one large kernel with clusters takes above training it without.

Each way runs in a process of its own, whose peak counts. There the C library gives freed blocks back at once: what it
keeps by default depends on the sizes of the blocks.

python -m benchmarks.clustering_memory --width=2048
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags

_WIDTH = flags.DEFINE_integer("width", 2048, "Inputs and outputs of the kernel.", lower_bound=16)
_CHILD = flags.DEFINE_string("child", None, "Used by the program itself: the way to train in this process.")

_CLUSTERS = 64


def main(_: Sequence[str]) -> None:
    """Prints the memory of each way above that of plain training, as a multiple of the kernel's bytes."""
    if _CHILD.value:
        _train(_CHILD.value)
        print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    command = [sys.executable, "-m", "benchmarks.clustering_memory", f"--width={_WIDTH.value}"]
    returning = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
    plain, theirs, ours = (
        int(subprocess.check_output([*command, f"--child={way}"], text=True, env=returning))
        for way in ("plain", "tfmot", "ours")
    )
    kernel = 4 * _WIDTH.value**2
    print(f"{_CLUSTERS} clusters, a kernel of {kernel / 2**20:.0f} MiB: above a plain training, tfmot's look-up takes")
    print(
        f"{(theirs - plain) / kernel:.1f} times the bytes of the kernel, and ours {(ours - plain) / kernel:.1f} times"
    )


def _train(way: str) -> None:
    import numpy as np
    import tf_keras
    from tensorflow_model_optimization.python.core.clustering.keras.cluster_config import CentroidInitialization
    from tensorflow_model_optimization.python.core.clustering.keras.cluster_wrapper import ClusterWeights

    from tfcompress.optimize.centroid_lookup import sorted_lookup

    layer = tf_keras.layers.Dense(_WIDTH.value, kernel_initializer="random_normal")
    with sorted_lookup(kept=False) if way == "ours" else nullcontext():
        wrapped = layer if way == "plain" else ClusterWeights(layer, _CLUSTERS, CentroidInitialization.LINEAR)
        model = tf_keras.Sequential([wrapped])
        model.build((None, _WIDTH.value))
    model.compile("sgd", "mse")
    batch = np.zeros((8, _WIDTH.value), np.float32)
    for _ in range(3):
        model.train_on_batch(batch, batch)


if __name__ == "__main__":
    app.run(main)
