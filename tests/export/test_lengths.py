import numpy as np
import pytest
import tf_keras

from tests.packed.transformers import cluster
from tests.tiny import TINY
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.export.lengths import all_lengths, check_shortened
from tfcompress.models import presets
from tfcompress.models.bert import INPUTS
from tfcompress.models.vit import vit
from tfcompress.tflite.merging import merge
from tfcompress.tflite.reading import read

SHAPE = {"vocabulary": 90, "sequence_length": 12, "width": 16, "depth": 1, "heads": 2, "mlp": 32}
POOLINGS = ("tanh", "first", "mean", "tokens")


@pytest.fixture(scope="module")
def bert() -> tf_keras.Model:
    return presets.build("minilm_l6", 3, **SHAPE)


def batch(length: int = 12) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(1, 90, (4, length)), np.arange(length) < np.array([[3], [5], [7], [length]])
    values = (ids * mask).astype(np.int32), np.zeros_like(ids, np.int32), mask.astype(np.int32)
    return dict(zip(INPUTS, values, strict=True))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_shorter_model_gives_the_same(pooling):
    check_shortened(presets.build("minilm_l6", 3, **SHAPE, pooling=pooling), batch(), 5)


def test_a_model_that_reads_padding_is_refused(bert):
    inputs = bert.inputs
    states = bert.get_layer("block_0_norm2").output
    layers = tf_keras.layers
    average = layers.Dense(3)(layers.GlobalAveragePooling1D()(states))
    with pytest.raises(UserError, match=r"gives something else for 5 tokens .* it does not ignore padding"):
        check_shortened(tf_keras.Model(inputs, average), batch(), 5)
    flat = layers.Dense(3)(layers.Flatten()(states))
    with pytest.raises(UserError, match=r"cannot be called with 5 tokens: .*; leave export.lengths out"):
        check_shortened(tf_keras.Model(inputs, flat), batch(), 5)
    check_shortened(bert, batch(), 5)


def test_a_mobilebert_reads_the_padding_beside_the_last_token():
    mobile = {"width": 32, "bottleneck": 16, "embedding": 16}
    with pytest.raises(UserError, match="it does not ignore padding"):
        check_shortened(cluster(presets.build("mobilebert", 3, **SHAPE | mobile)), batch(), 5)


def test_the_longest_comes_first(bert):
    assert all_lengths(bert, (4, 8)) == all_lengths(bert, (4, 8, 12)) == (12, 8, 4)
    assert all_lengths(bert, ()) == ()


def test_lengths_that_a_model_cannot_have_are_refused(bert):
    with pytest.raises(UserError, match=r"lengths has 16, but model .* takes 12 tokens at most"):
        all_lengths(bert, (4, 16))
    with pytest.raises(UserError, match=r"takes image \(8, 8, 3\); only text models with a mask"):
        all_lengths(vit(TINY, 10), (4,))
    ids = tf_keras.Input((12,), dtype="int32", name="ids")
    without_mask = tf_keras.Model(ids, tf_keras.layers.Embedding(9, 4)(ids))
    with pytest.raises(UserError, match=r"takes ids \(12,\); only text models with a mask"):
        all_lengths(without_mask, (4,))


def test_weights_are_stored_once(bert):
    one = convert(bert, "float32")
    shorter = {f"length_{length}": convert(bert, "float32", length=length) for length in (4, 8)}
    merged = merge({"serving_default": one, **shorter})
    kernels = sum(weight.nbytes for weight in map(np.asarray, bert.get_weights()) if weight.ndim == 2)
    weights = [{t.buffer for t in graph.tensors if len(t.data) >= 16 * 16 * 4} for graph in read(merged).graphs]
    assert weights[0] >= weights[1] == weights[2]
    assert len(merged) < len(one) + 2 * (len(one) - kernels)
    positions = [any(op.kind in ("STRIDED_SLICE", "SLICE") for op in graph.operators) for graph in read(merged).graphs]
    assert len(set(positions)) == 1
