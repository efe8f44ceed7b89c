"""A run that is killed and started again."""

from pathlib import Path

from tfcompress import Cluster, LayerClustering, Prune, Quantize, Report, compress
from tfcompress.models.vit import vit
from tfcompress.training import make_repeatable

from ..tiny import TINY, few_digits

FIT = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-4}


CHAIN = [
    Prune(sparsity=0.5, schedule="constant", fit=FIT | {"learning_rate": 1e-3}),
    Cluster(clusters=16, layers={"head": LayerClustering(clusters=32)}, fit=FIT),
    Quantize(fit=FIT),
]


def resumable(workdir: Path) -> Report:
    """The run that is killed and started again: the same each time it is called."""
    make_repeatable(0)
    model = vit(TINY, 10, dropout=0.1)
    return compress(model, few_digits(), CHAIN, workdir, seed=3)
