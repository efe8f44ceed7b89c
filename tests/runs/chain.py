"""A run that is killed and started again."""

from pathlib import Path

import numpy as np
import tf_keras

from tfcompress import Cluster, Export, LayerClustering, Prune, Quantize, Report, compress
from tfcompress.models.vit import vit
from tfcompress.training import make_repeatable

from ..native import has_runtime
from ..tiny import TINY, few_digits

FIT = {"epochs": 2, "batch_size": 64, "learning_rate": 1e-4}
CHAIN = [
    Prune(sparsity=0.5, schedule="constant", fit=FIT | {"learning_rate": 1e-3}),
    Cluster(clusters=16, layers={"head": LayerClustering(clusters=32)}, fit=FIT),
    Quantize(fit=FIT),
]
EXPORT = Export(formats=("float32", "dynamic"), clustered=has_runtime())


def dropping(weights: list[np.ndarray]) -> tf_keras.Model:
    """Returns the `TINY` ViT with these weights, and with dropout, which draws at random."""
    make_repeatable(0)  # Dropout gets another generator then, which belongs to what identifies a model.
    model = vit(TINY, 10, dropout=0.1)
    model.set_weights(weights)
    return model


def resumable(workdir: Path, weights: list[np.ndarray]) -> Report:
    """The run that is killed and started again: the same each time it is called."""
    return compress(dropping(weights), few_digits(), CHAIN, workdir, export=EXPORT, seed=3)
