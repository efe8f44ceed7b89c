from __future__ import annotations

import pytest
import tf_keras

from tfcompress.optimize.clustering import Cluster
from tfcompress.optimize.pruning import Prune
from tfcompress.optimize.quantization import Quantize
from tfcompress.traits import Traits

from ..conftest import TINY
from ..optimize.apply import apply

FIT = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-4}


@pytest.fixture(scope="session")
def compressed(tiny_data, trained_weights, tmp_path_factory) -> dict[str, tuple[tf_keras.Model, Traits]]:
    """The tiny ViT and its traits after prune, cluster and quantize, which leaves head and block_0_mlp1 float."""
    from tfcompress.models.vit import vit

    folder = tmp_path_factory.mktemp("compressed")
    model, traits = vit(TINY, 10), None
    model.set_weights(trained_weights)
    found = {}
    for technique in (
        Prune(sparsity=0.5, schedule="constant", fit=FIT),
        Cluster(clusters=16, fit=FIT),
        Quantize(layers={"head": False, "block_0_mlp1": False}, fit=FIT),
    ):
        model, traits = apply(technique, model, tiny_data, folder, traits)
        found[technique.name] = (model, traits)
    return found
