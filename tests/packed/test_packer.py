import io
import zipfile

import numpy as np
import pytest

from tests.packed.litert import relative, run
from tests.packed.reference import kinds, options
from tests.tflite.constants import places
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.packed import file_weights
from tfcompress.packed.options import RUNTIMES, Computing
from tfcompress.packed.packer import pack, pack_counted
from tfcompress.packed.unpacker import unpack
from tfcompress.tflite import reading
from tfcompress.tflite.metadata import Description, describe, read_description
from tfcompress.tflite.runtimes import minimum_runtime
from tfcompress.tflite.tensor import ABSENT

DENSE, EMBEDDING = "ClusteredFullyConnected", "ClusteredEmbedding"
BLOCK = [DENSE, "Attention", DENSE, "LayerNorm", DENSE, DENSE, "LayerNorm"]


def test_an_encoder_has_no_stock_operators_between_the_custom_ones(stock):
    """Post-norm: query, key and value are one operator; the residual and GELU are in the dense layers."""
    for name in ("bert", "bert dynamic", "minilm"):
        found = kinds(pack(stock[name], allow_larger=True))
        begin = found.index("LayerNorm") + 1
        assert found[begin : begin + 14] == BLOCK * 2, name
    found = kinds(pack(stock["vit"], allow_larger=True))
    assert found[6:-4] == ["LayerNorm", DENSE, "Attention", DENSE, "LayerNorm", DENSE, DENSE, "LayerNorm"]


def test_a_quantized_file_has_float_activations_and_its_own_int8_weights(stock):
    content = pack(stock["vit int8"], allow_larger=True)
    found = kinds(content)
    assert not {"QUANTIZE", "DEQUANTIZE", "MUL"} & set(found)
    assert found.count(DENSE) == 6
    assert found.count("Attention") == 1
    at = found.index("Attention")
    assert options(content, at).computing == options(content, at - 1).computing == Computing.INT8
    before = {one.name: one for one in file_weights.weights(stock["vit int8"])}
    for one in file_weights.weights(content):
        assert one.values.tobytes() == before[one.name].values.tobytes()
        assert one.scales.tolist() == before[one.name].scales.tolist()


@pytest.mark.parametrize("activations", [None, "float32", "int8"])
def test_packing_counts_what_it_did(stock, activations):
    packed = pack_counted(stock["bert"], activations, allow_larger=True)
    assert (packed.dense, packed.attentions, packed.layer_norms, packed.tables) == (14, 2, 5, 2)
    assert not packed.skipped
    assert len(packed.content) < len(stock["bert"]) / 2.5


def test_dense_layers_of_other_transformers(stock):
    found = kinds(pack(stock["keras"], allow_larger=True))
    begin = found.index("LayerNorm")
    assert found[begin : begin + 14] == ["LayerNorm", DENSE, "Attention", DENSE, "LayerNorm", DENSE, DENSE] * 2
    assert not {"SHAPE", "PACK", "REDUCE_PROD", "TRANSPOSE"} & set(found)
    mobile = pack_counted(stock["mobilebert"], allow_larger=True)
    assert (mobile.dense, mobile.attentions, mobile.layer_norms) == (33, 2, 0)
    assert kinds(mobile.content).count("MUL") > 4  # NoNorm stays as it is


def test_signatures_and_metadata_survive(stock):
    described = describe(stock["vit"], Description("digits", "says what digit", tuple("0123456789")))
    packed = pack(described, allow_larger=True)
    assert read_description(packed) == read_description(described)
    assert zipfile.ZipFile(io.BytesIO(packed)).namelist() == ["labels.txt"]
    before, after = reading.read(described), reading.read(packed)
    assert [(one.name, list(one.inputs), list(one.outputs)) for one in after.signatures] == [
        (one.name, list(one.inputs), list(one.outputs)) for one in before.signatures
    ]
    assert after.entry("tfcompress.packed").data.tobytes() == b"1"
    assert minimum_runtime(packed, RUNTIMES) == "2.14.0"
    assert not any(place % 64 for place in places(packed))
    for graph in after.graphs:
        used = {tensor for node in graph.operators for tensor in (*node.inputs, *node.outputs)}
        assert used - {ABSENT} == set(graph.tensors)


def test_weights_that_are_not_clustered_are_left_with_the_reason(tiny_vit):
    with pytest.raises(UserError, match=r"nothing to pack: .*mlp1.*: it has 1,0\d\d distinct values; cluster"):
        pack(convert(tiny_vit, "float32"))
    with pytest.raises(UserError, match=r"mlp1.*distinct values need 8 bits each and .* no fewer than now; cluster"):
        pack(convert(tiny_vit, "dynamic"))


def test_packed_and_invalid_files_are_refused(stock):
    with pytest.raises(UserError, match="already packed"):
        pack(pack(stock["vit"], allow_larger=True))
    with pytest.raises(UserError, match="not a valid"):
        pack(b"PNG.....")


@pytest.mark.parametrize("name", ["vit", "bert", "minilm", "mobilebert", "keras"])
@pytest.mark.usefixtures("library")
def test_packed_float_files_give_the_same_outputs(stock, name):
    for batch in (0, 3) if name == "keras" else (0,):
        expected = run(stock[name], batch=batch)
        assert relative(run(pack(stock[name], allow_larger=True), packed=True, batch=batch), expected) < 1e-5


@pytest.mark.parametrize("name", ["bert dynamic", "vit int8", "bert", "keras"])
@pytest.mark.usefixtures("library")
def test_packed_int8_files_give_nearly_the_same_outputs(stock, name):
    content = pack(stock[name], "int8", allow_larger=True)
    expected, found = run(stock[name]), run(content, packed=True)
    assert 0 < relative(found, expected) < 0.2
    assert (
        relative(
            run(pack(stock[name], "float32", allow_larger=True), packed=True),
            run(unpack(pack(stock[name], "float32", allow_larger=True))),
        )
        < 1e-5
    )
    assert np.isfinite(found).all()
