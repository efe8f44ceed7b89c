import itertools

import numpy as np
import pytest

from tfcompress.post_training import kmeans
from tfcompress.post_training.kmeans import exact_centroids


def best(values, weights, clusters):
    [found] = exact_centroids(values, weights, [clusters])
    return found


def error(values, weights, centroids):
    return np.sum(weights * np.min((values[:, None] - centroids) ** 2, axis=1))


def least_error(values, weights, clusters):
    """Returns the error of the best of all ways to cut the sorted values into clusters."""
    order = np.argsort(values)
    values, weights = values[order], weights[order]
    best = np.inf
    for cuts in itertools.combinations(range(1, len(values)), clusters - 1):
        parts = zip(np.split(values, cuts), np.split(weights, cuts), strict=True)
        best = min(best, sum(np.sum(w * (v - np.average(v, weights=w)) ** 2) for v, w in parts))
    return best


@pytest.mark.parametrize("clusters", [1, 2, 3, 4, 7])
def test_no_other_centroids_are_better(clusters):
    rng = np.random.default_rng(clusters)
    for size in (8, 9, 13):
        values, weights = rng.standard_t(3, size), rng.uniform(0.01, 3, size)
        centroids = best(values, weights, clusters)
        assert len(centroids) == clusters
        assert np.all(np.diff(centroids) > 0)
        assert error(values, weights, centroids) == pytest.approx(least_error(values, weights, clusters))


def test_many_values_come_as_close_as_lloyd_max_on_a_normal_distribution():
    values = np.random.default_rng(0).normal(size=200_000)
    # Max (1960): the part of the variance that is lost with so many levels.
    for clusters, lost in ((4, 0.1175), (16, 0.009497), (32, 0.002499)):
        centroids = best(values, None, clusters)
        assert len(centroids) == clusters
        nearest = centroids[np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)]
        assert np.mean((values - nearest) ** 2) == pytest.approx(lost, rel=0.01)
        # Nothing moves: each centroid is the mean of its values.
        np.testing.assert_allclose([values[nearest == c].mean() for c in centroids], centroids, rtol=0, atol=1e-12)


@pytest.mark.parametrize("clusters", [2, 8, 256])
def test_fewer_distinct_values_than_clusters_are_their_own_centroids(clusters):
    values = np.repeat([-1.5, 0, 2], [5, 1, 9])[:, None]
    centroids = best(values, None, clusters)
    assert len(centroids) == min(clusters, 3)
    if clusters > 2:
        assert centroids.tolist() == [-1.5, 0, 2]


def test_an_outlier_among_many_values_has_its_own_centroid():
    values = np.append(np.random.default_rng(0).normal(size=50_000), 1000)
    assert best(values, None, 8)[-1] == pytest.approx(1000, rel=1e-12)


def test_several_numbers_of_clusters_are_found_at_once():
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=5000), rng.normal(size=20)):
        weights, clusters = rng.uniform(size=len(values)), [4, 32, 1, 9]
        for one, found in zip(clusters, exact_centroids(values, weights, clusters), strict=True):
            assert found.tobytes() == best(values, weights, one).tobytes()


def test_values_of_no_weight_hardly_count():
    values = np.concatenate([np.arange(100.0), np.linspace(200, 300, 10_000)])
    weights = np.concatenate([np.ones(100), np.zeros(10_000)])
    centroids = best(values, weights, 10)
    assert error(values[:100], weights[:100], centroids) < 1.3 * error(
        values[:100], weights[:100], best(values[:100], None, 10)
    )
    np.testing.assert_array_equal(best(values, 0 * weights, 10), best(values, None, 10))


def test_values_too_many_to_sort_are_grouped_with_hardly_a_loss(monkeypatch):
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=(300, 100)).astype(np.float32), rng.uniform(size=(300, 1))
    weights = np.broadcast_to(weights, values.shape)
    sorted_ = best(values, weights, 16)
    monkeypatch.setattr(kmeans, "_SORTED", 1000)
    grouped = best(values, weights, 16)
    flat = values.ravel().astype(np.float64), weights.ravel()
    assert error(*flat, grouped) < 1.001 * error(*flat, sorted_)
    assert np.all(np.diff(grouped) > 0)
