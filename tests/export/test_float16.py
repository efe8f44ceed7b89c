import numpy as np
import pytest

from tests.build import build, constant, dense_file, graph, node, tensor
from tfcompress.export.converter import convert
from tfcompress.export.float16 import to_float16
from tfcompress.measure.interpreter import predict
from tfcompress.tflite.reading import read


def test_constants_are_halved_and_outputs_stay(tiny_bert, tiny_text, tmp_path):
    content = convert(tiny_bert, "float32")
    halved = to_float16(content)
    (tmp_path / "a.tflite").write_bytes(content)
    (tmp_path / "b.tflite").write_bytes(halved)
    examples = [x for x, _ in tiny_text.examples("test").take(16).as_numpy_iterator()]
    np.testing.assert_allclose(
        predict(tmp_path / "b.tflite", examples), predict(tmp_path / "a.tflite", examples), atol=2e-3
    )
    large = {t.name for t in read(content).graphs[0].tensors if t.dtype == "float32" and len(t.data) >= 512}
    (after,) = read(halved).graphs
    assert large == {t.name.removesuffix("_float16") for t in after.tensors if t.dtype == "float16"}
    assert not [t.name for t in after.tensors if t.name in large and len(t.data)]


@pytest.mark.parametrize(("largest", "stored"), [(1.0, "float16"), (1e6, "float32")])
def test_numbers_beyond_float16_stay_float32(largest, stored):
    weights = np.eye(16, dtype=np.float32) * np.float32(largest)
    (after,) = read(to_float16(dense_file(constant("w", weights)))).graphs
    assert {t.dtype for t in after.tensors if len(t.data)} == {stored}


def test_a_constant_in_two_places_is_stored_once():
    weights = np.eye(16, dtype=np.float32).tobytes()
    tensors = [tensor("x", (1, 16)), tensor("a", (16, 16), data=weights), tensor("h", (1, 16))]
    tensors += [tensor("b", (16, 16), data=weights), tensor("y", (1, 16))]
    nodes = [node("FULLY_CONNECTED", (0, 1, -1), (2,), 6), node("FULLY_CONNECTED", (2, 3, -1), (4,), 6)]
    (after,) = read(to_float16(build(graph(tensors, nodes, outputs=(4,))))).graphs
    assert len({t.buffer for t in after.tensors if t.dtype == "float16"}) == 1
    assert [n.code.name for n in after.operators] == ["DEQUANTIZE"] * 2 + ["FULLY_CONNECTED"] * 2


@pytest.mark.parametrize("order", [("float32", "int32"), ("int32", "float32")])
def test_another_type_keeps_the_constant_that_it_shares(order):
    shared = np.eye(16, dtype=np.float32).tobytes()
    places = {kind: 1 + place for place, kind in enumerate(order)}
    tensors = [tensor("x", (1, 16)), *(tensor(kind, (16, 16), kind, shared) for kind in order)]
    tensors += [tensor("y", (1, 16)), tensor("z", (16, 16), "int32")]
    nodes = [node("FULLY_CONNECTED", (0, places["float32"], -1), (3,), 6)]
    nodes += [node("ABS", (places["int32"],), (4,))]
    (after,) = read(to_float16(build(graph(tensors, nodes, outputs=(3, 4))))).graphs
    stored = {t.name: (t.dtype, t.data.tobytes()) for t in after.tensors if len(t.data)}
    half = np.eye(16, dtype=np.float16).tobytes()
    assert stored == {"int32": ("int32", shared), "float32_float16": ("float16", half)}
    assert [n.code.name for n in after.operators] == ["DEQUANTIZE", "FULLY_CONNECTED", "ABS"]
