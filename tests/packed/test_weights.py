"""Packed files as `inspect` and `weights` show them."""

import pytest

from tfcompress.export.verify import verify
from tfcompress.inspect.contents import inspect
from tfcompress.packed import file_weights
from tfcompress.packed.packer import pack


@pytest.fixture
def pairs(stock, tmp_path):
    """What `inspect` finds in a stock file and in the packed one, by the name of the model."""
    found = {}
    for name in ("bert", "vit int8"):
        paths = [tmp_path / f"{name} {kind}.tflite" for kind in ("stock", "packed")]
        for path, content in zip(paths, (stock[name], pack(stock[name], allow_larger=True)), strict=True):
            path.write_bytes(content)
        found[name] = tuple(map(inspect, paths))
    return found


def test_rows_are_those_of_the_stock_file_except_for_their_bytes(pairs):
    for before, after in pairs.values():
        rows = {row.name: row for row in before.weights}
        packed = [row for row in after.weights if "bit" in row.type]
        assert len(packed) > 5
        for row in packed:
            old = rows[row.name]
            assert row.operator.startswith("tfcompress.Clustered")
            assert row.type.split()[1] == old.type
            assert (row.shape, row.unique, row.zeros) == (old.shape, old.unique, old.zeros)
            assert row.entropy == pytest.approx(old.entropy)
            assert row.entropy_bytes == old.entropy_bytes
            assert row.bytes < old.bytes


def test_totals_count_weights_and_not_their_packed_bytes(pairs):
    before, after = pairs["bert"]
    assert 0 <= before.parameters - after.parameters < 40  # numbers such as epsilon
    assert after.weight_bytes_read < before.weight_bytes_read / 4
    assert sum(after.bytes_by_operator.values()) == after.bytes
    token = next(row for row in after.weights if "token_embedding" in row.name)
    read = sum(row.bytes for row in after.weights if "embedding/" not in row.name) + 12 * token.bytes / token.shape[0]
    assert read < after.weight_bytes_read < read + 12_000  # with codebooks, biases, norms
    assert after.minimum_runtime == "2.14.0"
    assert {one.operator: one.runtime for one in after.operators}["tfcompress.Attention"] == "2.14.0"


def test_a_packed_file_is_verified_like_a_stock_one(stock, compressed):
    for name, stage, kind in (("vit", "cluster", "float32"), ("vit int8", "quantize", "int8")):
        model, traits = compressed[stage]
        content = pack(stock[name], allow_larger=True)
        found = verify(content, model, traits, kind)
        expected = verify(stock[name], model, traits, kind)
        assert [(one.layer, one.shape, one.distinct, one.sparsity) for one in found] == [
            (one.layer, one.shape, one.distinct, one.sparsity) for one in expected
        ]
        assert sum(one.bytes for one in found) < sum(one.bytes for one in expected)
        assert {one.format for one in file_weights.weights(content)} <= {"float32", "int8"}
