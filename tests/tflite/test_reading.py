import mmap

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests.build import build, constant, dense_file, graph, node, packed, tensor
from tfcompress.errors import UserError
from tfcompress.tflite import reading


@pytest.mark.parametrize("name", ["float32", "float16", "dynamic", "int8", "dynamic_wi4_afp32", "loop"])
def test_a_file_is_read_as_litert_reads_it(real_files, name):
    without_delegate = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=real_files[name], experimental_op_resolver_type=without_delegate)
    interpreter.allocate_tensors()
    found = reading.read(real_files[name])
    tensors = found.graphs[0].tensors
    checked = 0
    for expected in interpreter.get_tensor_details()[: len(tensors)]:
        tensor = tensors[expected["index"]]
        assert (tensor.name, tensor.shape) == (expected["name"], tuple(expected["shape"].tolist()))
        np.testing.assert_array_equal(tensor.scales, expected["quantization_parameters"]["scales"])
        if len(tensor.data) and tensor.bits >= 8:
            assert tensor.dtype == np.dtype(expected["dtype"]).name
            np.testing.assert_array_equal(tensor.values(), interpreter.get_tensor(expected["index"]))
            checked += 1
    assert checked
    operators = [operator["op_name"] for operator in interpreter._get_ops_details()]
    assert [operator.kind for operator in found.graphs[0].operators] == operators
    expected = interpreter.get_signature_list()
    assert {one.name: {"inputs": [*one.inputs], "outputs": [*one.outputs]} for one in found.signatures} == expected


def test_packed_weights_are_half_a_step_from_the_float_ones(real_files):
    float32, int4 = (reading.read(real_files[name]).graphs[0].tensors for name in ("float32", "dynamic_wi4_afp32"))
    compared = 0
    for before, after in zip(float32, int4, strict=True):
        if after.dtype == "int4":
            assert len(after.data) * 2 == after.elements
            scales = after.scales[:, None]
            assert np.all(np.abs(after.values() * scales - before.values()) <= scales * 0.51)
            compared += 1
        elif len(after.data):
            np.testing.assert_array_equal(after.values(), before.values())
    assert compared == 8


def test_constants_after_the_flatbuffer_and_scales_per_block_are_read(real_files):
    model = schema.Model.GetRootAs(real_files["blocks"])
    assert any(model.Buffers(index).Offset() > 1 for index in range(model.BuffersLength()))
    tensors = reading.read(real_files["blocks"]).graphs[0].tensors
    found, before = tensors[1], reading.read(real_files["dense"]).graphs[0].tensors[1]
    (scale_tensor,) = found.scale_tensors.values()
    scales = np.repeat(scale_tensor.values().reshape(768, 24).astype(np.float32), 32, axis=1)
    assert (found.dtype, scale_tensor.dtype) == ("int4", "float16")
    assert np.all(np.abs(found.values() * scales - before.values()) <= scales * 0.51)


@pytest.mark.parametrize(("type", "bits", "low"), [("int4", 4, -8), ("uint4", 4, 0), ("int2", 2, -2)])
@pytest.mark.parametrize("shape", [(4, 6), (3, 5), (1, 1)])
def test_elements_of_less_than_a_byte_are_unpacked(type, bits, low, shape):
    values = np.random.default_rng(0).integers(low, low + 2**bits, shape)
    content = build(graph([tensor("x", (1,)), tensor("w", shape, type, packed(values, bits))], []))
    found = reading.read(content).graphs[0].tensors[1]
    np.testing.assert_array_equal(found.values(), values)
    assert found.values().dtype == ("uint8" if low == 0 else "int8")


def test_a_loops_subgraphs_and_a_second_signature_are_read(real_files):
    assert len(reading.read(real_files["loop"]).graphs) == 3
    values = np.ones((4, 6), np.float32)
    again = graph([tensor("a", (1, 6)), constant("w", values), tensor("b", (1, 4))], [], outputs=(2,), name="again")
    first = graph([tensor("x", (1, 6))], [], outputs=(0,), name="main")
    ends = {"in": 0}, {"out": 2}
    found = reading.read(build(first, again, signatures=[("main", 0, {"x": 0}, {"x": 0}), ("again", 1, *ends)]))
    assert [one.name for one in found.graphs] == ["main", "again"]
    signature, tensors = found.signatures[1], found.graphs[1].tensors
    assert (signature.name, signature.graph) == ("again", found.graphs[1])
    assert (signature.inputs, signature.outputs) == ({"in": tensors[0]}, {"out": tensors[2]})


def test_a_file_needs_neither_metadata_nor_signatures_nor_names():
    found = reading.read(build(graph([tensor(None, (2,))], [])))
    assert found.metadata == found.signatures == []
    assert found.graphs[0].tensors[0].name == ""


def test_a_custom_operator_has_its_own_name():
    operator = node("Clustered", (0,), (1,), 3)
    found = reading.read(build(graph([tensor("x", (1,)), tensor("y", (1,))], [operator])))
    assert [code.key for code in found.codes] == [("Clustered", 3, True)]


def test_a_mapped_file_is_read_without_copies(real_files, tmp_path):
    (tmp_path / "model.tflite").write_bytes(real_files["float32"])
    found = reading.open_file(tmp_path / "model.tflite")
    assert isinstance(found.content, mmap.mmap)
    largest = max(found.graphs[0].tensors, key=lambda tensor: len(tensor.data))
    assert np.shares_memory(largest.values(), np.frombuffer(found.content, np.uint8))


def sparse(indices, values) -> schema.TensorT:
    """Two stored elements of (4, 6): rows dense, columns compressed."""
    rows = schema.DimensionMetadataT(schema.DimensionType.DENSE, 4)
    columns = schema.DimensionMetadataT(schema.DimensionType.SPARSE_CSR)
    columns.arraySegmentsType = columns.arrayIndicesType = schema.SparseIndexVector.Int32Vector
    columns.arraySegments = schema.Int32VectorT([0, 1, 1, 2, 2])
    columns.arrayIndices = schema.Int32VectorT(indices)
    sparsity = schema.SparsityParametersT([0, 1], [], [rows, columns])
    return tensor("w", (4, 6), "float32", np.array(values, np.float32).tobytes(), sparsity=sparsity)


def test_a_sparse_tensor_gives_what_it_stores():
    found = reading.read(dense_file(sparse([5, 0], [1.5, -2.5]))).graphs[0].tensors[1]
    assert found.sparse
    assert found.elements == 24
    assert found.values().tolist() == [1.5, -2.5]


WEIGHTS = np.arange(24, dtype=np.float32).reshape(4, 6)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (tensor("w", (4, 6), "float32", bytes(95)), r"'w', float32 \(4, 6\), needs 96 bytes and has 95"),
        (tensor("w", (4, 6), "int4", bytes(24)), r"needs 12 bytes and has 24"),
        (tensor("w", (4, -6), "float32", bytes(96)), r"constant 'w' has shape \(4, -6\)"),
        (tensor("w", (2**31 - 1,) * 4, "float32", bytes(96)), r"constant 'w' has shape \(2147483647, "),
        (tensor("w", (1,) * 69 + (24,), "float32", bytes(96)), r"constant 'w' has shape \(1, 1, "),
        (tensor("w", (4, 6), "int4", bytes(12), scale_tensor=7), "has its scales in a tensor that does not exist"),
        (tensor("w" * 70000, (4, 6), "float32", bytes(96)), "a name of 70,000 bytes"),
    ],
)
def test_a_constant_that_does_not_fit_is_refused(weights, reason):
    with pytest.raises(UserError, match=f"^this content is not a valid .tflite file: .*{reason}"):
        reading.read(dense_file(weights))


def test_indices_of_missing_tensors_are_refused():
    for inputs, outputs in (((5,), ()), ((-2,), ()), ((), (1,)), ((), (-1,))):
        with pytest.raises(UserError, match="it uses tensor"):
            reading.read(build(graph([tensor("x", (1,))], [node("RELU", inputs, outputs)])))
    with pytest.raises(UserError, match="a signature names a tensor that does not exist"):
        reading.read(dense_file(constant("w", WEIGHTS), signatures=[("main", 0, {"x": 3}, {})]))
    for broken in ([("main", 1, {}, {})],):
        with pytest.raises(UserError, match="cut off or damaged"):
            reading.read(dense_file(constant("w", WEIGHTS), signatures=broken))


def test_every_truncated_file_is_refused():
    content = dense_file(constant("w", WEIGHTS), metadata={"note": b"hello"})
    reading.read(content)
    for length in range(len(content)):
        with pytest.raises(UserError, match=r"not a valid \.tflite"):
            reading.read(content[:length])


def test_a_graph_larger_than_its_file_is_refused():
    """In 128 KiB 16,384 graphs that are all the same one, of as many tensors that are all the same one."""
    builder, count = flatbuffers.Builder(), 1 << 14

    def all_the_same(table: int) -> int:
        builder.StartVector(4, count, 4)
        for _ in range(count):
            builder.PrependUOffsetTRelative(table)
        return builder.EndVector()

    schema.TensorStart(builder)
    tensors = all_the_same(schema.TensorEnd(builder))
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graphs = all_the_same(schema.SubGraphEnd(builder))
    buffers = all_the_same(schema.BufferT().Pack(builder))
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, graphs)
    schema.ModelAddBuffers(builder, buffers)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    with pytest.raises(UserError, match="it lists more than a file of its size can contain"):
        reading.read(bytes(builder.Output()))
