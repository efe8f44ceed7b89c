import numpy as np
import pytest

from tfcompress.optimize.pruning_masks import kept
from tfcompress.traits import sparsity


def kernels_with_ties() -> dict[str, np.ndarray]:
    """Returns kernels `(12, 10)` in which many weights have one magnitude."""
    rng = np.random.default_rng(0)
    return {
        "constant": np.full((12, 10), 0.5, np.float32),
        "zero": np.zeros((12, 10), np.float32),
        "binary": rng.choice([-1, 1], (12, 10)).astype(np.float32),
        "ternary": rng.choice([-1, 0, 1], (12, 10)).astype(np.float32),
        "rounded": rng.normal(size=(12, 10)).round(1).astype(np.float32),
    }


@pytest.mark.parametrize("kind", kernels_with_ties())
@pytest.mark.parametrize(
    ("pattern", "share", "expected"),
    [
        ("unstructured", 0.3, 36 / 120),
        ("unstructured", 0.999, 119 / 120),  # One weight stays.
        ("2:4", 0.5, 0.5),
        ("4x1", 0.5, 15 / 30),
        ("5x4", 0.5, 5 / 9),  # The blocks at two edges are incomplete; 4.5 rounds to 4 that stay.
    ],
)
def test_exactly_the_share_asked_for_is_pruned(kind, pattern, share, expected):
    kernel = kernels_with_ties()[kind]
    mask = kept(kernel, share, pattern).numpy()
    assert sparsity(mask.astype(np.float32), pattern) == pytest.approx(expected)
    if pattern == "unstructured":
        assert np.abs(kernel[mask]).min() >= np.abs(kernel[~mask]).max()


def test_two_of_four_inputs_stay_in_a_convolution_too():
    kernel = np.random.default_rng(0).normal(size=(3, 2, 8, 5)).astype(np.float32)
    mask = kept(kernel, 0.5, "2:4").numpy()
    groups = np.moveaxis(mask, 2, -1).reshape(-1, 4)
    sizes = np.abs(np.moveaxis(kernel, 2, -1)).reshape(-1, 4)
    np.testing.assert_array_equal(groups.sum(axis=1), 2)
    assert (np.where(groups, sizes, np.inf).min(axis=1) >= np.where(groups, 0, sizes).max(axis=1)).all()


def test_incomplete_blocks_count_by_their_mean():
    kernel = np.ones((5, 4), np.float32)
    kernel[4] = 3  # The last row is a block of its own.
    np.testing.assert_array_equal(kept(kernel, 0.5, "4x4").numpy(), kernel == 3)
