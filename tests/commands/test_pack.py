import numpy as np
import pytest

import tfcompress_runtime
from tests.build import build, constant, graph, node, tensor
from tests.command_line import run
from tfcompress.commands.pack import pack_file, unpack_file
from tfcompress.errors import UserError
from tfcompress.packed import file_weights


@pytest.fixture
def stock(tmp_path):
    """A classifier of images: two dense layers of 16 distinct weights, and one of many."""
    rng = np.random.default_rng(0)
    tensors = [tensor("image", (1, 64))]
    nodes = []
    for inputs, outputs in ((64, 48), (48, 48), (48, 10)):
        centroids = rng.normal(0, 0.3, 16 if outputs == 48 else 9999).astype(np.float32)
        weights = constant(f"w{len(nodes)}", rng.choice(centroids, (outputs, inputs)))
        tensors += [weights, tensor(f"y{len(nodes)}", (1, outputs))]
        nodes.append(node("FULLY_CONNECTED", (len(tensors) - 3, len(tensors) - 2, -1), (len(tensors) - 1,)))
    path = tmp_path / "stock.tflite"
    made = graph(tensors, nodes, outputs=(len(tensors) - 1,))
    path.write_bytes(build(made, signatures=[("main", 0, {"image": 0}, {"scores": len(tensors) - 1})]))
    return path


@pytest.mark.usefixtures("library")
def test_a_file_is_packed_and_unpacked_and_both_are_run(stock, tmp_path):
    packed, back = tmp_path / "packed.tflite", tmp_path / "back.tflite"
    done = pack_file(stock, packed)
    assert (done.bytes_before, done.bytes_after) == (stock.stat().st_size, packed.stat().st_size)
    assert done.constants_before == 4 * 48 * (64 + 48 + 10)
    assert done.constants_after == 48 * (64 + 48) // 2 + 2 * 64 + 4 * 480
    assert [one.name for one in done.not_packed] == ["w2"]
    assert done.difference.largest_difference < 1e-5 * done.difference.largest_output
    assert done.difference.same_top1 == 1
    text = str(done)
    assert f"{packed}: packed 2 dense layers, 0 attentions, 0 norms, 0 embedding tables" in text
    assert "not packed: w2: it has more than 256 distinct values" in text
    assert "run on a random input" in text
    int8 = pack_file(stock, packed, "int8")
    assert 1e-5 < int8.difference.largest_difference / int8.difference.largest_output < 0.1
    undone = unpack_file(packed, back)
    assert undone.bytes_before == int8.bytes_after
    before, after = (file_weights.weights(path.read_bytes()) for path in (stock, back))
    assert [one.values.tobytes() for one in after] == [one.values.tobytes() for one in before]


def test_without_the_runtime_a_file_is_written_and_not_run(stock, tmp_path, monkeypatch):
    monkeypatch.setattr(tfcompress_runtime, "__path__", [])
    done = pack_file(stock, tmp_path / "packed.tflite")
    assert done.difference is None
    assert "not run: the packed runtime" in str(done)
    assert (tmp_path / "packed.tflite").stat().st_size == done.bytes_after


def test_the_verbs_print_what_was_done_or_one_line(stock, tmp_path, monkeypatch, capsys):
    packed, back = str(tmp_path / "packed.tflite"), str(tmp_path / "back.tflite")
    status, out, _ = run(monkeypatch, capsys, "pack", str(stock), "-o", packed, "--activations", "int8")
    assert (status, out.splitlines()[0][: len(packed) + 8]) == (0, f"{packed}: packed")
    status, out, _ = run(monkeypatch, capsys, "unpack", packed, "-o", back)
    assert (status, out.splitlines()[0]) == (0, f"{back}: unpacked")
    for verb, file, message in (("pack", packed, "already packed"), ("unpack", str(stock), "not packed")):
        status, out, err = run(monkeypatch, capsys, verb, file, "-o", back)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert f"error: the file is {message}" in err


def test_what_cannot_be_packed_is_refused_in_one_line(stock, tmp_path):
    for file, options, message in (
        (stock, {"activations": "int4"}, "^activations 'int4' are not known"),
        (tmp_path, {}, "is not a file"),
        (stock, {"data": "cifar"}, "the data sets are digits"),
    ):
        with pytest.raises(UserError, match=message) as refused:
            pack_file(file, tmp_path / "packed.tflite", **options)
        assert "\n" not in str(refused.value)


def test_a_file_that_would_grow_is_not_written_unless_asked(tmp_path, monkeypatch, capsys):
    """24 × 24 weights of 8 values shrink; the scales between them are padded to 64 bytes each."""
    values = np.random.default_rng(0).choice(np.arange(8, dtype=np.float32), (24, 24))
    scales = [constant(f"s{i}", np.ones(1, np.float32)) for i in range(99)]
    sums = [tensor(f"y{i}", (1, 24)) for i in range(100)]
    nodes = [node("FULLY_CONNECTED", (0, 1, -1), (101,))]
    nodes += [node("MUL", (101 + i, 2 + i), (102 + i,)) for i in range(99)]
    made = graph([tensor("x", (1, 24)), constant("w", values), *scales, *sums], nodes, outputs=(200,))
    small, packed = tmp_path / "small.tflite", tmp_path / "packed.tflite"
    small.write_bytes(build(made))
    status, _, err = run(monkeypatch, capsys, "pack", str(small), "-o", str(packed))
    assert (status, err.count("\n"), packed.exists()) == (2, 1, False)
    assert "error: packing would make the file larger" in err
    status, _, _ = run(monkeypatch, capsys, "pack", str(small), "-o", str(packed), "--allow-larger")
    assert (status, packed.stat().st_size > small.stat().st_size) == (0, True)


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(tmp_path, below_a_file):
    (tmp_path / "damaged.tflite").write_bytes(b"damaged")
    for function in (pack_file, unpack_file):
        with pytest.raises(UserError, match="cannot write"):
            function(tmp_path / "damaged.tflite", below_a_file)
