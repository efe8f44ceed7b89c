import dataclasses
import io
import mmap
import zipfile

import numpy as np
import pytest
import tf_keras

from tests.tflite.constants import with_constants_after
from tests.tiny import tiny_bert_of, tiny_vit_of
from tfcompress.data.tokenizer import Tokenizer
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.measure.interpreter import predict
from tfcompress.models.outputs import Outputs
from tfcompress.packed import file_weights
from tfcompress.runs.exporting import export_stage
from tfcompress.runs.recipe import Export
from tfcompress.runs.stages import Stage
from tfcompress.tflite import metadata_tables, reading
from tfcompress.tflite.metadata import Description, ImageInput, TextInput, describe, read_description
from tfcompress.tflite.reading import read
from tfcompress.tflite.runtimes import minimum_runtime
from tfcompress.tflite.writing import write

DIGITS = Description("vit", "Reads digits.", tuple("0123456789"), ImageInput())
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "caf\u00e9", "##s", "\u2028")


@pytest.fixture(scope="module")
def content(trained_weights) -> bytes:
    model = tiny_vit_of(trained_weights)
    return convert(model, "dynamic")


@pytest.fixture(scope="module")
def text_content(tiny_text) -> bytes:
    return convert(tiny_bert_of(tiny_text), "dynamic")


@pytest.fixture(scope="module")
def two_inputs() -> bytes:
    left, right = tf_keras.Input((4,), name="left"), tf_keras.Input((4,), name="right")
    return convert(tf_keras.Model([left, right], tf_keras.layers.Dense(3)(left - right)), "float32")


def archived(content: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(content))


def packed(content: bytes) -> dict:
    """The metadata's tables."""
    (found,) = (one.data for one in reading.read(content).metadata if one.name == "TFLITE_METADATA")
    return metadata_tables.unpack(found.tobytes())


@pytest.mark.parametrize(
    "description",
    [
        DIGITS,
        Description("only a name"),
        Description("caf\u00e9", "\u2713", tuple("abcdefghij"), ImageInput((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))),
        Description("bytes", input=ImageInput((), ())),
        Description("bert", labels=("x", "", *"abcdefg", ""), input=TextInput(PIECES, lowercase=False)),
        Description("bert", input=TextInput(PIECES, lowercase=True, strip_accents=True)),
        Description("bert", input=TextInput(PIECES, True, pairs=True), task="multilabel"),
    ],
)
def test_a_description_is_read_as_it_was_written(content, description):
    described = describe(content, description)
    assert read_description(described) == description
    assert described == describe(content, description), "the same arguments gave other bytes"


def test_a_file_without_metadata_has_no_description(content):
    assert read_description(content) is None


def test_a_described_file_gives_the_same_outputs(content, images, tmp_path):
    described = describe(content, DIGITS)
    for name, file in (("plain", content), ("described", described)):
        (tmp_path / name).write_bytes(file)
    np.testing.assert_array_equal(predict(tmp_path / "described", images), predict(tmp_path / "plain", images))
    assert minimum_runtime(described) == minimum_runtime(content)
    assert [w.name for w in file_weights.weights(described)] == [w.name for w in file_weights.weights(content)]
    assert len(described) < len(content) + 3000


def test_a_second_description_takes_the_place_of_the_first(content):
    once = describe(content, DIGITS)
    other = Description("other", labels=tuple("klmnopqrst"))
    twice = describe(once, other)
    assert read_description(twice) == other
    assert len(read(twice).buffers) == len(read(once).buffers)
    assert describe(twice, DIGITS) == once


def test_the_archive_is_stored_as_it_is_and_the_same_each_time(text_content, tiny_text):
    pieces = tiny_text.decode.vocabulary
    described = describe(text_content, Description("bert", "", ("a", "b", "c\nd"), TextInput(pieces, True)))
    with archived(described) as archive:
        members = archive.infolist()
        assert {m.filename: m.compress_type for m in members} == dict.fromkeys(
            ("labels.txt", "vocab.txt", "tokenizer.json"), zipfile.ZIP_STORED
        )
        assert {m.date_time for m in members} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.read("labels.txt") == b"a\nb\nc d\n"
        assert "\n".join(pieces).encode() in described


def test_the_tokenizer_in_the_archive_is_the_one_of_the_run(text_content, tiny_text, tmp_path):
    tokenizer = tiny_text.decode
    described = describe(text_content, Description("bert", input=TextInput(tokenizer.vocabulary, tokenizer.lowercase)))
    with archived(described) as archive:
        archive.extractall(tmp_path)
    assert Tokenizer.load(tmp_path) == tokenizer


def test_the_tables_name_inputs_and_outputs_in_the_files_order(content, text_content):
    (image,) = packed(describe(content, DIGITS))["subgraph_metadata"]
    (tensor,) = image["input_tensor_metadata"]
    properties = {"color_space": 1, "default_size": {"width": 8, "height": 8}}
    assert tensor["name"] == "image"
    assert tensor["content"] == {"content_properties": {"ImageProperties": properties}}
    assert image["output_tensor_metadata"][0]["name"] == "probabilities"
    tables = packed(describe(text_content, Description("bert", input=TextInput(PIECES, True))))
    assert tables["min_parser_version"] == "1.1.0"
    (text,) = tables["subgraph_metadata"]
    names = [tensor["name"] for tensor in text["input_tensor_metadata"]]
    graph = reading.read(text_content).graphs[0]
    called = {"ids": "token_ids", "segment_ids": "segment_ids", "mask": "padding_mask"}
    assert [f"serving_default_{called[name]}:0" for name in names] == [tensor.name for tensor in graph.inputs]


def test_inputs_that_are_not_a_berts_keep_their_names(two_inputs):
    described = describe(two_inputs, Description("two", labels=("a", "b", "c"), input=ImageInput()))
    (graph,) = packed(described)["subgraph_metadata"]
    assert sorted(tensor["name"] for tensor in graph["input_tensor_metadata"]) == ["left", "right"]
    assert read_description(described) == Description("two", labels=("a", "b", "c"))


def test_there_must_be_one_label_per_score(content):
    with pytest.raises(UserError, match=r"there are 2 labels, but the file's outputs have \[10\] values"):
        describe(content, Description("vit", labels=("a", "b")))


def test_metadata_after_the_flatbuffer_are_read(content):
    description = Description("vit", "A text as long as it takes. " * 9)
    assert read_description(with_constants_after(describe(content, description))) == description


def test_a_mapped_file_is_read(content, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(describe(content, DIGITS))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert read_description(mapped) == DIGITS


def test_files_that_a_quantizer_dropped_are_missing(content, text_content):
    description = Description("bert", labels=("a", "b", "c"), input=TextInput(PIECES, True))
    without_labels = read_description(write(read(describe(content, DIGITS))))
    assert without_labels == dataclasses.replace(DIGITS, labels=())
    with pytest.raises(UserError, match=r"tokenizer\.json, which it names, is missing"):
        read_description(write(read(describe(text_content, description))))


def test_damage_is_reported(content):
    model = read(describe(content, DIGITS))
    buffer = model.metadata[-1].buffer
    whole = bytes(buffer.data)
    file, mark, archive = describe(content, DIGITS).partition(b"PK")
    with pytest.raises(UserError, match=r"labels\.txt, which it names, is missing or damaged"):
        read_description(file + mark + archive.replace(b"labels.txt", b"labels.tXt"))
    for data, message in (
        (b"", "marked b'', not b'M001'"),
        (whole[:4] + b"M002" + whole[8:], "marked b'M002'"),
        (whole[: len(whole) // 2], "cannot be read"),
        (b"\xff\xff\xff\x7f" + whole[4:], "cannot be read"),
    ):
        buffer.data = np.frombuffer(data, np.uint8)
        with pytest.raises(UserError, match=message):
            read_description(write(model))


def test_tables_that_refer_to_each_other_without_end_are_refused():
    thousands = {"vocab_file": [{"name": "x"}] * 10_001}
    tables = {"subgraph_metadata": [{"input_process_units": [{"options": {"BertTokenizerOptions": thousands}}]}]}
    with pytest.raises(ValueError, match="over 10000 tables"):
        metadata_tables.unpack(metadata_tables.pack(tables))


def test_a_huge_file_in_the_archive_is_refused(content):
    described = io.BytesIO(describe(content, Description("vit", labels=tuple("0123456789"))))
    with zipfile.ZipFile(described, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.NameToInfo.clear()
        archive.filelist.clear()
        archive.writestr("labels.txt", bytes(1 << 25))
    with pytest.raises(UserError, match=r"labels\.txt has over 16777216 bytes"):
        read_description(described.getvalue())


def test_damaged_metadata_end_in_a_description_or_a_user_error(two_inputs):
    """1,000 files, each with up to eight bytes changed in the metadata or the archive."""
    described = describe(two_inputs, Description("bert", "text", ("a", "b", "c"), TextInput(PIECES, True)))
    (found,) = (bytes(one.data) for one in reading.read(described).metadata if one.name == "TFLITE_METADATA")
    begin = described.index(found)
    places = [*range(begin, begin + len(found)), *range(archive_begins(described), len(described))]
    rng = np.random.default_rng(0)
    answers, errors = 0, 0
    for _ in range(1000):
        damaged = bytearray(described)
        for place in rng.choice(places, rng.integers(1, 9)):
            damaged[place] = rng.integers(256)
        try:
            read_description(bytes(damaged))
            answers += 1
        except UserError:
            errors += 1
    assert answers > 50
    assert errors > 50


def archive_begins(described: bytes) -> int:
    with archived(described) as archive:
        return min(member.header_offset for member in archive.infolist())


def test_every_file_of_a_stage_is_described(tiny_vit, tiny_data, tiny_text, tmp_path):
    for model, data in ((tiny_vit, tiny_data), (tiny_bert_of(tiny_text), tiny_text)):
        stage = Stage("base", f"00-{model.name}", model, data, {}, [], Outputs.LOGITS, ("probabilities",))
        (file,) = export_stage(stage, Export(formats=("dynamic",)), tmp_path)
        assert file.tensors
        described = read_description(file.path.read_bytes())
        assert described.name == model.name
        assert described.labels == data.classes
        assert described.task == "classification"
        assert described.text.startswith(f"Classifies {data.name} into {len(data.classes)} classes.")
        images = data is tiny_data
        assert described.input == (ImageInput() if images else TextInput(tiny_text.decode.vocabulary, True))


def test_images_outside_0_to_1_are_described_as_pixels_if_the_data_say_their_range(tiny_vit, tiny_data, tmp_path):
    import dataclasses

    decode = tiny_data.decode
    centred = dataclasses.replace(tiny_data, decode=lambda image: decode(image) * 2 - 1)
    for black, expected in ((None, None), (-1.0, ImageInput((127.5,), (127.5,)))):
        data = centred if black is None else dataclasses.replace(centred, pixel_range=(black, 1.0))
        stage = Stage("base", f"00-{black}", tiny_vit, data, {}, [], Outputs.LOGITS, ("probabilities",))
        (file,) = export_stage(stage, Export(formats=("float32",)), tmp_path)
        assert read_description(file.path.read_bytes()).input == expected
