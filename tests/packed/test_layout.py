import numpy as np
import pytest

from tests.runtime import packed as by_hand
from tfcompress.packed import layout


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("shape", [(1, 1), (16, 8), (17, 9), (40, 33)])
def test_indices_come_back_from_the_documented_bytes(bits, shape):
    indices = np.random.default_rng(bits).integers(0, 2**bits, shape).astype(np.uint8)
    blocks, rows = layout.pack_matrix(indices, bits), layout.pack_rows(indices, bits)
    assert (blocks.size, rows.size) == (layout.matrix_bytes(*shape, bits), shape[0] * layout.row_bytes(shape[1], bits))
    np.testing.assert_array_equal(blocks, by_hand.matrix(indices, bits))
    np.testing.assert_array_equal(rows, by_hand.table(indices, bits))
    np.testing.assert_array_equal(layout.unpack_matrix(blocks, *shape, bits), indices)
    np.testing.assert_array_equal(layout.unpack_rows(rows, *shape, bits), indices)


def test_a_known_packed_block():
    """Output 3, input 6 with 6 bits is number 14 of the second half: in the high nibble and in the second plane."""
    indices = np.zeros((16, 8), np.uint8)
    indices[3, 6] = 0b100110
    block = layout.pack_matrix(indices, 6)
    assert {place: int(block[place]) for place in np.flatnonzero(block)} == {14: 0b0110 << 4, 64 + 16 + 14: 0b10}


def test_a_table_may_have_more_rows_than_are_treated_at_once():
    indices = np.random.default_rng(0).integers(0, 8, (9000, 5)).astype(np.uint8)
    packed = layout.pack_rows(indices, 3)
    np.testing.assert_array_equal(layout.unpack_rows(packed, 9000, 5, 3), indices)


@pytest.mark.parametrize(("centroids", "bits"), [(1, 2), (4, 2), (5, 3), (64, 6), (65, 7), (256, 8)])
def test_bits_are_the_fewest_that_are_enough(centroids, bits):
    assert layout.bits_for(centroids) == bits
