import keras
import numpy as np
import pytest
import tf_keras

from tests.answers import answers
from tfcompress.data.dataset import Dataset
from tfcompress.export.converter import convert
from tfcompress.export.serving import serve_answers
from tfcompress.export.verify import verify
from tfcompress.measure.interpreter import predict
from tfcompress.models.bert import BertConfig, bert
from tfcompress.models.functional import as_functional
from tfcompress.models.layers import CUSTOM_OBJECTS
from tfcompress.optimize.clustering import Cluster, LayerClustering
from tfcompress.optimize.quantization import Quantize, load_scope
from tfcompress.optimize.technique import Context
from tfcompress.tflite.reading import read
from tfcompress.training import Objective, Training, fit
from tfcompress.traits import kernels, measure

from ..apply import apply
from ..tiny import tiny_vit_of

FIT = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-4}
QUANTIZE = Quantize(fit=FIT)


@pytest.fixture(scope="module")
def before(compressed, tiny_data, trained_weights, tmp_path_factory) -> dict[str, tf_keras.Model]:
    """Models as they are before quantization, by the scheme that they need."""
    plain = tiny_vit_of(trained_weights)
    clustered, _ = apply(Cluster(clusters=16, fit=FIT), plain, tiny_data, tmp_path_factory.mktemp("before"))
    return {"QAT": plain, "PQAT": compressed["prune"][0], "CQAT": clustered, "PCQAT": compressed["cluster"][0]}


@pytest.mark.parametrize("scheme", ["QAT", "PQAT", "CQAT", "PCQAT"])
def test_the_scheme_follows_from_the_measured_traits(before, tiny_data, tmp_path, images, scheme):
    float_model = before[scheme]
    weights = [w.copy() for w in float_model.get_weights()]
    # The check inside `apply` proves that zeros and clusters outlast the training.
    quantized, traits = apply(QUANTIZE, float_model, tiny_data, tmp_path)
    assert {(t.scheme, t.quantized) for t in traits.values()} == {(scheme, True)}
    found, expected = (answers(m, images).argmax(1) for m in (quantized, float_model))
    assert np.mean(found == expected) > 0.8
    for old, now in zip(weights, float_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    quantized.save(tmp_path / "model.h5", include_optimizer=False)
    with load_scope():
        loaded = tf_keras.models.load_model(tmp_path / "model.h5", compile=False, custom_objects=CUSTOM_OBJECTS)
    np.testing.assert_array_equal(answers(loaded, images), answers(quantized, images))


def test_each_layer_gets_the_scheme_of_its_own_traits(tiny_vit, tiny_data, tmp_path):
    partly = Cluster(clusters=16, layers={"head": False}, fit=FIT)
    clustered, traits = apply(partly, tiny_vit, tiny_data, tmp_path)
    quantized, traits = apply(QUANTIZE, clustered, tiny_data, tmp_path, traits)
    assert (traits["head"].scheme, traits["block_0_key"].scheme) == ("QAT", "CQAT")
    assert measure(kernels(quantized)["block_0_key"]).clusters <= 16
    assert measure(kernels(quantized)["head"]).clusters is None


def test_activation_ranges_start_where_the_float_model_has_them(tiny_vit, tiny_data):
    tiny_vit.get_layer("block_0_mlp1").kernel.assign(tiny_vit.get_layer("block_0_mlp1").kernel * 20)
    wrapped = QUANTIZE.prepare(tiny_vit, Context(tiny_data, {}, 1))
    ranges = {
        w.name.split(":")[0]: float(w.numpy()) for w in wrapped.get_layer("quant_block_0_mlp1").weights if w.shape == ()
    }
    probe = tf_keras.Model(tiny_vit.input, tiny_vit.get_layer("block_0_mlp1").output)
    largest = [probe(x).numpy().max() for x, _ in tiny_data.stream(32, 0, 0, 1)]
    assert ranges["quant_block_0_mlp1/post_activation_max"] == pytest.approx(np.mean(largest), rel=1e-4)
    assert ranges["quant_block_0_mlp1/pre_activation_min"] < ranges["quant_block_0_mlp1/post_activation_min"] < 0
    assert np.mean(largest) > 6


def test_a_bert_becomes_int8_with_its_tables(tiny_bert, tiny_text, tmp_path):
    assert_int8(tiny_bert, tiny_text, tmp_path)


@pytest.mark.slow
def test_pooling_by_the_mean_becomes_int8(tiny_text, tmp_path):
    config = BertConfig(len(tiny_text.decode.vocabulary), 12, width=16, depth=1, heads=2, mlp=32, pooling="mean")
    assert_int8(trained(bert(config, 3, dropout=0.1), tiny_text, tmp_path), tiny_text, tmp_path)


def trained(model, data, folder):
    fit(model, data, Training(epochs=4, batch_size=16, learning_rate=3e-3), Objective(), 0, folder / "base")
    return model


def assert_int8(model, data, folder):
    """Quantizes; every Dense and table must be int8 in the file, which must answer as the Keras model does."""
    quantized, traits = apply(QUANTIZE, model, data, folder)
    assert np.any(kernels(quantized)["token_embedding"] != kernels(model)["token_embedding"])
    assert {name for name, found in traits.items() if found.quantized} == set(kernels(model))
    quantized.save(folder / "model.h5", include_optimizer=False)
    with load_scope():
        loaded = tf_keras.models.load_model(folder / "model.h5", compile=False)
    batches = data.batches("test", 64)
    expected = answers(loaded, batches)
    np.testing.assert_array_equal(expected, answers(quantized, batches))
    content = convert(loaded, "int8", logits=True)
    found = {tensor.layer: tensor for tensor in verify(content, loaded, traits, "int8")}
    assert {(name, tensor.format) for name, tensor in found.items()} == {(name, "int8") for name in kernels(model)}
    assert found["token_embedding"].table
    (folder / "model.tflite").write_bytes(content)
    examples = (features for features, _ in data.examples("test").as_numpy_iterator())
    outputs = predict(folder / "model.tflite", examples)
    assert np.mean(outputs.argmax(1) == expected.argmax(1)) > 0.95
    float_answers = answers(model, batches).argmax(1)
    assert np.mean(expected.argmax(1) == float_answers) > 0.8


def test_a_clustered_table_stays_as_it_is(tiny_bert, tiny_text, tmp_path):
    cluster = Cluster(types={"Dense": False, "Embedding": LayerClustering(clusters=24)}, fit=FIT)
    clustered, traits = apply(cluster, tiny_bert, tiny_text, tmp_path)
    quantized, traits = apply(QUANTIZE, clustered, tiny_text, tmp_path, traits)
    np.testing.assert_array_equal(kernels(quantized)["token_embedding"], kernels(clustered)["token_embedding"])
    table = {t.layer: t for t in verify(convert(quantized, "int8"), quantized, traits, "int8")}["token_embedding"]
    assert (table.format, traits["token_embedding"].clusters) == ("int8", 24)
    assert table.distinct <= 24


def test_a_table_can_be_left_float(tiny_bert, tiny_text, tmp_path):
    technique = Quantize(types={"Embedding": False}, fit=FIT)
    assert "token_embedding" not in technique.select(tiny_bert)
    quantized, traits = apply(technique, tiny_bert, tiny_text, tmp_path)
    formats = {t.layer: t.format for t in verify(convert(quantized, "int8"), quantized, traits, "int8")}
    assert (formats["token_embedding"], formats["head"]) == ("float32", "int8")


def test_layers_behind_float_ones_keep_zeros_and_clusters(tiny_data, tmp_path, images):
    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(0)
    inputs = tf_keras.Input(images.shape[1:])
    x = layers.Dense(24, activation="elu", name="first")(layers.Flatten()(inputs))
    x = layers.Dense(24, activation="swish", name="behind_norm")(layers.BatchNormalization()(x) * 2)
    x = layers.Dense(24, activation="relu", name="static")(layers.LayerNormalization()(x))
    model = as_functional(tf_keras.Model(inputs, layers.Dense(10, name="head")(x)))
    for name in ("first", "behind_norm", "static", "head"):
        kernel = model.get_layer(name).kernel
        kernel.assign(np.round(kernel.numpy() / np.abs(kernel.numpy()).max() * 6) * np.float32(0.03))
    model, traits = apply(QUANTIZE, model, tiny_data, tmp_path)
    assert {found.scheme for found in traits.values()} == {"PCQAT"}
    model.save(tmp_path / "model.h5", include_optimizer=False)
    with load_scope():
        loaded = tf_keras.models.load_model(tmp_path / "model.h5", compile=False)
    expected = answers(model, images)
    np.testing.assert_array_equal(answers(loaded, images), expected)
    content = convert(loaded, "int8", logits=True)
    found = {tensor.layer: tensor for tensor in verify(content, loaded, traits, "int8")}
    assert {(name, tensor.format) for name, tensor in found.items()} == {(name, "int8") for name in traits}
    assert max(tensor.distinct for tensor in found.values()) == 13
    dense = [operator for operator in read(content).operators() if operator.kind == "FULLY_CONNECTED"]
    assert [operator.inputs[0].dtype for operator in dense] == ["float32", "float32", "int8", "int8"]
    (tmp_path / "model.tflite").write_bytes(content)
    outputs = predict(tmp_path / "model.tflite", images)
    np.testing.assert_allclose(outputs, expected, atol=0.1 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_recurrent_layer_with_a_mask_is_left_out_by_its_own_class(kind):
    layers = tf_keras.layers
    x = tf_keras.Input((5, 4))
    recurrent = getattr(layers, kind)(6, name="recurrent")(layers.Masking()(x))
    model = as_functional(tf_keras.Model(x, layers.Dense(3, name="head")(recurrent)))
    assert set(Quantize().select(model)) == {"recurrent", "head"}
    assert set(Quantize(types={kind: False}).select(model)) == {"head"}


def test_float_activations_have_no_range(tiny_data, images):
    layers = tf_keras.layers
    inputs = tf_keras.Input(images.shape[1:])
    x = layers.Conv2D(8, 3, activation="swish", name="dynamic")(inputs)
    x = layers.LayerNormalization()(layers.Reshape((36, 8))(x))
    x = layers.Dense(8, activation="relu", name="static")(x)
    model = as_functional(tf_keras.Model(inputs, layers.Dense(10)(layers.GlobalMaxPooling1D()(x))))
    wrapped = QUANTIZE.prepare(model, Context(tiny_data, {}, 1))
    function = serve_answers(wrapped, quantized=True).function.get_concrete_function()
    ranges = {variable.name for variable in function.graph.variables if variable.shape == ()}
    assert {name for name in ranges if "/dynamic" in name or "_dynamic" in name} == {
        "quant_dynamic/kernel_min:0",
        "quant_dynamic/kernel_max:0",
    }
    assert "quant_static/post_activation_max:0" in ranges


@pytest.mark.slow
def test_kernels_of_all_kinds_become_int8(tiny_data, tmp_path, images):
    layers = tf_keras.layers
    tf_keras.utils.set_random_seed(0)
    inputs = tf_keras.Input(images.shape[1:])
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, 2, activation="relu", name="conv")(inputs))
    x = layers.SeparableConv2D(8, 3, padding="same", name="separable")(x)
    x = layers.Bidirectional(layers.GRU(6, return_sequences=True), name="both")(layers.Reshape((9, 8))(x))
    x = layers.LSTM(8, name="lstm")(x, mask=layers.Masking(0.5).compute_mask(x))
    model = as_functional(tf_keras.Model(inputs, layers.Dense(10, name="head")(x)))
    kernel = model.get_layer("conv").kernel
    kernel.assign(np.round(kernel.numpy() / np.abs(kernel.numpy()).max() * 3) * np.float32(0.1))
    model, traits = apply(QUANTIZE, model, tiny_data, tmp_path)
    recurrent = {"lstm/layer/recurrent_kernel", "both", "both/forward_layer/recurrent_kernel"}
    recurrent |= {"both/backward_layer/kernel", "both/backward_layer/recurrent_kernel"}
    assert set(traits) == {"conv", "separable", "separable/pointwise_kernel", "lstm", "head", *recurrent}
    expected = answers(model, images)
    model.save(tmp_path / "model.h5", include_optimizer=False)
    with load_scope():
        loaded = tf_keras.models.load_model(tmp_path / "model.h5", compile=False, custom_objects=CUSTOM_OBJECTS)
    np.testing.assert_array_equal(answers(loaded, images), expected)
    for made in (model, loaded):
        content = convert(made, "int8", logits=True)
        found = verify(content, made, traits, "int8")
        assert {(tensor.layer, tensor.format) for tensor in found} == {(name, "int8") for name in traits}
    assert {tensor.layer: tensor.distinct for tensor in found}["conv"] == 7
    (tmp_path / "model.tflite").write_bytes(content)
    outputs = predict(tmp_path / "model.tflite", images)
    np.testing.assert_allclose(outputs, expected, atol=0.1 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("layer", "kernels"),
    [
        (tf_keras.layers.LSTM(6, name="cut"), {"cut", "cut/recurrent_kernel", "head"}),
        (tf_keras.layers.LSTM(6, recurrent_dropout=0.2, name="cut"), {"head"}),
        (tf_keras.layers.GRU(6, implementation=1, name="cut"), {"head"}),
        (tf_keras.layers.GRU(6, reset_after=False, name="cut"), {"cut", "head"}),
    ],
)
def test_kernels_that_a_cell_cuts_stay_float(tiny_data, tmp_path, images, layer, kernels):
    inputs = tf_keras.Input(images.shape[1:])
    x = layer(tf_keras.layers.Reshape((8, 24))(inputs))
    model = as_functional(tf_keras.Model(inputs, tf_keras.layers.Dense(10, name="head")(x)))
    quantized, traits = apply(QUANTIZE, model, tiny_data, tmp_path)
    assert set(traits) == kernels
    found = verify(convert(quantized, "int8", logits=True), quantized, traits, "int8")
    assert {tensor.layer for tensor in found if tensor.format == "int8"} == kernels


def test_one_hot_vectors_stay_float_before_int8_layers(tmp_path):
    x = keras.Input((4,), name="x")
    ids = keras.ops.cast(x[:, 0] * 3, "int32")
    parts = [keras.ops.one_hot(ids, 4), keras.layers.Dense(4, name="body")(x)]
    y = keras.layers.Dense(3, name="head")(keras.layers.Concatenate()(parts))
    features = np.random.default_rng(0).random((64, 4), np.float32)
    pair = (features, np.arange(64) % 3)
    model, data = as_functional(keras.Model(x, y)), Dataset.from_arrays("numbers", "abc", pair, pair, pair)
    quantized, traits = apply(QUANTIZE, model, data, tmp_path)
    (tmp_path / "model.tflite").write_bytes(convert(quantized, "int8", logits=True))
    expected = answers(quantized, features)
    assert set(traits) == {"body", "head"}
    np.testing.assert_allclose(
        predict(tmp_path / "model.tflite", features), expected, atol=0.05 * np.abs(expected).max()
    )


def test_an_einsum_that_is_no_product_of_matrices_stays_float():
    layers = tf_keras.layers
    inputs = tf_keras.Input((4, 8))
    x = layers.EinsumDense("abc,bcd->abd", (4, 6), name="per_position")(inputs)
    model = tf_keras.Model(inputs, layers.EinsumDense("abc,cd->abd", (4, 6), name="shared")(x))
    assert set(QUANTIZE.select(model)) == {"shared"}
