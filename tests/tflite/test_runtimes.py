import itertools

import numpy as np
import pytest

from tests.build import build, constant, graph, node, tensor
from tfcompress.tflite import writing
from tfcompress.tflite.reading import read
from tfcompress.tflite.runtimes import Requirement, minimum_runtime, newer, requirements, state_runtime


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("2.17.0", "2.16.1", True),
        ("2.9.0", "2.16", False),
        ("2.16", "2.16.0", False),
        ("2.16.0", "2.16", False),
        ("2.16.1", "2.16", True),
        ("1.5.0", "", True),
        ("", "1.5.0", False),
    ],
)
def test_versions_are_ordered(a, b, expected):
    assert newer(a, b) is expected


@pytest.mark.parametrize("name", ["float32", "float16", "dynamic", "per_channel", "int8", "loop"])
def test_operators_need_the_runtime_that_the_converter_states(real_files, name):
    (stated,) = (one.data for one in read(real_files[name]).metadata if one.name == "min_runtime_version")
    newest = requirements(real_files[name])[0].runtime
    assert newest == stated.tobytes().rstrip(b"\0").decode()
    assert minimum_runtime(real_files[name]) == newest


def test_the_newest_comes_first(real_files):
    found = requirements(real_files["per_channel"])
    assert found[0] == Requirement("FULLY_CONNECTED", 12, "2.17.0")
    assert not any(newer(after.runtime, before.runtime) for before, after in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("dynamic_wi8_afp32", Requirement("FULLY_CONNECTED", 12, "2.17.0")),
        ("dynamic_wi2c_afp32", Requirement("FULLY_CONNECTED", 14, "2.21.0")),
        ("weight_only_wi4_afp32", Requirement("DEQUANTIZE", 6, "2.18.0")),
    ],
)
def test_quantized_weights_need_a_newer_runtime_than_their_file_states(real_files, name, needed):
    assert b"2.9.0" in [one.data.tobytes().rstrip(b"\0") for one in read(real_files[name]).metadata]
    assert requirements(real_files[name])[0] == needed
    assert minimum_runtime(real_files[name]) == needed.runtime


@pytest.mark.parametrize("name", ["dynamic_wi4_afp32", "blocks"])
def test_versions_that_tensorflow_does_not_list_are_unknown(real_files, name):
    (found,) = (one for one in requirements(real_files[name]) if one.operator == "FULLY_CONNECTED")
    assert found.runtime == ""


def chain(*operators: tuple[str, int], metadata: dict[str, bytes] | None = None) -> bytes:
    nodes = [node(name, (0,), (1,), version) for name, version in operators]
    return build(graph([tensor("x", (1,)), tensor("y", (1,))], nodes), metadata=metadata)


def test_custom_operators_and_versions_that_are_not_listed_are_not_known():
    content = chain(("GELU", 2), ("Clustered", 1), ("GELU", 99), ("STABLEHLO_SORT", 1))
    known, *unknown = requirements(content)
    assert known == Requirement("GELU", 2, "2.9.0")
    assert unknown == [Requirement(*one, "") for one in (("Clustered", 1), ("GELU", 99), ("STABLEHLO_SORT", 1))]
    assert minimum_runtime(content) == "2.9.0"
    assert minimum_runtime(chain(("Clustered", 1))) == ""


def test_operators_that_no_node_uses_count():
    content = read(chain(("GELU", 1), ("CAST", 7)))
    without = type(content)(**{**vars(content), "graphs": ()})
    assert [one.operator for one in requirements(without)] == ["CAST", "GELU"]


def test_metadata_that_is_no_version_does_not_count():
    assert minimum_runtime(chain(("GELU", 1), metadata={"min_runtime_version": b"2.30.0\0\0"})) == "2.30.0"
    for text in (b"\xff\xfe", b"", b"9" * 9, b"2.x"):
        assert minimum_runtime(chain(("GELU", 1), metadata={"min_runtime_version": text})) == "2.9.0"


def test_a_runtime_is_stated_where_there_is_an_entry_even_an_empty_one():
    entry = "min_runtime_version"

    def after(said: bytes | None, at_least_as_before: bool) -> str:
        model = read(chain(("GELU", 2), metadata={entry: said or b"none"}))
        if said is None:
            model.metadata[0].buffer = model.buffers[0]
        state_runtime(model, at_least_as_before)
        assert model.buffers[0].data is None  # of all tensors that are computed
        return read(writing.write(model)).entry(entry).data.tobytes().rstrip(b"\0").decode()

    assert [after(said, True) for said in (b"2.5.0", b"2.17.0", None)] == ["2.9.0", "2.17.0", "2.9.0"]
    assert [after(said, False) for said in (b"2.5.0", b"2.17.0", None)] == ["2.9.0"] * 3
    silent = read(chain(("GELU", 2)))
    state_runtime(silent, True)
    assert not silent.metadata


def test_the_table_of_an_embedding_lookup_is_its_weights():
    table = constant("table", np.zeros((4, 2), np.int8), scales=[0.1] * 4, zero_points=[0] * 4)
    tensors = [tensor("ids", (1,), "int32"), table, tensor("row", (1, 2))]
    content = build(graph(tensors, [node("EMBEDDING_LOOKUP", (0, 1), (2,))]))
    assert requirements(content) == [Requirement("EMBEDDING_LOOKUP", 4, "2.18.0")]
