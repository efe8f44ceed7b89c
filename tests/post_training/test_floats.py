import warnings

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.build import build, graph, node, tensor
from tests.packed.graphs import Model, stock
from tfcompress.errors import UserError
from tfcompress.export.float16 import to_float16
from tfcompress.packed.packer import pack
from tfcompress.post_training.floats import check_float, check_straight, unpack_weights
from tfcompress.tflite.reading import read
from tfcompress.tflite.writing import write

from .strangers import dense, pictures, random, run, small_cnn


def coded(model: Model, shape, scales) -> int:
    """Adds int8 weights with one scale, or one per output."""
    values = model.rng.integers(-127, 128, shape)
    points = np.zeros(len(scales), np.int64)
    return model.constant(values, np.int8, scales=np.array(scales, np.float32), zero_points=points)


def dequantized(model: Model, tensor: int) -> int:
    own = schema.DequantizeOptionsT()
    return model.add("DEQUANTIZE", [tensor], model.tensors[tensor].shape, 2, own=own)


def test_float16_becomes_float32_with_a_warning():
    content = to_float16(small_cnn())
    model = read(content)
    with pytest.warns(UserWarning, match="stores weights as float16, so their rounding stays"):
        unpack_weights(model)
    written = write(model)
    assert not any(operator.kind == "DEQUANTIZE" for operator in read(written).operators())
    examples = pictures(2)
    np.testing.assert_allclose(run(written, *examples), run(content, *examples), atol=1e-5)
    assert len(written) < 2.1 * len(content)  # The float16 constants are gone.


@pytest.mark.parametrize("scales", [[0.01], np.linspace(0.001, 0.02, 48)])
def test_dequantized_int8_becomes_float32_with_a_warning(scales):
    model = Model(1, 32)
    content = model.file(dense(model, 0, (1, 48), dequantized(model, coded(model, (48, 32), scales))))
    read_model = read(content)
    with pytest.warns(UserWarning, match="stores weights as int8"):
        unpack_weights(read_model)
    check_float(read_model)
    x = pictures(1, 1, 32)[0]
    np.testing.assert_allclose(stock(write(read_model), x), stock(content, x), rtol=1e-5, atol=1e-5)


def test_the_looked_up_rows_of_an_int8_table_become_float32():
    model = Model(1, 3, type="int32")
    table = coded(model, (40, 32), [0.01])
    more = {"scales": np.array([0.01], np.float32), "zero_points": np.zeros(1, np.int64)}
    rows = model.add("GATHER", [table, 0], (1, 3, 32), 2, "int8", schema.GatherOptionsT(), **more)
    content = model.file(dequantized(model, rows))
    read_model = read(content)
    check_float(read_model)
    with pytest.warns(UserWarning, match="int8"):
        unpack_weights(read_model)
    assert [operator.kind for operator in read_model.operators()] == ["GATHER"]
    ids = np.array([[0, 7, 39]], np.int32)
    np.testing.assert_allclose(stock(write(read_model), ids), stock(content, ids))


def test_a_float_file_stays_as_it_is_without_a_warning():
    content = small_cnn()
    model = read(content)
    check_float(model)
    check_straight(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unpack_weights(model)
    assert write(model) == write(read(content))


def test_int8_weights_that_an_operator_reads_are_refused():
    model = Model(1, 32)
    content = model.file(dense(model, 0, (1, 48), coded(model, (48, 32), [0.01])))
    with pytest.raises(UserError, match=r"FULLY_CONNECTED reads the int8 weights c1 .*; cluster the float model"):
        check_float(read(content))


def test_integer_activations_are_refused():
    model = Model(1, 32)
    more = {"scales": np.array([0.01], np.float32), "zero_points": np.zeros(1, np.int64)}
    x = model.add("QUANTIZE", [0], (1, 32), 1, "int8", schema.QuantizeOptionsT(), **more)
    content = model.file(dequantized(model, x))
    with pytest.raises(UserError, match="computes with integer activations; cluster the float model"):
        check_float(read(content))


def test_a_packed_file_is_refused():
    model = Model(1, 32)
    content = pack(model.file(model.dense(0, (1, 256))))
    with pytest.raises(UserError, match="is packed; `tfcompress unpack` restores"):
        check_float(read(content))


def test_several_graphs_and_state_cannot_be_calibrated():
    tensors = [tensor("x", (1, 4)), tensor("y", (1, 4))]
    content = build(*(graph(tensors, [node("EXP", [0], [1])], outputs=(1,)) for _ in range(2)))
    with pytest.raises(UserError, match=r"has 2 graphs, and only one .*; leave out the calibration data"):
        check_straight(read(content))
    model = Model(1, 32)
    x = model.add("VAR_HANDLE", [], (), 1, "resource")
    del x
    with pytest.raises(UserError, match="has the operators VAR_HANDLE"):
        check_straight(read(model.file(dense(model, 0, (1, 32), random(model, (32, 32))))))
