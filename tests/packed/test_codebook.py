import numpy as np
import pytest

from tfcompress.packed.codebook import Codebook, count_distinct, find_codebook


def test_weights_come_back_bit_for_bit_with_both_zeros():
    rng = np.random.default_rng(0)
    centroids = np.array([-3, -1e-30, -0.0, 0.0, 1e-42, 2.5], np.float32)
    weights = centroids[rng.integers(0, 6, (50, 70))]
    book = find_codebook(weights)
    assert book.centroids.tobytes() == centroids.tobytes()
    assert book.values().tobytes() == weights.tobytes()


def test_rare_values_are_found():
    weights = np.zeros(10**6, np.float32)
    weights[[1, 77, 999_999]] = 1, 2, 3
    assert find_codebook(weights).centroids.tolist() == [0, 1, 2, 3]


def test_int8_needs_no_more_than_256():
    weights = np.arange(-128, 128).astype(np.int8).reshape(16, 16)
    book = find_codebook(weights)
    np.testing.assert_array_equal(book.values(), weights)
    assert book.centroids.dtype == np.int8


@pytest.mark.parametrize("weights", [np.arange(257), np.array([np.nan, 1]), np.array([np.inf, 1])])
def test_more_than_256_values_or_nan_have_no_codebook(weights):
    assert find_codebook(weights.astype(np.float32)) is None
    assert count_distinct(np.arange(300).astype(np.float32)) == 300


@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 2, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_values_are_centroids_times_the_scale_of_their_row(shape, dtype):
    rng = np.random.default_rng(0)
    centroids = np.array([-127, -1, 0, 90], dtype)
    indices = rng.integers(0, 4, shape).astype(np.uint8)
    scales = np.array([0.1, 1, 1e-3], np.float32)
    values = Codebook(centroids, indices, scales).values()
    assert values.dtype == np.float32
    for row in range(3):
        np.testing.assert_array_equal(values[row], centroids[indices[row]].astype(np.float32) * scales[row])
