import numpy as np
import pytest

from tfcompress.errors import UserError
from tfcompress.packed.codebook import find_codebook
from tfcompress.post_training.method import Settings, cluster_kernel, cluster_table, kernel_codebooks, table_codebooks


@pytest.fixture(scope="module")
def layer():
    """Returns a kernel of (outputs, inputs) and the moments of inputs that depend on each other, as a layer's do."""
    rng = np.random.default_rng(0)
    kernel = rng.standard_t(6, (96, 64)) * 0.05 * np.exp(0.3 * rng.normal(size=(96, 1)))
    x = rng.normal(size=(1000, 20)) @ rng.normal(size=(20, 64)) + rng.normal(size=(1000, 64))
    x *= np.exp(0.5 * rng.normal(size=64))
    return kernel.astype(np.float32), x.T @ x


def lost(kernel, book, moments):
    """Returns the squared error of the outputs on the inputs that the moments were taken from."""
    error = (kernel - book.values()).astype(np.float64)
    return np.trace(error @ moments @ error.T)


@pytest.mark.parametrize("clusters", [1, 257])
def test_a_number_of_clusters_that_is_out_of_range_is_refused(clusters):
    with pytest.raises(UserError, match=f"{clusters} clusters were asked for; from 2 to 256 are possible"):
        Settings(clusters)


@pytest.mark.parametrize(("clusters", "part"), [(2, 0.33), (3, 0.2), (16, 0.15), (64, 0.15), (256, 0.15)])
@pytest.mark.parametrize("scales", [False, True])
def test_compensation_costs_a_fraction_of_the_error_of_k_means(layer, clusters, part, scales):
    kernel, moments = layer
    plain = cluster_kernel(kernel, None, Settings(clusters, scales))
    book = cluster_kernel(kernel, moments, Settings(clusters, scales))
    assert len(book.centroids) <= clusters
    assert lost(kernel, book, moments) < part * lost(kernel, plain, moments)


def test_errors_correct_each_other_less_with_more_damping(layer):
    kernel, moments = layer
    books = [cluster_kernel(kernel, moments, Settings(16, False, damping=damping)) for damping in (0.01, 1.0, 100.0)]
    losses = [lost(kernel, book, moments) for book in books]
    assert losses == sorted(losses)
    assert losses[0] < 0.8 * losses[-1]


def test_a_codebook_gives_float32_values_of_few_distinct_centroids(layer):
    kernel, moments = layer
    for scales in (False, True):
        book = cluster_kernel(kernel, moments, Settings(16, scales))
        assert (book.centroids.dtype, book.indices.dtype, book.scales.dtype) == (np.float32, np.uint8, np.float32)
        assert (len(book.centroids), book.indices.shape, book.scales.shape) == (16, (96, 64), (96,) if scales else (0,))
        assert np.all(np.diff(book.centroids) > 0)
        if scales:
            assert np.abs(book.centroids).max() == 127
            assert np.all(book.scales > 0)
        else:
            assert find_codebook(book.values()).indices.tobytes() == book.indices.tobytes()


def test_the_same_kernel_gives_the_same_codebook(layer):
    kernel, moments = layer
    first, second = (cluster_kernel(kernel.copy(), moments.copy(), Settings(16)) for _ in range(2))
    assert first.values().tobytes() == second.values().tobytes()
    assert cluster_kernel(kernel, 1000 * moments, Settings(16)).indices.tobytes() == first.indices.tobytes()


@pytest.mark.parametrize("scales", [None, False, True])
def test_several_numbers_of_clusters_give_the_codebooks_of_each_alone(layer, scales):
    kernel, moments = layer
    some = np.round(kernel, 1)  # has 12 values, which 16 clusters keep
    for one in (kernel, np.where(kernel < 0, 0, kernel), some):
        for clusters, found in zip(
            (64, 3, 16), kernel_codebooks(one, moments, Settings(scales=scales), (64, 3, 16)), strict=True
        ):
            assert same(found, cluster_kernel(one, moments, Settings(clusters, scales)))
        for clusters, found in zip((8, 16), table_codebooks(one, None, Settings(scales=scales), (8, 16)), strict=True):
            assert same(found, cluster_table(one, None, Settings(clusters, scales)))


def same(first, second):
    return all(vars(first)[name].tobytes() == values.tobytes() for name, values in vars(second).items())


def test_inputs_of_a_convolution_are_all_axes_but_the_first(layer):
    kernel, moments = layer
    flat = cluster_kernel(kernel, moments, Settings(16, scales=True))
    patches = cluster_kernel(kernel.reshape(96, 4, 4, 4), moments, Settings(16, scales=True))
    assert patches.indices.shape == (96, 4, 4, 4)
    np.testing.assert_array_equal(patches.values().reshape(96, 64), flat.values())


@pytest.mark.parametrize("scales", [False, True])
def test_zeros_of_a_pruned_kernel_stay_zero(layer, scales):
    kernel, moments = layer
    pruned = np.where(np.abs(kernel) < np.median(np.abs(kernel)), 0, kernel)
    book = cluster_kernel(pruned, moments, Settings(16, scales))
    assert len(book.centroids) <= 16
    assert np.all(book.values()[pruned == 0] == 0)
    plain = cluster_kernel(pruned, None, Settings(16, scales))
    assert np.all(plain.values()[pruned == 0] == 0)
    assert lost(pruned, book, moments) < 0.5 * lost(pruned, plain, moments)


def test_a_single_zero_takes_no_centroid(layer):
    kernel, moments = layer
    with_zero = kernel.copy()
    with_zero[0, 0] = 0
    assert 0 not in cluster_kernel(with_zero, moments, Settings(4)).centroids


def test_kernels_that_are_clustered_already_stay_bit_for_bit():
    rng = np.random.default_rng(0)
    kernel = rng.choice(np.float32([-1, -0.0, 0.0, 0.3]), (20, 30))
    for settings in (Settings(4), Settings(16, scales=True), Settings(256)):
        assert cluster_kernel(kernel, np.eye(30), settings).values().tobytes() == kernel.tobytes()
        assert cluster_table(kernel, None, settings).values().tobytes() == kernel.tobytes()
    assert np.all(cluster_kernel(np.zeros((5, 3), np.float32), None, Settings(2)).values() == 0)


def test_inputs_that_never_change_or_are_never_active(layer):
    kernel, _ = layer
    x = np.ones((10, 64))
    x[:, 40:] = 0
    book = cluster_kernel(kernel, x.T @ x, Settings(16))
    # The errors of inputs that are always equal cancel out.
    assert lost(kernel, book, x.T @ x) < 0.05 * lost(kernel, cluster_kernel(kernel, None, Settings(16)), x.T @ x)
    # Nothing is known of the others, so they are rounded to what is nearest, or to its neighbour.
    assert np.abs(book.values() - kernel)[:, 40:].max() < 3 * np.diff(book.centroids).max()
    silent = cluster_kernel(kernel, np.zeros((64, 64)), Settings(16))
    np.testing.assert_array_equal(silent.values(), cluster_kernel(kernel, None, Settings(16)).values())


def test_scales_pay_where_there_are_many_inputs_or_outputs_differ(layer):
    rng = np.random.default_rng(0)
    alike = rng.normal(size=(64, 64)).astype(np.float32)
    differing = alike * np.geomspace(0.01, 1, 64, dtype=np.float32)[:, None]
    assert not cluster_kernel(alike, None, Settings(16)).scales.size
    book = cluster_kernel(differing, None, Settings(16))
    assert book.scales.size
    forced = cluster_kernel(differing, None, Settings(16, scales=False))
    # A scale takes 32 bits, half a bit for each of 64 weights, and a bit divides the squared error by 4.
    assert lost(differing, book, np.eye(64)) < lost(differing, forced, np.eye(64)) / 2


@pytest.mark.parametrize("scales", [False, True])
def test_rows_of_zeros_stay_zero(layer, scales):
    kernel, moments = layer
    kernel = kernel.copy()
    kernel[3] = 0
    settings = Settings(16, scales)
    for book in (
        cluster_kernel(kernel, moments, settings),
        cluster_kernel(kernel, None, settings),
        cluster_table(kernel, None, settings),
    ):
        assert len(book.centroids) == 16
        assert np.all(book.scales > 0)
        np.testing.assert_array_equal(np.flatnonzero(~book.values().any(axis=1)), [3])


def test_rows_of_a_table_that_are_used_often_are_kept_best():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(2000, 24)).astype(np.float32)
    table[:50] += 3
    counts = np.where(np.arange(2000) < 50, 1000, 0)
    plain, weighted = (cluster_table(table, c, Settings(16, scales=False)) for c in (None, counts))
    first = slice(0, 50)
    assert np.sum((weighted.values() - table)[first] ** 2) < 0.5 * np.sum((plain.values() - table)[first] ** 2)
    assert len(weighted.centroids) == 16


@pytest.mark.parametrize("with_moments", [False, True])
def test_a_few_zeros_stay_if_they_are_to(layer, with_moments):
    kernel, moments = layer
    few = kernel.copy()
    few[::40, ::20] = 0
    seen = moments if with_moments else None
    book = cluster_kernel(few, seen, Settings(8, keep_zeros=True))
    assert np.all(book.values()[few == 0] == 0)
    assert len(book.centroids) <= 8
    assert not np.all(cluster_kernel(few, seen, Settings(8)).values()[few == 0] == 0)
