import numpy as np
import pytest

from tests.packed.blocks import LAYER_NORM_FORMS, layer_norm
from tests.packed.graphs import DENSE, K, Model, same, some
from tests.packed.reference import kinds
from tfcompress.packed.packer import pack


@pytest.mark.parametrize("form", LAYER_NORM_FORMS)
def test_a_layer_norm_is_found_in_every_form(form):
    model = Model(1, 3, K)
    x = model.dense(0, (1, 3, K))
    assert same(model.file(layer_norm(model, x, (1, 3, K), form)), some(1, 3, K)) == [DENSE, "LayerNorm"]


def test_a_mean_over_tokens_is_not_a_layer_norm():
    model = Model(1, K, K)
    out = layer_norm(model, model.dense(0, (1, K, K)), (1, K, K), "tensorflow")
    axis = next(tensor for tensor in model.tensors if tensor.data == np.int32(2).tobytes())
    axis.data = np.int32(1).tobytes()
    assert "LayerNorm" not in kinds(pack(model.file(out)))
