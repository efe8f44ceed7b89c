from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.build import build, graph, node, tensor
from tests.packed.graphs import Model
from tfcompress.errors import UserError
from tfcompress.post_training import pieces
from tfcompress.post_training.kernels import find_kernels, read_by
from tfcompress.post_training.pieces import Pieces
from tfcompress.tflite import graph as graphs
from tfcompress.tflite.reading import read

from .strangers import dense, pictures, run, small_cnn


def outputs(content: bytes, examples, folder: Path, memory: int) -> np.ndarray:
    """The first output, computed with a cut before each operator that has a kernel."""
    model = read(content)
    found = Pieces(model, examples, folder, memory)
    for kernel in find_kernels(model):
        for operator in kernel.operators:
            found.run_to(operator)
    found.run_to(None)
    return np.concatenate(list(found.rows(model.graphs[0].outputs[0], np.asarray)))


@pytest.mark.parametrize("memory", [0, 1 << 12, 1 << 28])
def test_a_file_in_pieces_gives_what_it_gives_in_one(memory, tmp_path):
    content, examples = small_cnn(), pictures(5)
    np.testing.assert_allclose(outputs(content, examples, tmp_path, memory), run(content, *examples), atol=1e-5)


def test_texts_in_pieces_give_what_they_give_in_one(bert, sentences, tmp_path):
    some = sentences[:3]
    np.testing.assert_allclose(outputs(bert, some, tmp_path, 0), run(bert, *some), atol=1e-5)


def test_each_operator_runs_once(bert, sentences, tmp_path, monkeypatch):
    ran = []

    def write_file(model: graphs.Model, path: Path) -> None:
        ran.extend(operator.outputs[0].name for operator in model.graphs[0].operators)
        written(model, path)

    written = pieces.write_file
    monkeypatch.setattr(pieces, "write_file", write_file)
    outputs(bert, sentences[:2], tmp_path, 1 << 20)
    assert ran == [operator.outputs[0].name for operator in read(bert).graphs[0].operators]


def test_what_is_behind_the_cut_runs_with_the_constants_that_it_had_when_it_was_asked_for(tmp_path):
    model = Model(1, 32)
    content, [example] = model.file(dense(model, dense(model, 0, (1, 32)), (1, 32))), pictures(1, 32)
    read_model = read(content)
    first, second = find_kernels(read_model)
    found = Pieces(read_model, [example], tmp_path)
    found.run_to(second.operators[0])
    before = found.behind(read_model.graphs[0].outputs[0], 1)
    second.set_values(-second.matrix)
    after = found.behind(read_model.graphs[0].outputs[0], 1)
    first.set_values(0 * first.matrix)  # has run already
    np.testing.assert_allclose(before(), run(content, example).reshape(1, 32), rtol=1e-5, atol=1e-5)
    assert not np.allclose(after(), run(content, example).reshape(1, 32), atol=0.1)


def test_operators_behind_the_cut_run_with_the_constants_of_the_moment(tmp_path):
    model = Model(1, 32)
    content = model.file(dense(model, dense(model, 0, (1, 32)), (1, 32)))
    read_model = read(content)
    first, second = find_kernels(read_model)
    example = pictures(1, 32)[0]
    found = Pieces(read_model, [example], tmp_path)
    found.run_to(second.operators[0])
    first.set_values(first.matrix * 0)  # too late
    second.set_values(second.matrix * 2)
    bias = second.operators[0].inputs[2].values()
    found.run_to(None)
    [out] = found.rows(read_model.graphs[0].outputs[0], np.asarray)
    np.testing.assert_allclose(out, 2 * (run(content, example) - bias) + bias, rtol=1e-4)


def test_padded_tokens_do_not_count(bert, sentences, tmp_path):
    model, some = read(bert), sentences[:4]
    tokens = [int(features["padding_mask"].sum()) for features in some]
    assert min(tokens) < 12
    found = Pieces(model, some, tmp_path)
    counted = {}
    for kernel in find_kernels(model):
        found.run_to(kernel.operators[0])
        counted[kernel] = [len(rows) for rows in found.rows(read_by(kernel.operators[0]), kernel.rows)]
    assert counted[max(counted, key=lambda kernel: len(kernel.matrix))] == tokens  # the largest is a table
    pooled = [numbers for numbers in counted.values() if numbers != tokens]
    assert pooled == [[1] * 4] * 2  # of the pooler and the head


def test_dropped_activations_leave_no_files(tmp_path):
    model = read(small_cnn())
    found = Pieces(model, pictures(2), tmp_path, memory=0)
    found.run_to(None)
    assert len(list(tmp_path.glob("values_*"))) == 1  # those of the output


def test_a_length_that_depends_on_values_may_differ_between_examples(tmp_path):
    tensors = [
        tensor("x", (8,), "bool"),
        tensor("places", (0, 1), "int64"),
        tensor("y", (0, 1)),
    ]
    tensors[1].shapeSignature = tensors[2].shapeSignature = [-1, 1]
    cast = node("CAST", [1], [2])
    cast.builtinOptionsType = schema.BuiltinOptions.CastOptions
    cast.builtinOptions = schema.CastOptionsT(schema.TensorType.INT64, schema.TensorType.FLOAT32)
    model = read(build(graph(tensors, [node("WHERE", [0], [1]), cast], outputs=(2,))))
    examples = [np.arange(8) < 3, np.arange(8) > 6]
    found = Pieces(model, examples, tmp_path)
    found.run_to(model.graphs[0].operators[1])
    found.run_to(None)
    assert [one.ravel().tolist() for one in found.rows(model.graphs[0].outputs[0], np.asarray)] == [[0, 1, 2], [7]]


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "no calibration examples; give"),
        ([np.zeros((4, 4, 3), np.float32)], r"takes float32 \(1, 8, 8, 3\) as t0; .* have shape \(4, 4, 3\)"),
        ([np.full((8, 8, 3), np.nan, np.float32)], "t0 that are not finite"),
        ([{"picture": np.zeros((8, 8, 3), np.float32)}], "takes t0; the calibration examples have picture"),
    ],
)
def test_examples_that_do_not_fit_are_refused(examples, message, tmp_path):
    with pytest.raises(UserError, match=message):
        Pieces(read(small_cnn()), examples, tmp_path)


def test_an_input_without_a_fixed_size_is_refused(tmp_path):
    model = Model(1, 8, 32)
    model.tensors[0].shapeSignature = [1, -1, 32]
    content = model.file(dense(model, 0, (1, 8, 32)))
    with pytest.raises(UserError, match="t0 has no fixed size; convert"):
        Pieces(read(content), [np.zeros((8, 32), np.float32)], tmp_path)


def test_an_operator_that_litert_does_not_know_is_refused_in_one_line(tmp_path):
    model = Model(1, 32)
    out = dense(model, model.add("Strange", (0,), (1, 32)), (1, 32))
    content = read(model.file(out))
    found = Pieces(content, pictures(1, 32), tmp_path)
    with pytest.raises(UserError, match=r"LiteRT cannot run the file on the calibration examples: .*Strange") as caught:
        found.run_to(None)
    assert "\n" not in str(caught.value)
