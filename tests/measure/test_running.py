import gzip

import numpy as np
import pytest

from tests.build import build, constant, graph, node, tensor
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.measure.comparison import random_examples
from tfcompress.measure.interpreter import Runner, inputs, predict
from tfcompress.measure.latency import latencies, latency
from tfcompress.measure.memory import memory
from tfcompress.measure.size import size


@pytest.fixture
def file(tiny_vit, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(convert(tiny_vit, "float32"))
    return path


def test_examples_are_fed_as_arrays_or_by_name(file, images):
    by_name = predict(file, ({"image": image} for image in images[:3]))
    np.testing.assert_array_equal(predict(file, images[:3]), by_name)
    assert by_name.shape == (3, 10)


def test_other_types_are_cast_as_keras_does(file, images):
    np.testing.assert_array_equal(predict(file, images[:2].astype(np.float64)), predict(file, images[:2]))


def test_an_output_outlives_the_next_inference(file, images):
    runner = Runner(file)
    first = runner.run(images[0])
    kept = first.copy()
    runner.run(images[1])
    np.testing.assert_array_equal(first, kept)


def test_inputs_are_named_with_or_without_a_signature(foreign):
    assert inputs(foreign["float"]) == {"pixels": "float32 (1, 8, 8, 3)"}
    assert inputs(foreign["unsigned"]) == inputs(foreign["float"])
    assert inputs(foreign["uint8"]) == {"pixels": "uint8 (1, 8, 8, 3)"}


def test_inputs_and_outputs_are_named_apart(tmp_path):
    """The first output is the input as it is; without a signature, two tensors have no name."""
    tensors = [tensor("t", (1, 4)), tensor("", (1, 4)), tensor("", (1, 4))]
    tripled = graph(tensors, [node("ADD", [0, 0], [1]), node("ADD", [1, 0], [2])], outputs=(0, 1, 2, 1))
    path = tmp_path / "a.tflite"
    path.write_bytes(build(tripled, signatures=[("run", 0, {"x": 0}, {"same": 0, "double": 1, "triple": 2})]))
    ones = np.ones(4, np.float32)
    found = Runner(path).run_all({"x": ones})
    assert {name: values[0] for name, values in found.items()} == {"same": 1, "double": 2, "triple": 3}
    path.write_bytes(build(tripled))
    found = Runner(path).run_all({"t": ones})
    assert {name: values[0] for name, values in found.items()} == {"t": 1, "output_1": 2, "output_2": 3, "output_3": 2}


@pytest.mark.parametrize(
    ("kind", "shape", "type", "read", "shape_read"),
    [
        ("TANH", (0, 4), "float32", "float32", (0, 4)),
        ("TANH", (1, 0), "float32", "float32", (0,)),
        ("TANH", (), "float32", "float32", ()),
        ("LOGICAL_NOT", (1, 4), "bool", "bool", (4,)),
        ("FLOOR_MOD", (1, 4), "int64", "int64", (4,)),
        ("WHERE", (1, 4), "float32", "int64", (2,)),
        ("COMPLEX_ABS", (1, 4), "complex64", "float32", (4,)),
        ("RFFT2D", (1, 4, 4), "float32", "complex64", (4, 3, 2)),
    ],
)
def test_inputs_and_outputs_of_any_shape_and_type_of_number(tmp_path, kind, shape, type, read, shape_read):
    """The shape of WHERE's output depends on its input."""
    sizes = {"FLOOR_MOD": [tensor("x2", shape, type)], "RFFT2D": [constant("size", np.int32([4, 4]))]}.get(kind, [])
    out = tensor("y", () if kind == "WHERE" else (1, 4, 3) if kind == "RFFT2D" else shape, read)
    inputs = [0, 1] if kind == "FLOOR_MOD" else [0]
    operator = node(kind, range(1 + len(sizes)), [1 + len(sizes)])
    path = tmp_path / "a.tflite"
    path.write_bytes(build(graph([tensor("x", shape, type), *sizes, out], [operator], inputs, [1 + len(sizes)])))
    runner = Runner(path)
    example = random_examples({"": path}, {"": runner})[0]
    found = runner.run(example)
    assert (found.dtype, found.shape) == (np.float32, shape_read)


def test_texts_are_refused(tmp_path):
    tensors = [tensor("x", (1,), "string"), constant("shape", np.int32([1, 1])), tensor("y", (1, 1), "string")]
    path = tmp_path / "a.tflite"
    path.write_bytes(build(graph(tensors, [node("RESHAPE", (0, 1), (2,))], outputs=(2,))))
    with pytest.raises(UserError, match=r"a\.tflite: y holds texts; only models whose inputs and outputs are numbers"):
        Runner(path)


def test_a_quantized_file_is_fed_and_read_in_real_numbers(foreign, images):
    expected = predict(foreign["float"], images)
    np.testing.assert_allclose(predict(foreign["uint8"], images), expected, atol=0.05)
    as_bytes = np.round(images * 255).astype(np.uint8)
    np.testing.assert_array_equal(predict(foreign["uint8"], as_bytes), predict(foreign["uint8"], images))


def test_of_several_outputs_the_scores_are_read(foreign):
    row = np.arange(4, dtype=np.float32)
    runner = Runner(foreign["several"])
    assert runner.scores.name == "logits"
    assert runner.run(row).shape == (3,)


def test_of_several_signatures_the_first_subgraphs_is_run(foreign):
    row = np.arange(4, dtype=np.float32)
    runner = Runner(foreign["signatures"])
    assert runner.scores.name == "double"
    np.testing.assert_array_equal(runner.run(row), 2 * row)


def test_a_batch_is_filled_with_the_example(foreign):
    row = np.arange(4, dtype=np.float32)
    np.testing.assert_allclose(Runner(foreign["batch"]).run(row), Runner(foreign["several"]).run(row), rtol=1e-6)


def test_the_rows_of_a_table_are_found_behind_other_operators(foreign, tiny_bert, tiny_text, tmp_path):
    assert Runner(foreign["table"]).table_rows() == {"ids": 4}
    assert Runner(foreign["float"]).table_rows() == {}
    (tmp_path / "bert.tflite").write_bytes(convert(tiny_bert, "dynamic"))
    vocabulary = len(tiny_text.decode.vocabulary)
    assert Runner(tmp_path / "bert.tflite").table_rows() == {"token_ids": vocabulary, "segment_ids": 2}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", r"missing\.tflite does not exist"),
        ("garbage", r"LiteRT cannot run .*garbage\.tflite: Model provided is schema version 0"),
        ("custom", r"LiteRT cannot run .*custom\.tflite: .*custom op: Betainc"),
        ("free", r"free\.tflite: input x has no fixed size"),
    ],
)
def test_a_file_that_cannot_be_run_is_named(foreign, name, message):
    with pytest.raises(UserError, match=message):
        Runner(foreign[name])


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (np.zeros((8, 8, 1), np.float32), r"float\.tflite takes float32 \(1, 8, 8, 3\) as pixels.* shape \(8, 8, 1\)"),
        ({"image": np.zeros((8, 8, 3), np.float32)}, r"float\.tflite takes pixels; the examples have image"),
    ],
)
def test_an_example_that_does_not_fit_is_told(foreign, example, message):
    with pytest.raises(UserError, match=message):
        Runner(foreign["float"]).run(example)


def test_an_id_behind_the_table_is_told(foreign):
    with pytest.raises(UserError, match=r"LiteRT cannot run .*table\.tflite: gather index out of bounds"):
        Runner(foreign["table"]).run(np.array([0, 1, 2, 3, 4]))


def test_latency_is_relative_to_the_first_file(file, foreign, images):
    files = {"a": file, "b": foreign["float"]}
    found = latencies(files, dict.fromkeys(files, images[0]), rounds=5)
    assert (found["a"].ratio, found["a"].ratio_low, found["a"].ratio_high) == (1, 1, 1)
    assert 0 < found["b"].ratio_low <= found["b"].ratio <= found["b"].ratio_high
    assert 0 < found["b"].low_ms <= found["b"].median_ms <= found["b"].high_ms


def test_the_interval_of_the_ratio_covers_the_true_one():
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        # Noise of the machine that hits a round's turns alike, and some of each turn's own.
        load = rng.lognormal(0, 0.5, 50)
        first, second = (load * rng.lognormal(0, 0.1, 50) for _ in range(2))
        found = latency(0.8 * second, first)
        covered += found.ratio_low <= 0.8 <= found.ratio_high
        assert found.ratio_high - found.ratio_low < 0.2
        assert found == latency(0.8 * second, first)
    assert 90 <= covered <= 99


def test_the_spread_is_that_of_the_rounds():
    found = latency(np.arange(1, 12) / 1e3, np.ones(11) / 1e3)
    assert (found.low_ms, found.median_ms, found.high_ms) == pytest.approx((2, 6, 10))


def test_memory_counts_the_file_and_not_the_parent(file):
    found, reason = memory(file, threads=2)
    assert reason == ""
    assert 0 < found.above_empty < 64 * 2**20
    # The parent holds TensorFlow, several hundred megabytes.
    assert found.peak_rss < 200 * 2**20


def test_a_process_that_dies_is_a_reason_and_no_error(file, tmp_path, monkeypatch):
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nkill -SEGV $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(dying))
    assert memory(file) == (None, "its process died of SIGSEGV")
    dying.write_text("#!/bin/sh\necho RuntimeError: no >&2; exit 1\n")
    assert memory(file) == (None, "its process stopped: RuntimeError: no")


def test_size_is_raw_and_gzip(file):
    found = size(file)
    assert found.raw == file.stat().st_size
    assert found.gzip == len(gzip.compress(file.read_bytes(), 9, mtime=0))
