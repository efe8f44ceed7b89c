import subprocess
import sys

import numpy as np
import pytest
import tf_keras
from ai_edge_litert import schema_py_generated as schema

import tfcompress_runtime
from tests.build import build, graph, node, tensor
from tests.packed.graphs import Model
from tests.post_training.strangers import dense, pictures, random, small_cnn
from tfcompress.commands.cluster import cluster_file
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.export.quantizer import quantize
from tfcompress.export.sources import Source
from tfcompress.measure.interpreter import predict
from tfcompress.packed.codebook import count_distinct
from tfcompress.packed.file_weights import weights
from tfcompress.packed.packer import pack
from tfcompress.post_training.method import Settings


def classifier() -> tf_keras.Model:
    """A classifier of digits whose weights are random and large enough for decided probabilities."""
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.Dense(48, "relu")(tf_keras.layers.Flatten()(image))
    x = tf_keras.layers.Dense(48, "relu")(x)
    model = tf_keras.Model(image, tf_keras.layers.Dense(10, "softmax", name="probabilities")(x))
    model.set_weights([3 * weights for weights in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def of_digits() -> bytes:
    return convert(classifier(), "float32")


@pytest.fixture
def source(tmp_path):
    """The path of a stranger's file, which takes an input `t0`."""
    path = tmp_path / "strange.tflite"
    path.write_bytes(small_cnn())
    return path


@pytest.mark.usefixtures("library")
def test_a_strangers_file_is_clustered_packed_and_compared(source, tmp_path):
    np.savez(tmp_path / "mine.npz", t0=np.stack(pictures(64)))
    out, other = tmp_path / "new" / "out.tflite", tmp_path / "other.tflite"
    plain = cluster_file(source, other, bits=4)
    found = cluster_file(source, out, 16, calibration=str(tmp_path / "mine.npz"), examples=40)
    assert (found.bits, found.kernels, found.calibrated, plain.calibrated) == (4, 3, 40, 0)
    assert (found.bytes_before, found.bytes_after) == (source.stat().st_size, out.stat().st_size)
    assert found.bytes_after < found.bytes_before / 5
    assert found.left == {"c15": "it has fewer than 1,024 weights"}
    unseen = pictures(64)[40:]
    wanted, without = predict(source, unseen), np.mean((predict(other, unseen) - predict(source, unseen)) ** 2)
    assert np.mean((predict(out, unseen) - wanted) ** 2) < without / 2
    assert found.likeness.cosine.value > 0.99
    assert found.likeness.divergence is None
    text = str(found)
    assert f"{out}: packed; 3 kernels of at most 16 values (4 bits a weight)" in text
    assert f"clustered with errors compensated on 40 examples of {tmp_path}/mine.npz" in text
    assert "left float: c15: it has fewer than 1,024 weights" in text
    assert "run on 40 calibration examples: outputs differ by " in text
    assert "clustered by k-means, because there are no calibration data" in str(plain)
    assert "run on 32 random inputs" in str(plain)


@pytest.mark.usefixtures("library")
def test_a_keras_model_is_clustered_on_a_data_set(tmp_path):
    found, int8 = (
        cluster_file(classifier(), tmp_path / "out.tflite", calibration="digits", examples=32, activations=activations)
        for activations in (None, "int8")
    )
    assert (found.calibration, found.calibrated, found.kernels, found.clusters) == ("digits", 32, 2, 64)
    assert found.likeness.difference.finite
    assert found.likeness.divergence.value < int8.likeness.divergence.value < 0.01
    assert int8.likeness.difference.same_top1 >= 30
    assert "; the same top-1 on 3" in str(int8)
    assert "; KL " in str(int8)


@pytest.mark.usefixtures("library")
def test_kernels_of_different_widths_are_counted_and_run(source, tmp_path):
    chosen = {"c4": Settings(8), "c7": Settings(64)}
    out, examples = tmp_path / "out.tflite", pictures(20)
    found = cluster_file(source, out, calibration=examples, choose=lambda *_: chosen)
    sizes = {one.name: one.values.size for one in weights(source.read_bytes())}
    assert (found.clusters, found.fewest, found.kernels) == (64, 8, 2)
    assert found.bits == (3 * sizes["c4"] + 6 * sizes["c7"]) / (sizes["c4"] + sizes["c7"])
    assert f"packed; 2 kernels of at most 8 to 64 values ({found.bits:.1f} bits a weight on average)" in str(found)
    assert found.likeness.cosine.value > 0.9
    assert predict(out, examples).shape == (20, 10)


def test_a_stock_file_has_few_values_for_zip_and_can_be_packed(source, tmp_path):
    stock, examples = tmp_path / "stock.tflite", pictures(20)
    done = cluster_file(source, stock, 16, calibration=examples, packed=False)
    large = [one for one in weights(stock.read_bytes()) if one.values.size >= 1024]
    assert large
    assert all(count_distinct(one.values) <= 16 for one in large)
    assert len(pack(stock.read_bytes())) < stock.stat().st_size
    assert f"{stock}: stock; " in str(done)
    assert "about as many as before" in str(done)
    assert predict(stock, examples[:2]).shape == (2, 10)


def test_a_file_is_clustered_in_place_and_without_tensorflow(source, tmp_path):
    """Its suffix and that of the calibration data may have capitals."""
    source = source.rename(tmp_path / "strange.TFLITE")
    np.savez(tmp_path / "mine.npz", t0=np.stack(pictures(16)))
    (tmp_path / "mine.npz").rename(tmp_path / "mine.NPZ")
    before = source.read_bytes()
    script = """
import sys
from pathlib import Path
from tfcompress.commands.cluster import cluster_file

print(cluster_file(Path(sys.argv[1]), Path(sys.argv[1]), 16, calibration=sys.argv[2]))
assert "tensorflow" not in sys.modules
"""
    command = [sys.executable, "-c", script, str(source), str(tmp_path / "mine.NPZ")]
    done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert f"bytes instead of {len(before):,}, " in done
    assert not source.is_symlink()
    assert len(source.read_bytes()) < len(before) / 5


def test_without_the_runtime_a_packed_file_is_written_and_not_run(source, tmp_path, monkeypatch):
    monkeypatch.setattr(tfcompress_runtime, "__path__", [])
    done = cluster_file(source, tmp_path / "out.tflite")
    assert done.likeness is None
    assert "not run: the packed runtime" in str(done)
    assert (tmp_path / "out.tflite").is_file()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clusters": 1}, "1 clusters were asked for; from 2 to 256 are possible"),
        ({"clusters": 257}, "257 clusters were asked for"),
        ({"bits": 1}, "1 bits were asked for; from 2 to 8 are possible"),
        ({"bits": 9}, "9 bits were asked for"),
        ({"clusters": 16, "bits": 4}, "16 clusters and 4 bits were asked for; give one of the two"),
        ({"examples": 0}, "0 examples were asked for; at least one is needed"),
        ({"activations": "int4"}, "activations 'int4' are not known; choose float32 or int8"),
        ({"activations": "int8", "packed": False}, "activations 'int8' are of a packed file; leave them out"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_the_model_is_opened(tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        cluster_file(tmp_path / "missing.tflite", tmp_path / "out.tflite", **settings)


def two_graphs(control: bool) -> bytes:
    """A dense layer in each of two graphs, of which the first may run the second in a loop."""
    model = Model(1, 64)
    weights = model.tensors[random(model, (64, 64))]
    tensors = [tensor("x", (1, 64)), weights, tensor("y", (1, 64)), tensor("z", (1, 64))]
    made = [node("FULLY_CONNECTED", (0, 1, -1), (2,), 6)]
    if control:
        loop = node("WHILE", (2,), (3,))
        loop.builtinOptionsType = schema.BuiltinOptions.WhileOptions
        loop.builtinOptions = schema.WhileOptionsT(1, 2)
        tests = [tensor("x", (1, 64)), tensor("no", (1,), "bool")]
        condition = graph(tests, [node("REDUCE_ANY", (0,), (1,))], outputs=(1,))
        return build(graph(tensors, [*made, loop], outputs=(3,)), condition, graph(tensors, made, outputs=(2,)))
    return build(graph(tensors, made, outputs=(2,)), graph(tensors, made, outputs=(2,)))


def small() -> bytes:
    model = Model(1, 16)
    return model.file(dense(model, 0, (1, 16)))


@pytest.mark.parametrize(
    ("kind", "calibrated", "message"),
    [
        ("int8-full", False, "the file computes with integer activations; cluster the float model that it was made"),
        ("dynamic", False, "FULLY_CONNECTED reads the int8 weights .* and computes with integers; cluster the float"),
        ("packed", False, "the file is packed; `tfcompress unpack` restores the stock file, which can be clustered"),
        ("small", False, r"nothing to cluster: no dense layer, .* 1,024 constant float32 weights or more; give a file"),
        ("two graphs", True, "has 2 graphs, and only one graph .* can be calibrated; leave out the calibration data"),
        ("garbage", False, "is not a valid .tflite file"),
    ],
)
def test_a_file_that_cannot_be_clustered_is_refused(of_digits, tmp_path, kind, calibrated, message):
    files = {
        "int8-full": lambda: quantize(of_digits, "int8-full", [{"image": np.ones((1, 8, 8, 3), np.float32)}]),
        "dynamic": lambda: quantize(of_digits, "dynamic"),
        "packed": lambda: pack(_clustered(), allow_larger=True),
        "small": small,
        "two graphs": lambda: two_graphs(False),
        "garbage": lambda: b"TFL3" * 9,
    }
    path = tmp_path / "bad.tflite"
    path.write_bytes(files[kind]())
    calibration = [np.zeros(64, np.float32)] * 20 if calibrated else None
    with pytest.raises(UserError, match=rf"bad\.tflite.*{message}"):
        cluster_file(path, tmp_path / "out.tflite", calibration=calibration)
    assert [one.name for one in tmp_path.iterdir()] == ["bad.tflite"]


def _clustered() -> bytes:
    model = Model(1, 64)
    return model.file(model.dense(0, (1, 64)))


def test_a_model_after_quantization_aware_training_is_refused(tmp_path):
    model = Source("mine", quantized=True)
    with pytest.raises(UserError, match="was prepared for int8 by quantization-aware training; cluster the model"):
        cluster_file(model, tmp_path / "out.tflite")


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (np.ones((20, 7, 8, 3)), r"takes float32 \(1, 8, 8, 3\) as t0, but an example .* \(7, 8, 3\)"),
        (np.full((20, 8, 8, 3), np.nan), "an example to calibrate with has numbers in t0 that are not finite"),
        (np.ones((0, 8, 8, 3)), "there are no examples to calibrate with; give at least one"),
    ],
)
def test_calibration_data_that_do_not_fit_are_refused(source, tmp_path, examples, message):
    np.savez(tmp_path / "mine.npz", t0=examples.astype(np.float32))
    with pytest.raises(UserError, match=message):
        cluster_file(source, tmp_path / "out.tflite", calibration=str(tmp_path / "mine.npz"))
    assert not (tmp_path / "out.tflite").exists()


def test_one_example_is_taken_with_a_warning(source, tmp_path):
    with pytest.warns(UserWarning, match="calibration on 1 of at least 16 examples says little"):
        done = cluster_file(source, tmp_path / "out.tflite", calibration=pictures(1))
    assert done.calibrated == 1


def test_shared_weights_and_constant_inputs_are_clustered(tmp_path):
    model = Model(1, 64)
    shared = random(model, (64, 64))
    y = dense(model, dense(model, 0, (1, 64), shared), (1, 64), shared)
    (tmp_path / "shared.tflite").write_bytes(model.file(y))
    found = cluster_file(
        tmp_path / "shared.tflite", tmp_path / "out.tflite", calibration=[np.ones(64, np.float32)] * 20
    )
    assert found.kernels == 1
    assert found.likeness is None or found.likeness.cosine.value > 0.99


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_weights_of_fewer_bits_are_taken_with_a_warning(source, of_digits, tmp_path, kind):
    if kind == "float16":
        taken = quantize(of_digits, "float16")
    else:
        model = Model(1, 64)
        scales = {"scales": np.full(1, 0.01, np.float32), "zero_points": np.zeros(1, np.int64)}
        coded = model.constant(model.rng.integers(-127, 128, (64, 64)), np.int8, **scales)
        weights = model.add("DEQUANTIZE", [coded], (64, 64), 2, own=schema.DequantizeOptionsT())
        taken = model.file(dense(model, 0, (1, 64), weights))
    source.write_bytes(taken)
    with pytest.warns(
        UserWarning, match=f"stores weights as {kind}, so their rounding stays; cluster the float32 model"
    ):
        done = cluster_file(source, tmp_path / "out.tflite")
    assert done.kernels == (2 if kind == "float16" else 1)
    assert done.bytes_after < done.bytes_before


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(source, below_a_file, tmp_path):
    np.savez(tmp_path / "bad.npz", t0=np.full((20, 8, 8, 3), np.nan, np.float32))
    with pytest.raises(UserError, match="cannot write"):
        cluster_file(source, below_a_file, calibration=str(tmp_path / "bad.npz"))
    with pytest.raises(UserError, match="is a folder; name the file to write"):
        cluster_file(source, tmp_path)
    with pytest.raises(UserError, match=r"model\.h5 would replace another file"):
        cluster_file(tmp_path / "model.h5", tmp_path / "model.h5")
