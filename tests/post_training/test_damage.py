import numpy as np
import pytest
from scipy.special import softmax

from tests.packed.graphs import Model
from tfcompress.errors import UserError
from tfcompress.post_training.clustering import cluster
from tfcompress.post_training.damage import damages, packed_bytes, results
from tfcompress.post_training.method import Settings

from .strangers import dense, divergence, pictures, random, run

WIDTHS = (3, 4)


def check(content: bytes, names: list[str], measured: int) -> None:
    """Checks the damages of kernels against those of whole files in which one kernel is clustered."""
    examples = pictures(24, 64)
    expected = softmax(run(content, *examples[:measured]), axis=1)
    found = list(damages(content, examples, dict.fromkeys(names, WIDTHS), Settings(), measured))
    assert [(name, bits) for name, bits, _ in found] == [(name, bits) for name in names for bits in WIDTHS]
    for name, bits, damage in found:
        alone = cluster(content, {name: Settings(1 << bits)}, examples)
        lost = divergence(expected, softmax(run(alone.content, *examples[:measured]), axis=1))
        assert damage.divergence == pytest.approx(lost, rel=0.01)
        assert damage.bytes == packed_bytes(alone.codebooks[name])


def test_the_damage_of_a_kernel_is_that_of_the_file_with_it_alone_clustered():
    model = Model(1, 64)
    y = dense(model, dense(model, 0, (1, 48), fused=1), (1, 40), fused=1)
    check(model.file(dense(model, y, (1, 32))), ["c1", "c4", "c7"], 16)


def test_a_kernel_of_two_layers_is_damaged_in_both():
    model = Model(1, 64)
    shared = random(model, (64, 64))
    y = dense(model, dense(model, 0, (1, 64), shared, fused=1), (1, 64), shared)
    check(model.file(y), ["c1"], 24)


def test_four_bits_are_half_a_byte():
    weights = np.random.default_rng(0).normal(size=(32, 64)).astype(np.float32)
    model = Model(1, 64)
    content = model.file(dense(model, 0, (1, 32), model.constant(weights)))
    book = cluster(content, Settings(16, scales=True)).codebooks["c1"]
    assert packed_bytes(book) == 32 * 64 // 2 + 4 * len(book.centroids) + 4 * 32


@pytest.mark.parametrize("classes", [1, 0], ids=["one number", "integers"])
def test_outputs_that_are_no_scores_are_refused(classes):
    model = Model(1, 64)
    y = dense(model, 0, (1, 1 if classes else 32))
    if not classes:
        y = model.add("CAST", [y], (1, 32), type="int32")
    with pytest.raises(UserError, match="needs float32 scores of two classes or more"):
        results(model.file(y), pictures(2, 64))
