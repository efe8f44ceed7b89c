import gzip
import os
import random
from collections import Counter

import numpy as np
import pytest
import zstandard
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests.build import build, constant, dense_file, graph, node, packed, tensor
from tests.tflite.damage import damaged
from tfcompress.errors import UserError
from tfcompress.inspect.contents import Contents, inspect
from tfcompress.packed.packer import pack
from tfcompress.tflite import reading, writing
from tfcompress.tflite.metadata import Description, ImageInput, describe
from tfcompress.traits import kernels


@pytest.fixture
def inspected(tmp_path):
    """Inspects content as a file."""

    def inspect_content(content: bytes, **options) -> Contents:
        (tmp_path / "model.tflite").write_bytes(content)
        return inspect(tmp_path / "model.tflite", **options)

    return inspect_content


def figures(values: np.ndarray) -> tuple[int, float, float]:
    """Distinct values, share of zeros, entropy in bits."""
    counts = np.array(list(Counter(values.ravel().tolist()).values()))  # np.unique miscounts float16: its sort is wrong
    shares = counts / values.size
    return len(counts), float(np.mean(values == 0)), float(-(shares * np.log2(shares)).sum())


def check(row, values: np.ndarray) -> None:
    assert (row.unique, row.zeros, row.entropy) == pytest.approx(figures(values), abs=1e-9)
    assert row.entropy_bytes == pytest.approx(values.size * row.entropy / 8, abs=1)


@pytest.mark.parametrize("name", ["float32", "float16", "dynamic", "int8", "loop"])
def test_each_weight_tensor_has_a_row_with_the_figures_of_litert(real_files, inspected, name):
    without_delegate = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=real_files[name], experimental_op_resolver_type=without_delegate)
    interpreter.allocate_tensors()
    stored = {one["name"]: one["index"] for one in interpreter.get_tensor_details()}
    rows = [row for row in inspected(real_files[name]).weights if row.name in stored]
    for row in rows:
        values = interpreter.get_tensor(stored[row.name])
        assert (row.shape, row.type, row.bytes) == (values.shape, values.dtype.name, values.nbytes)
        check(row, values)
    assert {row.operator for row in rows} >= {"FULLY_CONNECTED"} or name == "loop"


def test_the_kernels_are_among_the_rows(real_files, inspected, tiny_vit):
    found = inspected(real_files["float32"])
    rows = {row.shape: row for row in found.weights}
    check(rows[10, 16], kernels(tiny_vit)["head"])
    check(rows[64, 16], kernels(tiny_vit)["block_0_mlp1"])
    assert len([row for row in found.weights if row.operator == "FULLY_CONNECTED"]) == 8


def test_a_compressed_file_shows_its_clusters_and_zeros(real_files, inspected):
    kind = ("int8", "FULLY_CONNECTED")
    rows = [row for row in inspected(real_files["int8"]).weights if (row.type, row.operator) == kind]
    assert len(rows) == 6
    for row in rows:
        assert row.unique <= 16
        assert row.zeros >= 0.49
        assert row.entropy_bytes < row.bytes / 2


def test_packed_weights_are_counted_as_packed(real_files, inspected):
    found = inspected(real_files["dynamic_wi4_afp32"])
    tensors = {one.name: one for one in reading.read(real_files["dynamic_wi4_afp32"]).graphs[0].tensors}
    rows = [row for row in found.weights if row.type == "int4"]
    assert len(rows) == 8
    for row in rows:
        assert row.bytes * 2 == np.prod(row.shape)
        check(row, tensors[row.name].values())
    assert found.bytes_by_type["int4"] == sum(row.bytes for row in rows)


@pytest.mark.parametrize("name", ["float32", "float16", "dynamic", "int8", "dynamic_wi4_afp32", "blocks", "loop"])
def test_bytes_by_operator_add_up_to_the_file(real_files, inspected, name):
    found = inspected(real_files[name])
    assert sum(found.bytes_by_operator.values()) == found.bytes == len(real_files[name])
    assert "(unused)" not in found.bytes_by_operator
    assert sum(row.bytes for row in found.weights) + found.other_bytes <= sum(found.bytes_by_type.values())
    assert found.bytes_by_operator["(graph)"] < 40_000


def test_a_file_has_the_parameters_of_its_model(real_files, inspected, tiny_vit):
    found = inspected(real_files["float32"])
    scalars = found.parameters - tiny_vit.count_params()  # such as the epsilon of a LayerNorm
    assert 0 <= scalars < 10
    for name in ("float16", "dynamic", "dynamic_wi4_afp32"):
        assert inspected(real_files[name]).parameters == found.parameters
    assert inspected(real_files["blocks"]).parameters == 768 * 768
    shape = constant("shape", np.array([2, 3, 4], np.int32))
    bias = constant("bias", np.array([2, 3, 4], np.int32), scales=[0.1], zero_points=[0])
    assert inspected(build(graph([tensor("x", (1,)), shape, bias], []))).parameters == 3


def lookup(ids: int, table: schema.TensorT, operator: str = "GATHER") -> bytes:
    inputs = (1, 0) if operator == "GATHER" else (0, 1)
    tensors = [tensor("ids", (1, ids), "int32"), table, tensor("rows", (1, ids, 8))]
    return build(graph(tensors, [node(operator, inputs, (2,))], outputs=(2,)))


def test_a_lookup_reads_the_rows_it_returns(inspected):
    table = np.arange(800, dtype=np.float32).reshape(100, 8)
    for operator in ("GATHER", "EMBEDDING_LOOKUP"):
        assert inspected(lookup(3, constant("table", table), operator)).weight_bytes_read == 3 * 8 * 4
    assert inspected(lookup(1000, constant("table", table))).weight_bytes_read == table.nbytes
    int4 = tensor("table", (100, 8), "int4", packed(np.ones((100, 8), np.int8), 4), scales=[0.1], zero_points=[0])
    assert inspected(lookup(3, int4)).weight_bytes_read == 3 * 4


def test_a_constant_is_read_by_each_operator_and_stored_once(inspected):
    weights, shape = np.ones((8, 8), np.float32), constant("shape", np.array([1, 8], np.int32))
    shared = constant("w", weights)
    again = tensor("same", (8, 8), "float32", shared.data)
    nodes = [node("FULLY_CONNECTED", (0, 1, -1), (2,)), node("FULLY_CONNECTED", (2, 3, -1), (4,))]
    nodes.append(node("RESHAPE", (4, 5), (6,)))
    ends = [tensor(name, (1, 8)) for name in "xyzr"]
    tensors = [ends[0], shared, ends[1], again, ends[2], shape, ends[3]]
    found = inspected(build(graph(tensors, nodes, outputs=(6,))))
    assert found.weight_bytes_read == 2 * weights.nbytes
    assert found.parameters == 64
    assert [row.name for row in found.weights] == ["w"]
    assert found.bytes_by_operator["FULLY_CONNECTED"] == weights.nbytes
    assert found.bytes_by_operator["RESHAPE"] == 8


def test_scales_per_block_are_read_with_the_weights_but_are_not_parameters(real_files, inspected):
    found = inspected(real_files["blocks"])
    int4, scales = 768 * 768 // 2, 768 * 24 * 2
    assert [row.type for row in found.weights] == ["int4"]
    assert found.weight_bytes_read == found.bytes_by_operator["FULLY_CONNECTED"] == int4 + scales


def test_the_graphs_of_a_loop_count_and_those_of_other_signatures_do_not(real_files, inspected):
    found = inspected(real_files["loop"])
    assert len(found.graphs) == 3
    assert found.weight_bytes_read == sum(one.weight_bytes_read for one in found.graphs) == 16 * 16 * 4
    weights = constant("w", np.ones((8, 8), np.float32))
    one, other = (
        graph([tensor("x", (1, 8)), weights, tensor("y", (1, 8))], [node("FULLY_CONNECTED", (0, 1, -1), (2,))])
        for _ in range(2)
    )
    ends = {"x": 0}, {"y": 2}
    found = inspected(build(one, other, signatures=[("encode", 0, *ends), ("decode", 1, *ends)]))
    assert [one.weight_bytes_read for one in found.graphs] == [256, 256]
    assert found.weight_bytes_read == found.bytes_by_type["float32"] == 256
    assert [one.name for one in found.signatures] == ["encode", "decode"]
    assert found.signatures[1].inputs == {"x": "float32 (1, 8)"}


def test_half_precision_weights_belong_to_the_operator_after_their_dequantization(real_files, inspected):
    found = inspected(real_files["float16"])
    assert {row.operator for row in found.weights} == {row.operator for row in inspected(real_files["float32"]).weights}
    assert "DEQUANTIZE" not in found.bytes_by_operator


def test_zeros_are_values_that_mean_zero(inspected):
    values = np.array([[128] * 3 + [0] * 3] * 4, np.uint8)
    (row,) = inspected(dense_file(constant("w", values, scales=[0.1], zero_points=[128]))).weights
    assert (row.zeros, row.unique, row.entropy) == (0.5, 2, 1.0)
    points = {"scales": [0.1] * 4, "zero_points": [0, 0, 128, 7], "axis": 0}
    (row,) = inspected(dense_file(constant("w", values, **points))).weights
    assert row.zeros == 9 / 24
    (row,) = inspected(dense_file(constant("w", np.array([[0.0, -0.0, np.nan, np.nan, 1, 1]] * 4, np.float32)))).weights
    assert (row.zeros, row.unique) == (1 / 3, 3)
    assert row.entropy == pytest.approx(np.log2(3))


def test_other_types_are_counted_by_their_bits(inspected):
    bits = np.array([[0, 0x8000, 0x3F80, 0x3F80, 0x4000, 0x4000]] * 4, np.uint16)  # 0, -0, 1, 1, 2, 2
    (row,) = inspected(dense_file(tensor("w", (4, 6), "bfloat16", bits.tobytes()))).weights
    assert (row.unique, row.zeros, row.bytes) == (3, 1 / 3, 48)
    (row,) = inspected(dense_file(tensor("w", (4, 6), "complex128", bytes(384)))).weights
    assert (row.unique, row.zeros, row.entropy, row.entropy_bytes) == (None, None, None, None)
    found = inspected(dense_file(tensor("w", (4, 6), "string", b"any bytes")))
    assert (found.weights, found.bytes_by_type) == ((), {"string": 9})


def test_a_sparse_tensors_missing_elements_are_zeros(inspected):
    rows = schema.DimensionMetadataT(schema.DimensionType.DENSE, 4)
    sparsity = schema.SparsityParametersT([0, 1], [], [rows, schema.DimensionMetadataT()])
    values = np.array([1, 2, 2, 0], np.float32)
    (row,) = inspected(dense_file(tensor("w", (4, 6), "float32", values.tobytes(), sparsity=sparsity))).weights
    assert row.sparse
    assert (row.unique, row.zeros, row.entropy, row.bytes, row.entropy_bytes) == (3, 21 / 24, 1.5, 16, 1)


def test_large_tensors_are_counted_in_parts(inspected):
    rng = np.random.default_rng(0)
    values = rng.choice(rng.normal(size=5000).astype(np.float32), (1300, 1000))
    for stored in (values, values.astype(np.float16), rng.integers(-9, 9, values.shape, np.int8)):
        (row,) = inspected(dense_file(constant("w", stored))).weights
        check(row, stored)


def test_a_custom_operator_is_shown_and_its_runtime_is_not_known(inspected):
    weights = constant("w", np.ones((4, 6), np.float32))
    content = build(graph([tensor("x", (1,)), weights, tensor("y", (1,))], [node("Clustered", (0, 1), (2,))]))
    found = inspected(content)
    assert [(one.operator, one.version, one.count, one.runtime) for one in found.operators] == [("Clustered", 1, 1, "")]
    assert found.weights[0].operator == "Clustered"
    assert found.minimum_runtime == ""


def test_operators_that_lack_tensors_are_counted(inspected):
    content = build(graph([], [node("ADD", (-1,), ())], inputs=()))
    assert inspected(content).operators[0].operator == "ADD"
    weights = constant("w", np.resize(np.float32([1, 2]), (64, 64)))
    dense = node("FULLY_CONNECTED", (0, 1, -1), (2,))
    model = reading.read(
        pack(build(graph([tensor("x", (1, 64)), weights, tensor("y", (1, 64))], [dense], outputs=(2,))))
    )
    model.graphs[0].operators[0].outputs = ()
    assert inspected(writing.write(model)).weight_bytes_read > 0


def test_constants_that_no_operator_reads_are_unused(inspected):
    found = inspected(build(graph([tensor("x", (1,)), constant("w", np.ones((4, 6), np.float32))], [])))
    assert found.bytes_by_operator["(unused)"] == 96


def test_signature_metadata_and_operators(real_files, inspected):
    found = inspected(real_files["float32"])
    (signature,) = found.signatures
    assert (signature.name, signature.inputs) == ("serving_default", {"image": "float32 (1, 8, 8, 3)"})
    assert signature.outputs == {"probabilities": "float32 (1, 10)"}
    assert found.metadata["min_runtime_version"] == 16
    assert found.minimum_runtime == "2.9.0"
    counts = {one.operator: (one.version, one.count, one.runtime) for one in found.operators}
    assert counts["FULLY_CONNECTED"] == (5, 8, "2.0.0")
    assert counts["GELU"] == (1, 1, "2.9.0")
    without = inspected(build(graph([tensor("x", (1, 2)), tensor("y", (1, 3))], [], outputs=(1,))))
    assert [(one.name, one.inputs, one.outputs) for one in without.signatures] == [
        ("", {"x": "float32 (1, 2)"}, {"y": "float32 (1, 3)"})
    ]


def test_a_description_and_attached_files_are_shown(real_files, inspected):
    labels = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    content = describe(real_files["dynamic"], Description("digits", "a ViT", labels, ImageInput((0.0,), (255.0,))))
    found = inspected(content)
    assert found.description["name"] == "digits"
    assert found.description["labels"] == ", ".join(labels)
    assert found.attached == {"labels.txt": len("\n".join(labels)) + 1}
    assert found.metadata["TFLITE_METADATA"] > 100
    assert sum(found.bytes_by_operator.values()) == found.bytes == len(content)
    assert found.bytes_by_operator["(attached files)"] > found.attached["labels.txt"]
    broken = bytearray(content)
    broken[content.rindex(b"PK\1\2")] = 0
    assert "damaged" in inspected(bytes(broken)).description


def test_compressed_sizes_are_measured_on_request(real_files, inspected):
    assert (inspected(real_files["dynamic"]).gzip, inspected(real_files["dynamic"]).zstd) == (None, None)
    found = inspected(real_files["blocks"], compressed=True)
    assert found.gzip == len(gzip.compress(real_files["blocks"], 9, mtime=0))
    assert found.zstd == pytest.approx(len(zstandard.compress(real_files["blocks"], 9)), abs=64)


def test_other_files_are_refused(tmp_path, tiny_vit):
    tiny_vit.save(tmp_path / "model.h5")
    (tmp_path / "text").write_text("a text of some length, which is no model")
    (tmp_path / "empty").touch()
    (tmp_path / "short").write_bytes(b"\x1c\0\0\0TFL")
    os.mkfifo(tmp_path / "pipe")
    reasons = {
        "model.h5": "does not have TFL3 at byte 4",
        "text": "does not have TFL3 at byte 4",
        "empty": "is empty",
        "short": "not a valid",
        "pipe": "is not a file",
        ".": "is not a file",
        "absent": "cannot read .*absent: No such file",
    }
    for name, reason in reasons.items():
        with pytest.raises(UserError, match=reason):
            inspect(tmp_path / name)


def test_a_thousand_damaged_files_end_in_figures_or_an_error(real_files, tmp_path):
    described = describe(real_files["float32"], Description("digits", labels=tuple("0123456789")))
    sources = [described, *(real_files[name] for name in ("float32", "int8", "dynamic_wi4_afp32", "loop", "blocks"))]
    rng, path, refusals = random.Random(0), tmp_path / "model.tflite", []
    for turn in range(1000):
        path.write_bytes(damaged(sources[turn % len(sources)], sources, rng))
        try:
            assert sum(inspect(path).bytes_by_operator.values()) >= path.stat().st_size
        except UserError as error:
            refusals.append(str(error))
    assert 300 < len(refusals) < 900
    assert all(refusal.startswith(f"{path} is not a valid .tflite file: ") for refusal in refusals)
