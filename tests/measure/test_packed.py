"""Packed files are measured like all others; the runtime is found, or what is missing is said."""

import numpy as np
import pytest

import tfcompress_runtime
from tfcompress.errors import UserError
from tfcompress.measure.comparison import compare, random_examples
from tfcompress.measure.interpreter import Runner, is_packed
from tfcompress.measure.memory import memory

from ..runtime.packed import ROWS, TOKENS, text_encoder


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A file of every operator, and what it gives for ids."""
    made, output = text_encoder()
    path = tmp_path_factory.mktemp("packed") / "packed.tflite"
    path.write_bytes(made.file(output))
    return path, lambda ids: made.expected(ids, output)


def test_files_that_need_the_runtime_are_known(packed, foreign):
    assert is_packed(packed[0])
    assert not is_packed(foreign["float"])


@pytest.mark.usefixtures("library")
def test_a_packed_file_runs_with_ids_that_its_table_has(packed):
    path, expected = packed
    runner = Runner(path)
    assert runner.table_rows() == {"t0": ROWS}
    for example in random_examples({"": path}, {"": runner})[:3]:
        assert example.max() < ROWS
        np.testing.assert_allclose(runner.run(example), expected(example[None])[0], atol=1e-4)


@pytest.mark.usefixtures("library")
def test_a_packed_file_is_compared_with_time_and_memory(packed):
    path, _ = packed
    found = compare([path, path], [np.zeros(TOKENS, np.int32)], rounds=2)
    assert found.files[1].agreement.largest_difference == 0
    assert memory(path)[0].above_empty > 0


def test_without_the_runtime_the_error_says_how_to_get_it(packed, monkeypatch):
    monkeypatch.setattr(tfcompress_runtime, "__path__", [])
    for measured in (Runner, memory):
        with pytest.raises(UserError, match=r"^the packed runtime .* was not built"):
            measured(packed[0])
