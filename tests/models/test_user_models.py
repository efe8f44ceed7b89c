"""Models of the keras.io examples and of keras-hub, rebuilt small: taken apart, pruned, clustered and converted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.data.dataset import Dataset
from tfcompress.export.converter import convert
from tfcompress.export.verify import verify
from tfcompress.measure.interpreter import Runner
from tfcompress.models.functional import as_functional
from tfcompress.models.layers import ScaledDotProductAttention
from tfcompress.models.outputs import outputs_of
from tfcompress.models.saved import load
from tfcompress.optimize.clustering import Cluster
from tfcompress.optimize.pruning import Prune
from tfcompress.training import Training

from ..apply import apply
from ..user_models.catalog import KINDS
from ..user_models.kinds import CLASSES, Kind, as_tensors

ATTENTIONS = {
    "vit_keras_io": 2,
    "compact_convolutional_transformer": 2,
    "mobilevit": 0,
    "text_transformer": 1,
    "hub_bert": 2,
    "hub_vit": 2,
}
"""How many attentions over one axis of tokens each kind has; those of MobileViT are over two axes."""

FIT = Training(epochs=1, batch_size=8, learning_rate=1e-4)


def few(kind: Kind) -> Dataset:
    """Returns 8 training examples, which are one step, and 4 validation and 4 test examples."""
    splits = [(kind.features(size, seed=size), np.arange(size) % CLASSES) for size in (8, 4, 4)]
    return Dataset.from_arrays(kind.name, [f"class {i}" for i in range(CLASSES)], *splits)


def copy_of(kind: Kind) -> tf_keras.Model:
    """Takes a kind's model apart, and compares outputs."""
    model, features = kind.build(), as_tensors(kind.features(6, seed=1))
    copy = as_functional(model, tf.nest.map_structure(lambda x: tf.TensorSpec(x.shape[1:], x.dtype), features))
    expected = np.asarray(model(features, training=False))
    np.testing.assert_allclose(copy(features, training=False), expected, atol=1e-5 * np.abs(expected).max())
    return copy


@pytest.mark.parametrize("name", ATTENTIONS)
def test_a_model_survives_pruning_clustering_and_conversion(name, tmp_path):
    kind = KINDS[name]
    data, copy = few(kind), copy_of(kind)
    assert sum(type(layer) is ScaledDotProductAttention for layer in copy.layers) == ATTENTIONS[name]
    pruned, traits = apply(Prune(sparsity=0.5, schedule="constant", fit=FIT), copy, data, tmp_path)
    model, traits = apply(Cluster(clusters=16, initialization="linear", fit=FIT), pruned, data, tmp_path, traits)
    content = convert(model, "float32")
    in_file = {tensor.layer: tensor for tensor in verify(content, model, traits, "float32")}
    clustered = [layer for layer, trait in traits.items() if trait.clusters is not None]
    assert len(clustered) > 6
    for layer in clustered:
        assert in_file[layer].distinct <= 16
        assert in_file[layer].sparsity >= 0.49
    (tmp_path / "model.tflite").write_bytes(content)
    runner, features = Runner(tmp_path / "model.tflite"), kind.features(4, seed=2)
    expected = outputs_of(model).to_probabilities(model(as_tensors(features), training=False))
    found = [runner.run(example) for example in examples(features)]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def examples(features):
    """Returns the features of one example after the other."""
    if isinstance(features, Mapping):
        return [dict(zip(features, row, strict=True)) for row in zip(*features.values(), strict=True)]
    return list(features)


@pytest.mark.parametrize("name", ["llama_like", "causal_and_cross_attention", "mask_zero_attention", "tied_embedding"])
def test_masks_and_tied_weights_are_kept(name):
    copy_of(KINDS[name])


def test_an_adapted_kind_computes_what_its_file_computes(tmp_path):
    kind = KINDS["resized_and_normalized"]
    model, features = kind.build(), as_tensors(kind.features(2, seed=1))
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(load(tmp_path / "model.keras")(features), model(features), atol=1e-6)
