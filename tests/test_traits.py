import numpy as np
import pytest

from tfcompress.traits import (
    BrokenTraitError,
    KernelTraits,
    check,
    distinct_values,
    kernels,
    measure,
    measure_model,
    sparsity,
    unscaled,
)


@pytest.fixture
def kernel() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(8, 32)).astype(np.float32)


def test_a_trained_kernel_is_neither_clustered_nor_sparse(kernel):
    assert measure(kernel) == KernelTraits()


def test_clusters_and_zeros_are_measured(kernel):
    kernel[:, :8] = 0
    assert measure(kernel) == KernelTraits(sparsity=0.25)
    assert measure(np.round(kernel)) == KernelTraits(
        clusters=len(np.unique(np.round(kernel))), sparsity=np.mean(np.round(kernel) == 0)
    )


@pytest.mark.parametrize("value", [0, 1])
def test_a_kernel_of_one_value_has_no_traits(value):
    assert measure(np.full((8, 8), value, np.float32)) == KernelTraits()


def test_traits_are_found_by_layer_name(tiny_vit):
    assert set(measure_model(tiny_vit)) == set(kernels(tiny_vit))
    assert kernels(tiny_vit)["head"].shape == (16, 10)
    assert len(kernels(tiny_vit)) == 8


def test_an_embedding_table_counts_as_a_kernel_but_never_as_pruned(tiny_bert):
    table = kernels(tiny_bert)["token_embedding"]
    assert table.shape == (tiny_bert.get_layer("token_embedding").input_dim, 16)
    table[: len(table) // 2] = 0
    tiny_bert.get_layer("token_embedding").set_weights([table])
    assert measure_model(tiny_bert)["token_embedding"] == KernelTraits()
    rounded = np.round(100 * table)
    tiny_bert.get_layer("token_embedding").set_weights([rounded])
    assert measure_model(tiny_bert)["token_embedding"] == KernelTraits(clusters=len(np.unique(rounded)))


def test_too_many_distinct_values_are_refused(kernel):
    with pytest.raises(BrokenTraitError, match=r"query: 256 distinct values, but at most 64"):
        check("query", kernel, KernelTraits(clusters=64))


def test_too_few_zeros_are_refused(kernel):
    kernel[0] = 0
    check("query", kernel, KernelTraits(sparsity=1 / 8))
    with pytest.raises(BrokenTraitError, match=r"query: sparsity 0\.1250 .* but 0\.5000 was promised"):
        check("query", kernel, KernelTraits(sparsity=0.5))


def test_pruned_weights_must_stay_zero(kernel):
    before = kernel.copy()
    before[0] = 0
    kernel[1] = 0
    with pytest.raises(BrokenTraitError, match="32 weights that were pruned"):
        check("query", kernel, KernelTraits(sparsity=1 / 8), before)


def test_a_kernel_that_was_all_zero_may_change(kernel):
    kernel[0] = 0
    check("query", kernel, KernelTraits(sparsity=1 / 8), np.zeros_like(kernel))


def test_two_of_four_is_checked_along_the_inputs(kernel):
    kernel[[0, 1, 4, 5]] = 0
    check("query", kernel, KernelTraits(sparsity=0.5, pattern="2:4"))
    kernel[[1, 6]] = kernel[[6, 1]]
    with pytest.raises(BrokenTraitError, match="32 groups of 4 have fewer than 2 zeros"):
        check("query", kernel, KernelTraits(sparsity=0.5, pattern="2:4"))


def test_a_block_counts_only_if_it_is_all_zero(kernel):
    kernel[:4, :3] = 0
    assert sparsity(kernel, "4x1") == 3 / 64
    assert sparsity(kernel, "4x2") == 1 / 32


def test_blocks_at_the_edge_may_be_incomplete():
    kernel = np.ones((5, 4), np.float32)
    kernel[4] = 0
    assert sparsity(kernel, "4x4") == 1 / 2


def test_distinct_values_of_a_large_float16_kernel_are_counted_once():
    values = np.random.default_rng(0).choice(np.linspace(-1, 1, 50), (500, 400)).astype(np.float16)
    assert distinct_values(values) == 50


def test_scales_hide_few_values_and_zeros():
    rng = np.random.default_rng(0)
    few = rng.choice(np.float32([-0.3, 0, 1e-3, 0.1, 0.7]), (300, 40))
    scales = rng.lognormal(size=40).astype(np.float32)
    kernel, given = few * scales, tuple(scales.tolist())
    assert distinct_values(kernel) > 40
    assert distinct_values(kernel, given) == 5
    np.testing.assert_allclose(unscaled(kernel, given), few, rtol=1e-6)
    np.testing.assert_array_equal(unscaled(kernel, given) == 0, few == 0)
    check("dense", kernel, KernelTraits(clusters=5, sparsity=0.1, scales=given))
    kernel[0, 0] *= 1.01
    with pytest.raises(BrokenTraitError, match="dense: 6 distinct values, but at most 5 were promised"):
        check("dense", kernel, KernelTraits(clusters=5, scales=given))
