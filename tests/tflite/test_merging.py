import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tests.build import build, constant, dense_file, graph, node, tensor
from tfcompress.errors import UserError
from tfcompress.tflite.merging import first_graph, merge
from tfcompress.tflite.reading import read

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(8, 4)).astype(np.float32)
SIGNATURE = ("serving_default", 0, {"x": 0}, {"y": 2})


def dense(weights: np.ndarray = WEIGHTS) -> bytes:
    return dense_file(constant("w", weights), signatures=[SIGNATURE])


def test_equal_weights_are_stored_once_and_others_stay():
    other = WEIGHTS[::-1].copy()
    merged = merge({"serving_default": dense(), "same": dense(), "other": dense(other)})
    buffers = [one.tensors[1].buffer for one in read(merged).graphs]
    assert buffers[0] is buffers[1] is not buffers[2]
    interpreter = Interpreter(model_content=merged)
    x = RNG.normal(size=(1, 4)).astype(np.float32)
    for name, weights in (("serving_default", WEIGHTS), ("same", WEIGHTS), ("other", other)):
        np.testing.assert_allclose(interpreter.get_signature_runner(name)(x=x)["y"], x @ weights.T, rtol=1e-5)


def test_the_first_graph_can_be_taken_alone():
    merged = merge({"serving_default": dense(), "other": dense(WEIGHTS[::-1].copy())})
    alone = first_graph(merged)
    assert merge({"serving_default": dense()}) == alone == first_graph(alone)
    assert list(Interpreter(model_content=alone).get_signature_list()) == ["serving_default"]


def test_weights_that_are_equal_in_one_graph_stay_apart():
    tensors = [tensor("x", (1, 4)), constant("a", WEIGHTS), constant("b", WEIGHTS.copy()), *map(output, "yz")]
    nodes = [node("FULLY_CONNECTED", (0, place, -1), (place + 2,), 6) for place in (1, 2)]
    two = build(graph(tensors, nodes, outputs=(3, 4)), signatures=[("serving_default", 0, {"x": 0}, {"y": 3, "z": 4})])
    graphs = read(merge({"serving_default": two, "again": two})).graphs
    first, second = ([t.buffer for t in one.tensors if len(t.data)] for one in graphs)
    assert first == second
    assert first[0] is not first[1]


def output(name: str):
    return tensor(name, (1, 8))


def test_files_of_several_graphs_are_refused():
    merged = merge({"serving_default": dense(), "other": dense()})
    with pytest.raises(UserError, match="more has 2 graphs and 2 signatures; only a file with one of each"):
        merge({"serving_default": dense(), "more": merged})
