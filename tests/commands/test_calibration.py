import json

import numpy as np
import pytest
import tf_keras
from PIL import Image

from tfcompress.commands.calibration import calibration_examples
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.tflite.metadata import Description, ImageInput, TextInput, describe

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "one", "two", "three", "[MASK]")


@pytest.fixture(scope="module")
def of_pictures(tmp_path_factory):
    """A file that takes pictures in [-1, 1]."""
    image = tf_keras.Input((16, 16, 3), name="image")
    model = tf_keras.Model(image, tf_keras.layers.Dense(2)(tf_keras.layers.Flatten()(image)))
    path = tmp_path_factory.mktemp("pictures") / "model.tflite"
    path.write_bytes(describe(convert(model, "float32"), Description("m", input=ImageInput((127.5,), (127.5,)))))
    return path


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory):
    """A file that takes texts, in a folder with a tokenizer of another make."""
    ids = tf_keras.Input((4,), dtype="int32", name="token_ids")
    embedded = tf_keras.layers.Flatten()(tf_keras.layers.Embedding(len(WORDS), 2)(ids))
    model = tf_keras.Model(ids, tf_keras.layers.Dense(2)(embedded))
    path = tmp_path_factory.mktemp("texts") / "model.tflite"
    path.write_bytes(describe(convert(model, "float32"), Description("m", input=TextInput(WORDS, True))))
    (path.parent / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordPiece"}}))
    return path


def examples(file, calibration, count=100):
    (found,) = calibration_examples(str(calibration), count, str(file), file).values()
    return found


def test_a_folder_of_pictures_needs_no_labels(of_pictures, tmp_path):
    for place, grey in (("some/0.png", 0), ("some/where/1.png", 100), ("some/where/2.png", 255)):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (17, 40), (grey,) * 3).save(path)
    found = np.stack([row["image"] for row in examples(of_pictures, tmp_path)])
    assert found.shape == (3, 16, 16, 3)
    assert sorted(found[:, 0, 0, 0]) == pytest.approx([-1, 100 / 127.5 - 1, 1])
    assert len(examples(of_pictures, tmp_path, 2)) == 2
    (tmp_path / "some" / "0.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"0\.png cannot be decoded"):
        examples(of_pictures, tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "one\r\nTwo three\n\n one two\none\n"),
        ("a.csv", 'id,text\n1,one\n2,"Two\nthree"\n3,one two\n4,one\n'),
        ("a.TSV", "text\tlabel\none\tx\nTwo three\t\none two\tx\n"),
    ],
)
def test_texts_need_no_labels(of_texts, tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode())
    found = sorted(tuple(row["token_ids"]) for row in examples(of_texts, tmp_path / name))
    assert found == [(2, 4, 3, 0), (2, 4, 5, 3), (2, 5, 6, 3)]
    assert len(examples(of_texts, tmp_path / name, 2)) == 2


def test_what_cannot_be_read_is_told(of_pictures, of_texts, tmp_path):
    (tmp_path / "none").mkdir()
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "pairs.csv").write_text("first,second\na,b\n")
    (tmp_path / "text.txt").write_text("one")
    (tmp_path / "bytes.txt").write_bytes(b"caf\xe9")
    for name, message in {
        "missing": r"missing is no data set \(digits, .*\), no folder of pictures that is there, and no \.txt",
        "missing.txt": r"cannot read .*missing\.txt \(No such file",
        "empty.txt": r"empty\.txt has no texts",
        "pairs.csv": "has no column 'text'; its header has first, second",
        "bytes.txt": "UTF-8",
    }.items():
        with pytest.raises(UserError, match=message):
            examples(of_texts, tmp_path / name)
    with pytest.raises(UserError, match=r"model\.tflite takes float32 .* as image; texts can only be fed"):
        examples(of_pictures, tmp_path / "text.txt")
    with pytest.raises(UserError, match="none and its sub-folders hold no pictures"):
        examples(of_pictures, tmp_path / "none")
    Image.new("RGB", (16, 16)).save(tmp_path / "none" / "a.png")
    with pytest.raises(UserError, match="images can only be fed as"):
        examples(of_texts, tmp_path / "none")
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(tmp_path / "pictures" / name / "a.png")
    with pytest.raises(UserError, match="pictures is for evaluation only"):
        examples(of_pictures, f"image_folder_test:{tmp_path / 'pictures'}")
