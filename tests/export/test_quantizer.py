import json
from collections import Counter
from pathlib import Path

import litert_quantizer
import numpy as np
import pytest
import tf_keras
from litert_quantizer.algorithm_manager import AlgorithmName
from litert_quantizer.qtyping import QuantGranularity, TFLOperationName
from litert_quantizer.recipe_manager import RecipeManager

from tests.build import build, composite, constant, graph, node, tensor
from tfcompress.errors import UserError
from tfcompress.export.converter import convert, convert_function
from tfcompress.export.quantizer import load_quantizer_recipe, needs_calibration, quantize
from tfcompress.export.sources import of_model
from tfcompress.measure.interpreter import predict
from tfcompress.tflite.reading import read
from tfcompress.tflite.runtimes import minimum_runtime, requirements

FORMATS = ["float16", "dynamic", "int8", "int8-full", "int4"]
RECIPES = Path(litert_quantizer.__file__).parent / "recipes"


def outputs(content, examples, folder):
    (folder / "model.tflite").write_bytes(content)
    return predict(folder / "model.tflite", examples)


def versions(content):
    return {one.operator: one.version for one in requirements(content)}


def weights(content, operator, place):
    (graph,) = read(content).graphs
    return [node.inputs[place] for node in graph.operators if node.kind == operator]


@pytest.fixture(scope="module")
def vit(tiny_data, trained_weights):
    """The float file of a tiny ViT, and images to calibrate it with."""
    from ..tiny import tiny_vit_of

    model = tiny_vit_of(trained_weights)
    return convert(model, "float32"), [{"image": image[None]} for image in tiny_data.sample(64, 0)]


@pytest.fixture(scope="module")
def bert(tiny_text, bert_weights):
    """The float file of a tiny BERT, and texts to calibrate it with."""
    from ..tiny import tiny_bert_of

    model = tiny_bert_of(tiny_text, bert_weights)
    sample = tiny_text.sample(32, 0)
    return convert(model, "float32"), [{name: x[i : i + 1] for name, x in sample.items()} for i in range(32)]


@pytest.mark.parametrize("to", FORMATS)
def test_a_vit_agrees_in_every_format(vit, images, tmp_path, to):
    content, calibration = vit
    found = quantize(content, to, calibration)
    expected, answered = outputs(content, images, tmp_path), outputs(found, images, tmp_path)
    assert len(found) < 0.8 * len(content)
    assert np.abs(answered - expected).mean() < 0.01


@pytest.mark.parametrize("to", FORMATS)
def test_a_bert_agrees_in_every_format_and_its_tables_shrink_too(bert, tiny_text, tmp_path, to):
    content, calibration = bert
    found = quantize(content, to, calibration if needs_calibration(to) else None)
    examples = [x for x, _ in tiny_text.examples("test").take(32).as_numpy_iterator()]
    expected, answered = outputs(content, examples, tmp_path), outputs(found, examples, tmp_path)
    assert np.mean(answered.argmax(1) == expected.argmax(1)) > 0.9
    (graph,) = read(found).graphs
    assert [tensor.dtype for tensor in graph.inputs] == ["int32"] * 3
    assert [tensor.dtype for tensor in graph.outputs] == ["float32"]
    if to != "float16":
        assert {tensor.dtype for tensor in weights(found, "GATHER", 0)} == {"int8"}


def test_int8_leaves_normalization_and_softmax_float_and_int8_full_does_not(vit):
    content, calibration = vit
    for to, kind in (("int8", "float32"), ("int8-full", "int8")):
        (graph,) = read(quantize(content, to, calibration)).graphs
        types = {(node.kind, node.inputs[0].dtype) for node in graph.operators}
        assert ("FULLY_CONNECTED", "int8") in types
        assert {("SOFTMAX", kind), ("RSQRT", kind), ("ADD", kind)} <= types


def test_the_file_states_what_its_weights_need(vit):
    content, _ = vit
    assert versions(content)["FULLY_CONNECTED"] == 5
    dynamic, by_channel = quantize(content, "dynamic"), quantize(content, "dynamic", per_channel=True)
    assert {len(tensor.scales) for tensor in weights(dynamic, "FULLY_CONNECTED", 1)} == {1}
    assert (versions(dynamic)["FULLY_CONNECTED"], minimum_runtime(dynamic)) == (5, "2.9.0")
    assert max(len(tensor.scales) for tensor in weights(by_channel, "FULLY_CONNECTED", 1)) == 64
    assert (read(by_channel).codes[0].name, minimum_runtime(by_channel)) != ("", "2.9.0")
    assert {code.version for code in read(by_channel).codes if code.name == "FULLY_CONNECTED"} == {12}
    assert read(by_channel).entry("min_runtime_version").data.tobytes().rstrip(b"\0") == b"2.17.0"
    half_byte = quantize(content, "int4")
    # TFLite 2.16 has version 11, and would compute these wrongly.
    assert {code.version for code in read(half_byte).codes if code.name == "FULLY_CONNECTED"} == {13}


def test_convolutions_keep_one_scale_per_output(tmp_path):
    layers = tf_keras.layers
    x = tf_keras.Input((12, 12, 3), name="x")
    y = layers.DepthwiseConv2D(3)(layers.Conv2D(8, 3, activation="relu")(x))
    model = tf_keras.Model(x, layers.Dense(4)(layers.GlobalAveragePooling2D()(y)))
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.normal(size=variable.shape) * np.geomspace(0.1, 1, variable.shape[-1]))
    content = convert_function(of_model(model).serving, "float32")
    examples = rng.random((16, 12, 12, 3), np.float32)
    expected = outputs(content, examples, tmp_path)
    for to in ("dynamic", "int8", "int4"):
        found = quantize(content, to, [{"x": image[None]} for image in examples])
        allowed = 0.25 if to == "int4" else 0.05
        assert np.abs(outputs(found, examples, tmp_path) - expected).max() < allowed * np.abs(expected).max()


@pytest.mark.parametrize("to", ["int8", "int8-full"])
@pytest.mark.parametrize(("kind", "unroll"), [("LSTM", False), ("GRU", False), ("LSTM", True)])
def test_recurrent_layers_are_quantized_and_only_the_weights_within_a_loop(tmp_path, kind, unroll, to):
    tf_keras.utils.set_random_seed(0)
    x = tf_keras.Input((6, 4), name="x")
    y = getattr(tf_keras.layers, kind)(64, unroll=unroll)(x)
    content = convert_function(of_model(tf_keras.Model(x, tf_keras.layers.Dense(3)(y))).serving, "float32")
    examples = np.random.default_rng(0).random((16, 6, 4), np.float32)
    found = quantize(content, to, [{"x": series[None]} for series in examples])
    expected = outputs(content, examples, tmp_path)
    assert np.abs(outputs(found, examples, tmp_path) - expected).max() < 0.05 * np.abs(expected).max()
    graphs = read(found).graphs
    assert (len(graphs) == 1) == unroll
    for place, one in enumerate(graphs):
        for dense in (operator for operator in one.operators if operator.kind == "FULLY_CONNECTED"):
            assert dense.inputs[1].dtype == "int8"
            assert dense.inputs[0].dtype == ("float32" if place else "int8")


def test_a_recipe_of_the_quantizer_is_followed(vit, tmp_path):
    content, calibration = vit
    recipe = load_quantizer_recipe(RECIPES / "dynamic_wi8_afp32_recipe.json")
    assert not needs_calibration(recipe)
    types = Counter(tensor.dtype for tensor in weights(quantize(content, recipe), "FULLY_CONNECTED", 1))
    assert types == {"int8": sum(types.values())}
    static = load_quantizer_recipe(RECIPES / "default_a8w8_recipe.json")
    assert needs_calibration(static)
    with pytest.raises(UserError, match="this recipe needs examples to calibrate with"):
        quantize(content, static)
    (graph,) = read(quantize(content, static, calibration)).graphs
    assert graph.inputs[0].dtype == "int8"


def test_oscar_gets_the_statistics_that_it_needs(vit, caplog):
    content, calibration = vit
    manager = RecipeManager()
    dense, granularity = TFLOperationName.FULLY_CONNECTED, QuantGranularity.CHANNELWISE
    manager.add_dynamic_config(".*", dense, 4, granularity, AlgorithmName.OSCAR)
    recipe = manager.get_quantization_recipe()
    assert needs_calibration(recipe)
    found, again = (quantize(content, recipe, examples) for examples in (calibration, calibration[:1]))
    assert "no activation second moments" not in caplog.text
    assert found != again


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"regex": ".*"}]', "nothing", '[{"regex": ".*", "operation": "SIN"}]'])
def test_an_invalid_recipe_is_refused(tmp_path, text):
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(UserError, match=r"recipe\.json is not a recipe of litert-quantizer"):
        load_quantizer_recipe(tmp_path / "recipe.json")


def test_models_that_cannot_be_quantized_are_refused(vit, tmp_path):
    content, calibration = vit
    for to in ("dynamic", "float16"):
        with pytest.raises(UserError, match=r"the file is already quantized: .* is (int8|float16)"):
            quantize(quantize(content, to), "int8", calibration)
    with pytest.raises(UserError, match="int8 needs examples to calibrate with"):
        quantize(content, "int8")
    x = tf_keras.Input((4,), name="x")
    weightless = of_model(tf_keras.Model(x, tf_keras.layers.ReLU()(x)))
    with pytest.raises(UserError, match="no weights that this format quantizes"):
        quantize(convert_function(weightless.serving, "float32"), "dynamic")
    with pytest.raises(UserError, match="litert-quantizer cannot quantize this model"):
        quantize(content, "int8", [{"picture": np.zeros((1, 8, 8, 3), np.float32)}])
    blocks = json.loads((RECIPES / "dynamic_wi8_afp32_recipe.json").read_text())
    blocks[0]["op_config"]["weight_tensor_config"] |= {"num_bits": 4, "granularity": "BLOCKWISE_32"}
    with pytest.raises(UserError, match="not divisible by block size 32"):
        quantize(content, blocks)


@pytest.mark.parametrize(("inputs", "outputs"), [((), (2,)), ((-1, 0), (2,)), ((1, 0), ())])
def test_a_lookup_without_its_tensors_is_refused(inputs, outputs):
    tensors = [tensor("ids", (1,), "int32"), constant("table", np.ones((4, 2), np.float32)), tensor("row", (1, 2))]
    lookup = graph(tensors, [node("GATHER", inputs, outputs)], outputs=(2,))
    content = build(lookup, signatures=[("main", 0, {"ids": 0}, {"row": 2})])
    with pytest.raises(UserError, match=r"cannot quantize this model|no weights that this format"):
        quantize(content, "dynamic")


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize("name", ["odml.rms_norm", "mine.norm"])
def test_composites_of_any_name_are_left_as_they_are(tmp_path, name, to):
    """The tensors of both graphs have the same names, and some have none."""
    rng = np.random.default_rng(0)
    kernels = [constant("", rng.normal(size=(8, size)).astype(np.float32)) for size in (4, 8)]
    rows = [tensor(f"y{i}", (1, 8)) for i in range(3)]
    dense = [node("FULLY_CONNECTED", (0, 1, -1), (3,)), node("FULLY_CONNECTED", (4, 2, -1), (5,))]
    main = graph(
        [tensor("x", (1, 4)), *kernels, *rows], [dense[0], composite(name, [3], [4], 1), dense[1]], outputs=(5,)
    )
    gain = constant("", rng.normal(size=8).astype(np.float32))
    body = graph(
        [tensor("x", (1, 8)), gain, *rows],
        [node("MUL", (0, 1), (2,)), node("TANH", (2,), (4,))],
        outputs=(4,),
    )
    content = build(main, body, signatures=[("run", 0, {"x": 0}, {"y": 5})])
    examples = rng.random((8, 4), np.float32)
    expected = outputs(content, examples, tmp_path)
    found = outputs(quantize(content, to, [{"x": example[None]} for example in examples]), examples, tmp_path)
    assert np.abs(found - expected).max() < 0.2 * np.abs(expected).max()
