import gzip

import numpy as np
import pytest

from tfcompress.export.converter import convert
from tfcompress.measure.interpreter import Runner, predict
from tfcompress.measure.latency import latencies
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
    runner.load(images[0])
    runner.invoke()
    first = runner.output()
    kept = first.copy()
    runner.load(images[1])
    runner.invoke()
    np.testing.assert_array_equal(first, kept)


def test_latency_is_relative_to_the_first_file(file, images):
    found = latencies({"a": file, "b": file}, images[0], rounds=5)
    assert found["a"].ratio == 1
    assert found["b"].ratio > 0
    assert found["b"].median_ms > 0


def test_memory_counts_the_file_and_not_the_parent(file):
    found = memory(file)
    assert 0 < found.above_empty < 64 * 2**20
    # The parent holds TensorFlow, several hundred megabytes.
    assert found.peak_rss < 200 * 2**20


def test_size_is_raw_and_gzip(file):
    found = size(file)
    assert found.raw == file.stat().st_size
    assert found.gzip == len(gzip.compress(file.read_bytes(), 9, mtime=0))
