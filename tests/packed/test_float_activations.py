import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.packed.graphs import DENSE, K, Model, N, same, stock
from tests.packed.reference import kinds
from tfcompress.errors import UserError
from tfcompress.packed.packer import pack
from tfcompress.packed.unpacker import unpack


def test_tables_of_floats_and_of_int8_are_looked_up():
    for int8 in (False, True):
        model = Model(2, 3, type="int32")
        values = model.clustered(50, 20)
        more = {"scales": [0.1], "zero_points": [0]} if int8 else {}
        values = np.round(values * 100).astype(np.int8) if int8 else values
        table = model.constant(values, values.dtype, **more)
        gather = schema.GatherOptionsT()
        y = model.add("GATHER", [table, 0], (2, 3, 20), 2, str(values.dtype), gather, **more)
        y = model.add("DEQUANTIZE", [y], (2, 3, 20), 2, own=schema.DequantizeOptionsT()) if int8 else y
        ids = np.array([[0, 1, 49], [7, 7, 8]], np.int32)
        assert same(model.file(y), ids) == ["ClusteredEmbedding"]


def test_an_operator_that_has_no_float_form_is_named():
    model = Model(2, K)
    step = {"scales": [0.1], "zero_points": [0]}
    y = model.dense(0, (2, N))
    y = model.add("QUANTIZE", [y], (2, N), type="int8", **step)
    y = model.add("CAST", [y], (2, N), own=schema.CastOptionsT())
    with pytest.raises(UserError, match=r"operator CAST \(t\d+\) uses int8"):
        pack(model.file(y))


def test_int8_inputs_and_outputs_of_a_graph_stay_int8():
    step = {"scales": [0.05], "zero_points": [-3]}
    model = Model(2, K, type="int8")
    model.tensors[0].quantization.scale, model.tensors[0].quantization.zeroPoint = [0.05], [-3]
    values = np.round(model.clustered(N, K, 9) * 100).astype(np.int8)
    weights = model.constant(values, np.int8, scales=[0.01], zero_points=[0])
    bias = model.constant(np.arange(N) * 100, np.int32, scales=[0.0005], zero_points=[0])
    y = model.add("FULLY_CONNECTED", [0, weights, bias], (2, N), 4, "int8", schema.FullyConnectedOptionsT(), **step)
    y = model.add("TANH", [y], (2, N), 2, "int8", scales=[1 / 128], zero_points=[0])
    content = model.file(y)
    assert kinds(pack(content, allow_larger=True)) == ["DEQUANTIZE", DENSE, "QUANTIZE"]
    given = np.random.default_rng(0).integers(-50, 50, (2, K)).astype(np.int8)
    found, expected = stock(unpack(pack(content, allow_larger=True)), given), stock(content, given)
    assert np.abs(found.astype(int) - expected).max() <= 6
