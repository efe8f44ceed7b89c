import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from ai_edge_litert.interpreter import Interpreter

from tests.build import build, constant, graph, node, tensor
from tfcompress.commands.convert import Conversion, convert_file
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.export.formats import FORMATS
from tfcompress.measure.agreement import Difference
from tfcompress.measure.interpreter import predict
from tfcompress.tflite.metadata import Description, ImageInput, TextInput, describe, read_description
from tfcompress.tflite.reading import read


@pytest.fixture
def stage(tiny_vit, tmp_path) -> Path:
    """A finished stage of a run."""
    folder = tmp_path / "run" / "stages" / "00-base"
    folder.mkdir(parents=True)
    tiny_vit.save(folder / "model.h5", include_optimizer=False)
    (folder / "stage.json").write_text("{}")
    data = {"name": "digits", "classes": list("0123456789")}
    (tmp_path / "run" / "run.json").write_text(json.dumps({"data set": data}))
    return folder


@pytest.fixture
def float_file(tiny_vit, tmp_path) -> Path:
    path = tmp_path / "float.tflite"
    labels = tuple("0123456789")
    path.write_bytes(describe(convert(tiny_vit, "float32"), Description("digits", "mine", labels, ImageInput())))
    return path


@pytest.mark.parametrize("to", FORMATS)
def test_a_stage_is_converted_to_every_format(stage, tmp_path, to):
    done = convert_file(stage, tmp_path / "new" / "out.tflite", to, "digits", examples=8)
    assert (done.path, done.bytes) == (tmp_path / "new" / "out.tflite", done.path.stat().st_size)
    assert done.inputs == {"image": "float32 (1, 8, 8, 3)"}
    assert done.outputs == {"probabilities": "float32 (1, 10)"}
    assert done.difference.largest_difference < (1e-5 if to == "float32" else 0.2)
    assert done.minimum_runtime == ("" if to == "int4" else "2.9.0")
    found = read_description(done.path.read_bytes())
    assert (found.labels, found.input) == (tuple("0123456789"), ImageInput())
    assert f"out.tflite: {to}, {done.bytes:,} bytes" in str(done)


@pytest.mark.parametrize("to", FORMATS)
def test_a_float_file_is_converted_and_keeps_its_metadata(float_file, images, tmp_path, to):
    done = convert_file(float_file, tmp_path / "out.tflite", to, list(images[:8]))
    assert read_description(done.path.read_bytes()) == read_description(float_file.read_bytes())
    assert np.abs(predict(done.path, images[:4]) - predict(float_file, images[:4])).max() < 0.2


def test_quantization_aware_training_is_converted_to_int8(tmp_path):
    x = tf_keras.Input((8,), name="x")
    plain = tf_keras.Model(x, tf_keras.layers.Dense(3)(tf_keras.layers.Dense(16, activation="relu")(x)))
    tfmot.quantization.keras.quantize_model(plain).save(tmp_path / "model.h5", include_optimizer=False)
    done = convert_file(tmp_path / "model.h5", tmp_path / "out.tflite", "int8")
    assert (done.difference.largest_difference < 0.1, done.calibrated) == (True, 0)
    (graph,) = read(done.path.read_bytes()).graphs
    assert "int8" in {tensor.dtype for tensor in graph.tensors if len(tensor.data)}
    for settings in ({"to": "dynamic"}, {"to": "int8", "per_channel": True}):
        with pytest.raises(UserError, match="was prepared for int8"):
            convert_file(tmp_path / "model.h5", tmp_path / "out.tflite", **settings)


def test_texts_are_cut_by_the_tokenizer_beside_the_model(tiny_bert, tiny_text, tmp_path):
    tiny_bert.save(tmp_path / "model.h5", include_optimizer=False)
    tiny_text.decode.save(tmp_path)
    rows = [f"{label}\tthe horse and the pear here {i}" for i, label in enumerate(["a", "b", "c"] * 20)]
    (tmp_path / "mine.tsv").write_text("\n".join(["label\ttext", *rows]) + "\n")
    done = convert_file(tmp_path / "model.h5", tmp_path / "out.tflite", "int8", f"text_file:{tmp_path}/mine.tsv", 16)
    assert done.calibrated == 16
    assert sorted(done.inputs) == ["padding_mask", "segment_ids", "token_ids"]
    assert done.difference.largest_difference < 0.5


def test_a_stage_of_texts_carries_its_vocabulary_through_every_format(tiny_bert, tiny_text, tmp_path):
    stage = tmp_path / "stages" / "00-base"
    stage.mkdir(parents=True)
    tiny_bert.save(stage / "model.h5", include_optimizer=False)
    (stage / "stage.json").write_text("{}")
    tiny_text.decode.save(stage)
    for to in ("float32", "int4"):
        done = convert_file(tmp_path, tmp_path / f"{to}.tflite", to)
        assert read_description(done.path.read_bytes()).input == TextInput(tiny_text.decode.vocabulary, True)
        assert done.difference.same_top1 == 2


def test_saved_models_and_keras_3_are_calibrated_from_arrays(tmp_path):
    first, second = keras.Input((8,), name="first"), keras.Input((8,), name="second", dtype="int32")
    y = keras.layers.Concatenate()(
        [keras.layers.Dense(64, activation="relu")(first), keras.layers.Rescaling(0.5)(second)]
    )
    keras.Model([first, second], keras.layers.Dense(3)(y)).save(tmp_path / "model.keras")
    done = convert_file(tmp_path / "model.keras", tmp_path / "float.tflite", "float32")
    assert done.difference.largest_difference < 1e-5
    rng = np.random.default_rng(0)
    shapes = dict.fromkeys(done.inputs, (16, 8))
    arrays = {
        name: rng.integers(0, 9, shape) if "int32" in done.inputs[name] else rng.random(shape)
        for name, shape in shapes.items()
    }
    np.savez(tmp_path / "examples.npz", **arrays)
    done = convert_file(tmp_path / "model.keras", tmp_path / "out.tflite", "int8", f"{tmp_path}/examples.npz", 12)
    assert (done.calibrated, done.difference.largest_difference < 0.1) == (12, True)


@pytest.fixture
def two_signatures(tmp_path) -> Path:
    """`encode` takes a row as `x`, and `score` takes two rows of another length as `left` and `right`."""
    rng = np.random.default_rng(0)
    kernels = [constant("w", rng.normal(size=(8, size)).astype(np.float32)) for size in (4, 6)]
    encode = graph(
        [tensor("row", (1, 4)), kernels[0], tensor("y", (1, 8))], [node("FULLY_CONNECTED", (0, 1, -1), (2,))], [0], [2]
    )
    score = graph(
        [tensor("row", (1, 6)), tensor("row_1", (1, 6)), kernels[1], tensor("sum", (1, 6)), tensor("y", (1, 8))],
        [node("ADD", (0, 1), (3,)), node("FULLY_CONNECTED", (3, 2, -1), (4,))],
        [0, 1],
        [4],
    )
    signatures = [("score", 1, {"left": 0, "right": 1}, {"found": 4}), ("encode", 0, {"x": 0}, {"found": 2})]
    path = tmp_path / "two.tflite"
    path.write_bytes(build(encode, score, signatures=signatures))
    return path


@pytest.mark.parametrize("to", FORMATS)
def test_each_signature_is_calibrated_by_its_own_names(two_signatures, tmp_path, to):
    rng = np.random.default_rng(1)
    arrays = {"x": rng.random((8, 4)), "score/left": 9 * rng.random((8, 6)), "right": rng.random((8, 6))}
    np.savez(tmp_path / "examples.npz", **arrays)
    found = convert_file(two_signatures, tmp_path / "out.tflite", to, f"{tmp_path}/examples.npz")
    assert found.difference.largest_difference < 0.2 * found.difference.largest_output
    outputs = []
    for path in (two_signatures, found.path):
        interpreter = Interpreter(str(path))
        score = interpreter.get_signature_runner("score")
        outputs.append(score(left=np.float32(arrays["score/left"][:1]), right=np.float32(arrays["right"][:1]))["found"])
    assert np.abs(outputs[1] - outputs[0]).max() < 0.2 * np.abs(outputs[0]).max()


def test_a_signature_without_examples_is_named(two_signatures, tmp_path):
    examples = [{"x": np.ones(4, np.float32), "left": np.ones(6, np.float32)}]
    message = r"signature score of .*two\.tflite takes left, right, but .* x, left; right is missing; give it as score/"
    with pytest.raises(UserError, match=message):
        convert_file(two_signatures, tmp_path / "out.tflite", "int8", examples)


def test_examples_that_do_not_fit_are_named(float_file, tmp_path):
    def stored(**arrays):
        np.savez(tmp_path / "examples.npz", **arrays)
        return f"{tmp_path}/examples.npz"

    picture = np.zeros((4, 8, 8, 3), np.float32)
    for calibration, message in {
        "nothing": "nothing is no data set",
        f"{tmp_path}/none.npz": r"none\.npz cannot be read as an \.npz",
        f"image_folder:{tmp_path}/none": "none",
        "image_folder": "NAME:PATH",
        "sms_spam": r"float\.tflite takes float32 \(1, 8, 8, 3\) as image; texts can only",
    }.items():
        with pytest.raises(UserError, match=message):
            convert_file(float_file, tmp_path / "out.tflite", "int8", calibration)
    for arrays, message in (
        ({"one": picture, "more": picture}, r"takes image, but the examples .* are called one, more; image is missing"),
        (
            {"image": picture[:, 1:]},
            r"takes float32 \(1, 8, 8, 3\) as image, but an example .* has float32 \(7, 8, 3\)",
        ),
        ({"image": picture.astype(complex)}, r"an example to calibrate with has complex128 \(8, 8, 3\)"),
        ({"image": picture + np.nan}, "has numbers in image that are not finite in float32; remove the example or"),
        ({"image": picture.astype(float) + 1e300}, "has numbers in image that are not finite in float32"),
        ({"image": picture, "more": picture[1:]}, "arrays of different lengths"),
        ({"image": picture[:0]}, "no examples to calibrate with"),
        ({"image": np.float32(1)}, r"an example to calibrate with has float32 \(\); it must be"),
        ({"image": np.array([{}], object)}, r"cannot be read as an \.npz of arrays: Object arrays"),
    ):
        with pytest.raises(UserError, match=message):
            convert_file(float_file, tmp_path / "out.tflite", "int8", stored(**arrays))
    drawn = np.random.default_rng(0).random(picture.shape, np.float32)
    convert_file(float_file, tmp_path / "fine.tflite", "int8", stored(any_name=drawn))
    np.save(tmp_path / "array.npy", picture)
    np.savez_compressed(tmp_path / "damaged.npz", image=np.random.default_rng(0).random((4, 8, 8, 3)))
    good = (tmp_path / "damaged.npz").read_bytes()
    for name, content, reason in (
        ("empty", b"", "it is no archive, as np.savez writes it"),
        ("page", b"<!doctype html>", "it is no archive"),
        ("array", (tmp_path / "array.npy").read_bytes(), "it is no archive"),
        ("damaged", good[:200] + b"\xff" * 60 + good[260:], "Error -3 while decompressing data"),
    ):
        (tmp_path / f"{name}.npz").write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}\.npz cannot be read as an \.npz of arrays: {reason}"):
            convert_file(float_file, tmp_path / "out.tflite", "int8", f"{tmp_path}/{name}.npz")
    assert not (tmp_path / "out.tflite").exists()


def test_a_runtime_that_is_too_old_is_refused_with_what_it_lacks(stage, tmp_path):
    done = convert_file(stage, tmp_path / "out.tflite", "dynamic", min_runtime="2.16")
    assert done.minimum_runtime == "2.9.0"
    before = done.path.read_bytes()
    for settings, message in (
        (
            {"to": "dynamic", "per_channel": True},
            r"not run in TFLite 2\.16: it has FULLY_CONNECTED version 12 \(2\.17\.0\)",
        ),
        ({"to": "int4"}, r"it has FULLY_CONNECTED version 13 \(no known version\)"),
    ):
        with pytest.raises(UserError, match=message):
            convert_file(stage, tmp_path / "out.tflite", min_runtime="2.16", **settings)
    assert done.path.read_bytes() == before  # What was there stays.
    done = convert_file(stage, tmp_path / "out.tflite", "dynamic", per_channel=True, min_runtime="2.17.0")
    assert (done.minimum_runtime, done.path.read_bytes() == before) == ("2.17.0", False)


def test_settings_that_do_not_go_together_are_said(float_file, tmp_path):
    recipe = tmp_path / "recipe.json"
    tensor = {"num_bits": 8, "symmetric": True, "granularity": "CHANNELWISE", "dtype": "INT"}
    config = {"weight_tensor_config": tensor, "compute_precision": "INTEGER", "explicit_dequantize": False}
    rule = {"regex": ".*", "operation": "*", "algorithm_key": "min_max_uniform_quantize", "op_config": config}
    recipe.write_text(json.dumps([rule]))
    assert convert_file(float_file, tmp_path / "out.tflite", recipe).difference.largest_difference < 0.1
    for settings, message in (
        ({"to": "int7"}, r"format 'int7' is neither one of float32, .* nor a \.json recipe"),
        ({"to": "none.json"}, r"none\.json is not a recipe of litert-quantizer"),
        ({"to": "int8"}, "int8 needs examples to calibrate with: --calibration NAME"),
        ({"to": "int4", "per_channel": False}, "leave out --per-tensor"),
        ({"to": recipe, "per_channel": True}, r"recipe\.json itself says how scales are shared"),
        ({"to": "float32", "min_runtime": "new"}, "minimum runtime 'new' is not a version of TFLite"),
        ({"to": "int8", "calibration": "digits", "examples": 0}, "0 examples were asked for; at least one"),
    ):
        with pytest.raises(UserError, match=message):
            convert_file(float_file, tmp_path / "refused.tflite", **settings)
    with pytest.raises(UserError, match=r"out\.tflite: the file is already quantized: .* is int8"):
        convert_file(tmp_path / "out.tflite", tmp_path / "refused.tflite", "float32")
    assert not (tmp_path / "refused.tflite").exists()


def test_a_file_that_gives_no_numbers_is_not_left(tmp_path):
    x = tf_keras.Input((4,), name="x")
    model = tf_keras.Model(x, tf.math.log(x - 5.0), name="mine")
    with pytest.raises(UserError, match="mine as float32: its outputs are not all finite numbers"):
        convert_file(model, tmp_path / "out.tflite", "float32")
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_is_refused_before_the_model_is_opened(tmp_path, below_a_file):
    (tmp_path / "model.h5").write_bytes(b"damaged")
    for output, message in (
        (tmp_path, "is a folder; name the file to write"),
        (below_a_file, "cannot write .*: Not a directory; choose another folder"),
        (tmp_path / "model.h5", r"model\.h5 would replace another file that this command reads or writes; give it"),
    ):
        with pytest.raises(UserError, match=message):
            convert_file(tmp_path / "model.h5", output, "float32")
    assert (tmp_path / "model.h5").read_bytes() == b"damaged"


def test_random_inputs_are_no_measure_of_top1():
    def told(same: int, calibrated: int) -> bool:
        difference = Difference(2, 0.1, 1.0, same, finite=True)
        made = Conversion(Path("a.tflite"), "dynamic", 9, "2.9.0", {}, {}, calibrated, difference)
        return "which is no measure; for one, name data: tfcompress compare --data" in str(made)

    assert [told(1, 0), told(2, 0), told(1, 2)] == [True, False, False]
