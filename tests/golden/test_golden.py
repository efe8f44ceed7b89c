import base64

import numpy as np
import pytest

from tests.golden import images, tokens
from tests.golden.__main__ import TABLE, load


@pytest.fixture(scope="module")
def golden():
    return load("golden_tokens")


@pytest.mark.parametrize("key", tokens.HOW)
def test_golden_ids_equal_those_of_keras_nlp(golden, key):
    assert golden["sequence_length"] == tokens.LENGTH
    rows = golden["lines"]
    found = tokens.encode([row["text"] for row in rows], tuple(golden["vocabulary"]), *tokens.HOW[key])
    assert [ids for row, ids in zip(rows, found, strict=True) if row[key] != ids] == []


def test_golden_pairs_equal_those_of_the_tokenizer(golden):
    texts = [row["text"] for row in golden["lines"]]
    rows = golden["pairs"]
    assert tokens.pairs(texts, tuple(golden["vocabulary"])) == rows
    assert {row["sequence_length"] for row in rows} == set(tokens.PAIR_LENGTHS)
    full = [row for row in rows if len(row["ids"]) == row["sequence_length"]]
    seconds = {sum(row["segment_ids"]) for row in full if row["sequence_length"] == 33}
    assert len(full) > 200
    assert min(seconds) < 8 < 16 < 24 < max(seconds)
    assert 16 in seconds


def test_the_character_table_equals_that_of_keras_nlp():
    assert TABLE.read_text(encoding="ascii") == tokens.table()


def test_golden_lines_are_numerous_and_varied(golden):
    rows = golden["lines"]
    assert len(rows) >= 2000
    assert len({row["text"] for row in rows}) == len(rows)
    assert max(len(row["text"]) for row in rows) >= 100_000
    for kind in ("", "😀", "\u0301", "中", "한", "\x00", "\u200d", "\ud83d", "\ufeff"):
        assert any(kind in row["text"] if kind else not row["text"] for row in rows)
    unknown = golden["vocabulary"].index("[UNK]")
    ids = np.concatenate([row["ids"] for row in rows])
    assert np.mean(ids == unknown) < 0.2
    assert len(np.unique(ids)) > 3000


def test_golden_tensors_equal_those_of_the_pipeline():
    for picture in load("golden_images")["pictures"]:
        again = images.expected(base64.b64decode(picture["file"]))
        assert again.keys() < picture.keys()
        assert (again["width"], again["height"]) == (picture["width"], picture["height"])
        now, before = (np.frombuffer(base64.b64decode(one["pixels"]), np.uint8) for one in (again, picture))
        np.testing.assert_array_equal(now, before)
        for size, tensor in again["tensors"].items():
            now, before = (np.frombuffer(base64.b64decode(one), "<f4") for one in (tensor, picture["tensors"][size]))
            assert now.shape == (int(size) ** 2 * 3,)
            np.testing.assert_allclose(now, before, rtol=0, atol=1e-6)
