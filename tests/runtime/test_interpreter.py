"""Packed files in our interpreter: correct values, resized inputs, several threads, and error messages."""

import os
import threading

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter as LiteRT

import tfcompress_runtime as runtime
from tests.build import build, graph, node, tensor
from tfcompress_runtime import Interpreter, UserError

from .packed import ROWS, TOKENS, Packed, text_encoder

pytestmark = pytest.mark.usefixtures("library")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The path of a file with every packed operator, and a function that computes its expected output."""
    made, output = text_encoder()
    path = tmp_path_factory.mktemp("encoder") / "packed.tflite"
    path.write_bytes(made.file(output))
    return path, lambda ids: made.expected(ids, output)


def run(interpreter, given: np.ndarray) -> np.ndarray:
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, given.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, given)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def stock_file() -> bytes:
    return build(graph([tensor("x", (1, 8)), tensor("y", (1, 8))], [node("TANH", (0,), (1,))], outputs=(1,)))


def some_ids(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, ROWS, shape).astype(np.int32)


def same(found: np.ndarray, expected: np.ndarray, most: float = 1e-5) -> bool:
    return found.shape == expected.shape and np.abs(found - expected).max() < most * np.abs(expected).max()


def test_operators_equal_their_numpy_implementations(encoder):
    path, expected = encoder
    ids = some_ids(1, TOKENS)
    assert same(run(Interpreter(path), ids), expected(ids))


def test_int8_is_close_to_float(tmp_path):
    made, output = text_encoder(int8=True)
    path = tmp_path / "int8.tflite"
    path.write_bytes(made.file(output))
    ids = some_ids(1, TOKENS)
    assert same(run(Interpreter(path), ids), made.expected(ids, output), 0.03)


@pytest.mark.parametrize("bits", range(2, 9))
def test_indices_are_read_as_documented(bits, tmp_path):
    made = Packed(bits)
    x = made.add(tensor("", (3, 21)))
    (y,) = made.dense(x, 37, bits=bits)
    path = tmp_path / "dense.tflite"
    path.write_bytes(made.file(y))
    given = np.random.default_rng(0).normal(size=(3, 21)).astype(np.float32)
    assert same(run(Interpreter(path), given), made.expected(given, y))


def test_inputs_can_be_resized(encoder):
    path, expected = encoder
    interpreter = Interpreter(path)
    for shape in ((1, 3), (4, TOKENS), (2, 40), (1, 1)):
        ids = some_ids(*shape)
        assert same(run(interpreter, ids), expected(ids))


def test_the_number_of_threads_does_not_change_outputs(encoder):
    path, _ = encoder
    ids = some_ids(3, 100)
    one = run(Interpreter(path), ids)
    assert all(np.array_equal(run(Interpreter(path, num_threads=threads), ids), one) for threads in (2, 3))


def test_a_stock_file_runs_as_in_litert(tmp_path):
    path = tmp_path / "stock.tflite"
    path.write_bytes(stock_file())
    given = np.linspace(-2, 2, 8, dtype=np.float32)[None]
    assert np.array_equal(run(Interpreter(path), given), run(LiteRT(str(path)), given))


def test_a_token_id_out_of_range_fails_the_inference(encoder):
    path, expected = encoder
    interpreter = Interpreter(path)
    with pytest.raises(
        RuntimeError, match=r"ClusteredEmbedding \(node 0\): id 30 at position 2 is not in the table of 30 rows"
    ):
        run(interpreter, np.array([[0, 1, ROWS]], np.int32))
    ids = some_ids(1, 3)
    assert same(run(interpreter, ids), expected(ids))


def test_an_invalid_file_is_refused_when_it_is_loaded(tmp_path):
    made = Packed()
    (y,) = made.dense(made.add(tensor("", (1, 16))), 16)
    made.nodes[0].customOptions[12] = 9
    path = tmp_path / "broken.tflite"
    path.write_bytes(made.file(y))
    with pytest.raises(RuntimeError, match=r"FullyConnected \(node 0\): option bits is 9; expected 2 to 8"):
        Interpreter(path).allocate_tensors()


def test_a_wrong_input_width_is_refused(tmp_path):
    made = Packed()
    (y,) = made.dense(made.add(tensor("", (1, 16))), 16)
    path = tmp_path / "dense.tflite"
    path.write_bytes(made.file(y))
    with pytest.raises(RuntimeError, match=r"the input has the shape \(1, 17\); expected \(\.\.\., 16\)"):
        run(Interpreter(path), np.zeros((1, 17), np.float32))


def test_interpreters_can_be_created_and_destroyed_in_several_threads(encoder):
    path, expected = encoder
    ids = some_ids(1, 20)
    right, found = expected(ids), []

    def work() -> None:
        for _ in range(5):
            interpreter = Interpreter(path, num_threads=2)
            found.extend(same(run(interpreter, ids), right) for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 60
    assert all(found)


def test_without_the_library_only_stock_files_run(encoder, monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "__path__", [str(tmp_path)])
    with pytest.raises(UserError, match=r"libtfcompress_runtime\.so.*was not built.*C\+\+ compiler.*pip install"):
        Interpreter(encoder[0])
    stock = tmp_path / "stock.tflite"
    stock.write_bytes(stock_file())
    assert run(Interpreter(stock), np.zeros((1, 8), np.float32)).shape == (1, 8)


def test_invalid_options_are_refused():
    with pytest.raises(UserError, match=r"option num_threads is 0; expected 1 to 64"):
        runtime.load_delegate(num_threads=0)
    with pytest.raises(UserError, match="there is no option colour; the options are num_threads and profile"):
        runtime.load_delegate(colour="red")


def test_an_instruction_set_can_be_forced(encoder, monkeypatch):
    path, expected = encoder
    ids = some_ids(1, TOKENS)
    monkeypatch.setenv("TFCOMPRESS_INSTRUCTIONS", "portable")
    assert same(run(Interpreter(path), ids), expected(ids))
    monkeypatch.setenv("TFCOMPRESS_INSTRUCTIONS", "z80")
    with pytest.raises(UserError, match="z80"):
        Interpreter(path)


def test_the_profile_lists_operators(encoder, capfd):
    interpreter = LiteRT(str(encoder[0]), experimental_delegates=[runtime.load_delegate(profile=1)])
    run(interpreter, some_ids(1, TOKENS))
    del interpreter
    assert "Attention" in capfd.readouterr().err


def test_the_library_is_found_by_its_name(library):
    assert os.path.basename(library) == runtime.LIBRARY


@pytest.fixture
def of_two_lengths(tmp_path) -> Interpreter:
    """The interpreter of a file with graphs for 8 and for 4 tokens, which return the ids that the mask shows."""
    graphs = [
        graph(
            [tensor(name, (1, length), "int32") for name in ("ids", "mask", "y")],
            [node("MUL", (0, 1), (2,))],
            (0, 1),
            (2,),
        )
        for length in (8, 4)
    ]
    ends = {"ids": 0, "mask": 1}, {"y": 2}
    signatures = [("serving_default", 0, *ends), ("length_4", 1, *ends)]
    path = tmp_path / "lengths.tflite"
    path.write_bytes(build(*graphs, signatures=signatures))
    return Interpreter(path)


@pytest.mark.parametrize(("tokens", "length"), [(0, 4), (1, 4), (4, 4), (5, 8), (6, 8)])
def test_a_text_runs_on_the_fewest_tokens_that_hold_it(of_two_lengths, tokens, length):
    assert of_two_lengths.lengths() == {4: "length_4", 8: "serving_default"}
    ids = np.arange(1, 7, dtype=np.int32)[None]
    mask = (np.arange(6) < tokens).astype(np.int32)[None]
    found = of_two_lengths.run_text({"ids": ids, "mask": mask})["y"]
    assert found.tolist() == [[*range(1, tokens + 1), *[0] * (length - tokens)]]


def test_a_text_that_does_not_fit_is_refused(of_two_lengths):
    long = np.ones((1, 9), np.int32)
    with pytest.raises(UserError, match="the text has 9 tokens, but the file takes 8 at most; cut the text"):
        of_two_lengths.run_text({"ids": long, "mask": long})
    with pytest.raises(UserError, match="the inputs are ids; a text needs a mask"):
        of_two_lengths.run_text({"ids": long})
