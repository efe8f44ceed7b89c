import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.answers import answers
from tfcompress.data.dataset import Dataset
from tfcompress.export.converter import convert
from tfcompress.export.verify import verify
from tfcompress.measure.interpreter import predict
from tfcompress.models.bert import BertConfig
from tfcompress.models.layers import CUSTOM_OBJECTS, NoNorm, Trigram
from tfcompress.models.mobilebert import MobileBertConfig
from tfcompress.models.presets import from_config
from tfcompress.optimize.clustering import Cluster
from tfcompress.optimize.pruning import Prune
from tfcompress.optimize.quantization import Quantize
from tfcompress.traits import KernelTraits

from ..apply import apply

WORDS, LENGTH, CLASSES = 60, 8, 3
# Enough steps for the learning rate to decay to almost zero, because quantization ranges lag one step behind weights.
FIT = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-4}

CONFIGS = {
    "bert": BertConfig(WORDS, LENGTH, width=32, depth=2, heads=2, mlp=64),
    "distilbert": BertConfig(WORDS, LENGTH, width=32, depth=2, heads=2, mlp=64, segments=0, pooling="relu"),
    "electra": BertConfig(WORDS, LENGTH, width=32, depth=2, heads=2, mlp=64, pooling="gelu", embedding=16),
    "mpnet": BertConfig(WORDS, LENGTH, width=32, depth=2, heads=2, mlp=64, segments=0, relative=8),
    "tokens": BertConfig(WORDS, LENGTH, width=32, depth=2, heads=2, mlp=64, pooling="tokens"),
    "mobilebert": MobileBertConfig(
        WORDS, LENGTH, width=64, depth=2, heads=2, bottleneck=32, embedding=16, mlp=64, feedforwards=2
    ),
}


def random(config):
    """Returns a model in which all weights differ, including the scales of norms, so that none are folded away."""
    model = from_config(config, CLASSES)
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.normal(size=w.shape, scale=0.1).astype(np.float32) for w in model.get_weights()])
    return model


def features(model, count=1, seed=0):
    rng = np.random.default_rng(seed)
    found = {
        "token_ids": rng.integers(0, WORDS, (count, LENGTH)),
        "segment_ids": rng.integers(0, 2, (count, LENGTH)),
        "padding_mask": np.arange(LENGTH) < rng.integers(2, LENGTH + 1, (count, 1)),
    }
    return {name: found[name].astype(np.int32) for name in model.input_names}


def dataset(model):
    """Returns a data set of texts whose first token determines the class."""
    splits = []
    for seed in range(3):
        inputs = features(model, 64, seed)
        splits.append(tf.data.Dataset.from_tensor_slices((inputs, inputs["token_ids"][:, 0] % CLASSES)))
    return Dataset("tokens", *splits, classes=("a", "b", "c"))


def probabilities(model, inputs):
    return tf_keras.activations.softmax(tf_keras.backend.constant(answers(model, inputs))).numpy()


def outputs_of_file(content, inputs, path):
    path.write_bytes(content)
    count = len(inputs["token_ids"])
    return predict(path, [{name: array[n] for name, array in inputs.items()} for n in range(count)])


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_file_has_the_outputs_and_the_kernels_of_the_keras_model(kind, tmp_path):
    model = random(CONFIGS[kind])
    inputs, content = features(model, 8), convert(model, "float32")
    found = outputs_of_file(content, inputs, tmp_path / "model.tflite")
    np.testing.assert_allclose(found, probabilities(model, inputs), atol=1e-6)
    # The converter must not fold a NoNorm into a kernel, which would destroy its clusters.
    promised = {layer.name: KernelTraits(clusters=10_000) for layer in model.layers if hasattr(layer, "kernel")}
    assert {tensor.layer for tensor in verify(content, model, promised, "float32")} >= set(promised)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["distilbert", "electra", "mpnet", "mobilebert"])  # a shipped recipe covers BERT
def test_every_technique_and_the_converter_support_it(kind, tmp_path):
    model = random(dataclasses.replace(CONFIGS[kind], depth=1))
    data, inputs, traits = dataset(model), features(model, 32, seed=3), None
    for technique, stored_as, tolerance in (
        (Prune(sparsity=0.5, schedule="constant", fit=FIT), "float32", 1e-5),
        (Cluster(clusters=16, fit=FIT), "dynamic", 0.05),
        (Quantize(fit=FIT), "int8", 0.05),
    ):
        model, traits = apply(technique, model, data, tmp_path, traits)
        content = convert(model, stored_as)
        assert {tensor.layer for tensor in verify(content, model, traits, stored_as)} >= set(traits)
        found = outputs_of_file(content, inputs, tmp_path / "model.tflite")
        np.testing.assert_allclose(found, probabilities(model, inputs), atol=tolerance)


@pytest.mark.parametrize("kind", CONFIGS)
def test_saving_and_loading_keeps_the_outputs(kind, tmp_path):
    model = random(CONFIGS[kind])
    inputs = features(model, 4)
    for name in ("model.h5", "model.keras"):
        model.save(tmp_path / name)
        loaded = tf_keras.models.load_model(tmp_path / name, custom_objects=CUSTOM_OBJECTS, compile=False)
        np.testing.assert_array_equal(answers(loaded, inputs), answers(model, inputs))


@pytest.mark.parametrize("kind", CONFIGS)
def test_tokens_at_masked_positions_do_not_matter(kind):
    model = random(CONFIGS[kind])
    inputs = features(model, 4)
    inputs["padding_mask"][:] = np.arange(LENGTH) < 5
    other = {**inputs, "token_ids": inputs["token_ids"].copy()}
    # The trigram of MobileBERT's last real token includes the first masked one, so that one is not changed.
    other["token_ids"][:, 6:] = (other["token_ids"][:, 6:] + 1) % WORDS
    real = (slice(None), slice(5)) if kind == "tokens" else ...
    found, expected = (answers(model, x)[real] for x in (other, inputs))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_dropout_applies_only_during_training():
    for config in CONFIGS.values():
        model = from_config(config, CLASSES, dropout=0.5)
        inputs = features(model)
        np.testing.assert_array_equal(model(inputs, training=False), model(inputs, training=False))
        assert np.abs(model(inputs, training=True) - model(inputs, training=True)).max() > 0


def test_a_trigram_is_the_token_between_its_neighbours():
    x = np.arange(1, 7, dtype=np.float32).reshape(1, 3, 2)
    np.testing.assert_array_equal(Trigram()(x)[0], [[3, 4, 1, 2, 0, 0], [5, 6, 3, 4, 1, 2], [0, 0, 5, 6, 3, 4]])
    assert Trigram().compute_output_shape((None, 3, 2)) == (None, 3, 6)


def test_no_norm_scales_and_shifts_each_feature():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    layer = NoNorm()
    np.testing.assert_array_equal(layer(x), x)
    gamma, beta = np.float32([2, 0.5, -1, 3]), np.float32([0, 1, 2, 3])
    layer.set_weights([gamma, beta])
    np.testing.assert_allclose(layer(x), x * gamma + beta, atol=1e-6)
