"""What version 2 of the packed format adds: float32 centroids with a scale per output, and tables with one per row."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.native import has_runtime
from tests.packed import reference
from tests.packed.damage import refused
from tests.packed.graphs import DENSE, K, Model, N, some, stock
from tests.packed.reference import kinds, options
from tests.packed.scaled import ROWS, VERSION_2, WIDTH, layers, packed_files, scaled, table, with_codebooks
from tfcompress import runtime
from tfcompress.errors import UserError
from tfcompress.inspect.contents import inspect
from tfcompress.packed import file_weights
from tfcompress.packed.codebook import Codebook
from tfcompress.packed.options import Computing, Flags
from tfcompress.packed.packer import pack, pack_counted
from tfcompress.packed.stock_codebooks import CODEBOOKS_ENTRY
from tfcompress.packed.unpacker import unpack
from tfcompress.tflite import reading, writing

TABLE = "ClusteredEmbedding"
IDS = np.array([[0, 49, 3], [3, 7, 1]], np.int32)


def delegates() -> list:
    return [runtime.load_delegate()] if has_runtime() else []


def test_files_are_packed_with_the_recorded_bytes():
    assert packed_files() == {file.stem: file.read_bytes() for file in VERSION_2.glob("*.tflite")}


def test_version_2_without_flags_means_version_1():
    """In operators of each kind."""
    model = reading.read((VERSION_2.with_name("version_1") / "vit_float32.tflite").read_bytes())
    content = writing.write(model, 64)
    for operator in model.operators():
        if operator.code.custom:
            operator.custom_options = b"\2" + operator.custom_options[1:] + bytes(4)
    later = writing.write(model, 64)
    assert later != content
    assert unpack(later) == unpack(content)
    if has_runtime():
        x = some(1, 8, 8, 3)
        found, expected = (stock(one, x, delegates=delegates()) for one in (later, content))
        assert found.tobytes() == expected.tobytes()


def check(content: bytes, packed: bytes, x: np.ndarray, tolerance: float) -> None:
    """Checks the outputs of a packed file, and that unpacking and packing it gives the same files."""
    expected = stock(content, x)
    atol = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(reference.run(packed, x), expected, atol=atol)
    if has_runtime():
        np.testing.assert_allclose(stock(packed, x, delegates=delegates()), expected, atol=atol)
    unpacked = unpack(packed)
    assert stock(unpacked, x).tobytes() == expected.tobytes()
    before, after = (file_weights.weights(one)[0].values for one in (content, unpacked))
    assert after.tobytes() == before.tobytes()


@pytest.mark.parametrize("outputs", [N, 1])
def test_a_dense_layer_has_a_scale_per_output(outputs):
    content, _ = layers(outputs)
    packed = pack_counted(content, allow_larger=True).content
    assert kinds(packed) == [DENSE]
    assert options(packed, 0).flags == Flags.SCALES
    check(content, packed, some(2, 3, K), 1e-5)
    assert pack(unpack(packed), allow_larger=True) == packed
    assert reading.read(packed).entry("tfcompress.packed").data.tobytes() == b"2"
    assert reading.read(packed).entry(CODEBOOKS_ENTRY) is None


def test_int8_computing_rounds_the_centroids_and_keeps_the_scales():
    content, books = layers()
    (book,) = books.values()
    packed = pack_counted(content, "int8", allow_larger=True).content
    own = options(packed, 0)
    assert (own.computing, own.flags) == (Computing.INT8, Flags.SCALES)
    _, _, codebook, scale, sums, _, original = reading.read(packed).graphs[0].operators[0].inputs
    np.testing.assert_array_equal(codebook.values(), np.round(book.centroids))
    np.testing.assert_array_equal(original.values(), book.centroids)
    np.testing.assert_array_equal(scale.values(), book.scales)
    np.testing.assert_array_equal(sums.values(), np.round(book.centroids)[book.indices].sum(1))
    check(content, packed, some(2, 3, K), 0.05)
    assert pack(unpack(packed), "int8", allow_larger=True) == packed


@pytest.mark.parametrize("largest", [1e-3, 100, 126, 1e4])
def test_int8_computing_loses_no_bit_of_centroids_of_any_size(largest):
    """The scales absorb a power of two, so that the largest centroid is 64 to 127 steps."""
    book = scaled(N, K)
    book = Codebook(book.centroids * np.float32(largest / 127), book.indices, book.scales)
    model = Model(2, K)
    weights = model.constant(book.values())
    content = model.file(model.dense(0, (2, N), weights))
    packed = pack_counted(with_codebooks(content, {f"c{weights}": book}), "int8", allow_larger=True).content
    codebook = reading.read(packed).graphs[0].operators[0].inputs[2].values()
    assert 64 <= codebook.max() <= 127
    check(content, packed, some(2, K), 0.05)
    assert pack(unpack(packed), "int8", allow_larger=True) == packed


def test_a_table_has_a_scale_per_row():
    book = scaled(ROWS, WIDTH)
    content = table(book)
    packed = pack_counted(content, allow_larger=True).content
    assert kinds(packed) == [TABLE]
    check(content, packed, IDS, 0)
    if has_runtime():
        assert stock(packed, IDS, delegates=delegates()).tobytes() == stock(content, IDS).tobytes()
    assert pack(unpack(packed), allow_larger=True) == packed


@pytest.mark.parametrize("scales", [1, ROWS])
def test_an_int8_table_keeps_its_scales(scales):
    model = Model(6, type="int32")
    values = np.round(model.clustered(ROWS, WIDTH, 30) * 100).astype(np.int8)
    steps = np.linspace(0.01, 0.02, scales).astype(np.float32)
    weights = model.constant(values, np.int8, scales=steps, zero_points=np.zeros(scales, np.int64))
    content = model.file(model.add("EMBEDDING_LOOKUP", [0, weights], (6, WIDTH), 3 if scales == 1 else 4))
    packed = pack(content, allow_larger=True)
    assert kinds(packed) == [TABLE]
    assert options(packed, 0).flags == (Flags.NONE if scales == 1 else Flags.SCALES)
    check(content, packed, IDS.ravel(), 0)
    np.testing.assert_array_equal(file_weights.weights(unpack(packed))[0].scales, steps)
    assert pack(unpack(packed), allow_larger=True) == packed


def test_a_looked_up_float_table_is_packed_like_a_gathered_one():
    model = Model(6, type="int32")
    weights = model.constant(model.clustered(ROWS, WIDTH))
    content = model.file(model.add("EMBEDDING_LOOKUP", [0, weights], (6, WIDTH)))
    packed = pack(content, allow_larger=True)
    assert kinds(packed) == [TABLE]
    check(content, packed, IDS.ravel(), 0)


def test_a_convolution_has_a_scale_per_output():
    model, book = Model(1, 8, 8, 3), scaled(N, 48)
    weights = model.constant(book.values().reshape(N, 4, 4, 3))
    own = schema.Conv2DOptionsT(1, 4, 4, 0, 1, 1)
    content = model.file(model.add("CONV_2D", (0, weights, model.constant(some(N))), (1, 2, 2, N), own=own))
    shaped = Codebook(book.centroids, book.indices.reshape(N, 4, 4, 3), book.scales)
    packed = pack_counted(with_codebooks(content, {f"c{weights}": shaped}), allow_larger=True).content
    assert options(packed, 3).flags == Flags.SCALES
    expected = stock(content, some(1, 8, 8, 3))
    atol = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(reference.run(packed, some(1, 8, 8, 3)), expected, atol=atol)
    np.testing.assert_allclose(stock(unpack(packed), some(1, 8, 8, 3)), expected, atol=atol)
    assert pack(unpack(packed), allow_larger=True) == packed


def test_layers_with_scales_merge_with_each_other_alone():
    model, books, made = Model(2, K), {}, []
    for seed in range(2):
        books[f"c{(weights := model.constant(scaled(N, K, seed).values()))}"] = scaled(N, K, seed)
        made.append(model.dense(0, (2, N), weights))
    made.append(model.dense(0, (2, N), model.clustered(N, K, 60)))
    y = model.add("MUL", made[:2], (2, N), own=schema.MulOptionsT())
    content = model.file(model.add("MUL", [y, made[2]], (2, N), own=schema.MulOptionsT()))
    packed = pack_counted(with_codebooks(content, books), allow_larger=True).content
    assert kinds(packed) == [DENSE, DENSE, "MUL", "MUL"]
    assert [(options(packed, place).segments, options(packed, place).flags) for place in (0, 1)] == [(2, 1), (1, 0)]
    check(content, packed, some(2, K), 1e-5)


def test_a_codebook_of_other_weights_is_not_used():
    content, books = layers(count=2)
    first = next(iter(books))
    packed = pack_counted(with_codebooks(content, books | {first: scaled(N, K, seed=5)}), allow_larger=True)
    assert kinds(packed.content) == ["FULLY_CONNECTED", DENSE]
    ((name, reason),) = [(one.name, one.reason) for one in packed.skipped]
    assert name == first
    assert reason == "it has more than 256 distinct values, and its codebook with scales does not give them"


def test_inspect_shows_centroids_and_scales(tmp_path):
    content, _ = layers()
    path = tmp_path / "packed.tflite"
    path.write_bytes(pack_counted(content, allow_larger=True).content)
    (row,) = inspect(path).weights
    assert (row.type, row.shape, row.unique) == ("6-bit float32 with scales", (N, K), 64)


def test_a_lookup_reads_the_scales_of_its_rows(tmp_path):
    book = scaled(ROWS, WIDTH)
    path = tmp_path / "packed.tflite"
    path.write_bytes(pack_counted(table(book), allow_larger=True).content)
    row = 3 * 6 + 4  # 20 indices of 6 bits, and a scale
    assert inspect(path).weight_bytes_read == 6 * row + 64 * 4


def with_entry(content: bytes, change) -> bytes:
    model = reading.read(content)
    entry = model.entry(CODEBOOKS_ENTRY)
    entry.buffer.data = np.frombuffer(change(entry.data.tobytes()), np.uint8)
    return writing.write(model, 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-2], "it ends 2 bytes too early"),
        (lambda data: b"\3" + data[1:], "its version is 3 instead of 2"),
        (lambda data: data[:4] + b"\xff\xff\xff\x7f" + data[8:], "bytes too early"),
        (lambda data: data[:-4] + np.float32(-1).tobytes(), "are not at most 256 ascending centroids and scales"),
    ],
)
def test_a_damaged_entry_is_refused(change, message):
    content, _ = layers()
    unpacked = unpack(pack_counted(content, allow_larger=True).content)
    with pytest.raises(UserError, match=f"{CODEBOOKS_ENTRY} is damaged .*{message}.*; cluster the model again"):
        pack(with_entry(unpacked, change))


def changed(content: bytes, place: int, word: int, value: int) -> bytes:
    """A packed file with another word in the options of an operator."""
    model = reading.read(content)
    operator = model.graphs[0].operators[place]
    words = np.frombuffer(operator.custom_options, "<u4").copy()
    words[word] = value
    operator.custom_options = words.tobytes()
    return writing.write(model, 64)


@pytest.mark.parametrize(
    ("word", "value", "message"),
    [
        (8, 2, "has flags 0x2 that this tfcompress does not know"),
        (8, 0x80000001, "has flags 0x80000001"),
        (0, 3, "reads versions 1 to 2"),
        (0, 1, "36 bytes of options instead of 32"),
        (8, 0, "float32 centroids have a scale without its flag"),
    ],
)
def test_unknown_flags_and_versions_are_refused(word, value, message):
    content, _ = layers()
    packed = pack_counted(content, allow_larger=True).content
    broken = changed(packed, 0, word, value)
    with pytest.raises(UserError, match=message):
        unpack(broken)
    if has_runtime():
        with pytest.raises((RuntimeError, ValueError)):
            stock(broken, some(2, 3, K), delegates=delegates())


def test_missing_scales_are_refused():
    content, _ = layers()
    model = reading.read(pack_counted(content, allow_larger=True).content)
    operator = model.graphs[0].operators[0]
    operator.replace_input(3, operator.inputs[2])
    with pytest.raises(UserError, match=rf"need float32 \({N},\) and have float32 \(64,\)"):
        unpack(writing.write(model, 64))


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf])
def test_scales_that_are_not_positive_numbers_are_refused(value):
    content, _ = layers()
    model = reading.read(pack_counted(content, allow_larger=True).content)
    scale = model.graphs[0].operators[0].inputs[3]
    scale.buffer.data = np.full(N, value, np.float32).view(np.uint8)
    with pytest.raises(UserError, match="scales of float32 weights are not positive numbers"):
        unpack(writing.write(model, 64))


def test_damaged_files_end_in_a_user_error_or_a_file(tmp_path):
    content, _ = layers()
    for stock_file, activations in ((content, "int8"), (table(scaled(ROWS, WIDTH)), None)):
        packed = pack_counted(stock_file, activations, allow_larger=True).content
        assert 15 < refused(packed, 60, tmp_path / "damaged.tflite") < 60
