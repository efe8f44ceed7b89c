import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.build import build, graph, node, tensor
from tests.packed.graphs import Model
from tfcompress.post_training.kernels import find_kernels, left_alone
from tfcompress.tflite.reading import read

from .strangers import convolution, dense, random, run, small_cnn


def test_dense_layers_and_convolutions_without_overlap_are_kernels_in_the_order_of_use():
    kinds = [(one.kind, one.matrix.shape) for one in find_kernels(read(small_cnn()))]
    assert kinds == [
        ("convolution", (48, 24)),
        ("convolution", (48, 16 * 48)),
        ("dense", (48, 48)),
        ("dense", (10, 48)),
    ]


@pytest.mark.parametrize(
    ("window", "stride", "size", "padding"),
    [
        (4, 4, 8, schema.Padding.VALID),
        (4, 4, 8, schema.Padding.SAME),
        (1, 1, 5, schema.Padding.SAME),
    ],
)
def test_the_rows_of_a_convolution_times_its_weights_are_its_output(window, stride, size, padding):
    model = Model(1, size, size, 8)
    out = size // stride
    content = model.file(convolution(model, 0, (1, out, out, 64), window, stride, padding))
    file = read(content)
    [kernel] = find_kernels(file)
    x = np.random.default_rng(0).normal(size=(size, size, 8)).astype(np.float32)
    rows = kernel.rows(x[None]) @ kernel.matrix.T + file.graphs[0].operators[0].inputs[2].values()
    np.testing.assert_allclose(rows.reshape(1, out, out, 64), run(content, x), atol=1e-4)


@pytest.mark.parametrize(
    ("window", "stride", "size", "padding"),
    [
        (4, 4, 10, schema.Padding.SAME),
        (4, 4, 10, schema.Padding.VALID),
        (3, 1, 8, schema.Padding.VALID),
        (3, 4, 8, schema.Padding.VALID),
    ],
)
def test_a_convolution_that_overlaps_skips_or_pads_is_left_alone(window, stride, size, padding):
    model = Model(1, size, size, 8)
    out = -(-size // stride) if padding == schema.Padding.SAME else (size - window) // stride + 1
    file = read(model.file(convolution(model, 0, (1, out, out, 64), window, stride, padding)))
    assert not find_kernels(file)
    assert "cut patches" in left_alone(file.graphs[0])["c1"]


def test_a_constant_of_several_operators_is_one_kernel():
    model = Model(1, 32)
    shared = random(model, (32, 32))
    x = dense(model, dense(model, 0, (1, 32), shared), (1, 32), shared)
    copy = model.constant(np.zeros((32, 32)))
    model.tensors[copy].data = model.tensors[shared].data  # the same buffer
    file = read(model.file(dense(model, x, (1, 32), copy)))
    [kernel] = find_kernels(file)
    assert list(kernel.operators) == list(file.operators())


def test_kernels_get_distinct_names():
    model = Model(1, 32)
    out = dense(model, dense(model, dense(model, 0, (1, 32)), (1, 32)), (1, 32))
    for one in model.tensors:
        one.name = "" if one.name == "c1" else "w"
    file = read(model.file(out))
    assert [one.name for one in find_kernels(file)] == ["kernel_0", "w", "w_1"]
    assert [one.tensor.name for one in find_kernels(file)] == ["kernel_0", "w", "w_1"]


@pytest.mark.parametrize("axis", [0, 1])
def test_only_a_lookup_of_rows_reads_a_table(axis):
    model = Model(1, 3, type="int32")
    table = random(model, (40, 32))
    out = model.add("GATHER", [table, 0], (1, 3, 32) if axis == 0 else (40, 1, 3), own=schema.GatherOptionsT(axis))
    file = read(model.file(out))
    assert [one.kind for one in find_kernels(file)] == ["table"] * (axis == 0)
    assert list(left_alone(file.graphs[0]).values()) == ["it is not a table of rows"] * (axis == 1)


def test_a_tied_table_counts_as_the_kernel_of_its_dense_layer():
    model = Model(1, 3, type="int32")
    table = random(model, (40, 32))
    rows = model.add("GATHER", [table, 0], (3, 32), own=schema.GatherOptionsT())
    [kernel] = find_kernels(read(model.file(dense(model, rows, (3, 40), table))))
    assert kernel.kind == "dense"
    assert [one.kind for one in kernel.operators] == ["GATHER", "FULLY_CONNECTED"]


def test_computed_and_large_other_constants_are_left_alone():
    model = Model(32, 32)
    y = model.add("MUL", [0, random(model, (32, 32))], (32, 32), own=schema.MulOptionsT())
    y = model.add("FULLY_CONNECTED", (y, 0, -1), (32, 32), 6, own=schema.FullyConnectedOptionsT())
    file = read(model.file(y))
    assert not find_kernels(file)
    assert left_alone(file.graphs[0]) == {"c1": "MUL reads it"}


def test_kernels_of_two_graphs_that_share_a_buffer_are_one():
    values = np.ones((32, 32), np.float32).tobytes()
    graphs = []
    for name in "ab":
        weights = tensor(name, (32, 32), data=values)
        tensors = [tensor("x", (1, 32)), weights, tensor("y", (1, 32))]
        graphs.append(graph(tensors, [node("FULLY_CONNECTED", (0, 1, -1), (2,), 6)], outputs=(2,)))
    file = read(build(*graphs))
    assert [one.name for one in find_kernels(file)] == ["a"]
    assert [operator.inputs[1].name for operator in file.operators()] == ["a", "a"]
