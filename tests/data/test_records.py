import io
import os
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfcompress.data import text
from tfcompress.data.dataset import SPLITS
from tfcompress.data.registry import Data, load
from tfcompress.errors import UserError


def feature(value):
    if isinstance(value, (bytes, str)):
        return tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[value.encode() if isinstance(value, str) else value])
        )
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))


def write(path, rows, compression=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for row in rows:
            features = tf.train.Features(feature={name: feature(value) for name, value in row.items()})
            writer.write(tf.train.Example(features=features).SerializeToString())
    return path


def picture(shade):
    content = io.BytesIO()
    Image.new("RGB", (20, 16), (shade, shade, shade)).save(content, "PNG")
    return content.getvalue()


def pictures(count):
    return [{"image/encoded": picture(250 * (n % 2)), "image/class/label": 1 + n % 2} for n in range(count)]


COLUMNS = {"image": "image/encoded", "label": "image/class/label"}


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_pictures_come_from_the_shards_of_each_split(tmp_path, compression):
    for name, count in (
        ("train-00000-of-00002", 6),
        ("train-00001-of-00002", 4),
        ("val/a.tfrecord", 3),
    ):
        write(tmp_path / name, pictures(count), compression)
    elsewhere = write(tmp_path / "elsewhere.tfrecord", pictures(4), compression)
    (tmp_path / "test").mkdir()
    elsewhere.rename(tmp_path / "test" / os.fsdecode(b"caf\xe9.tfrecord"))
    data = load(Data(name="tfrecords", path=tmp_path, columns=COLUMNS, classes={"2": "white"}), 8)
    assert data.classes == ("1", "white")
    assert data.describe()["examples"] == {"train": 10, "validation": 3, "test": 4}
    images, labels = next(data.batches("test", 4).as_numpy_iterator())
    assert images.shape == (4, 8, 8, 3)
    assert ((images.mean(axis=(1, 2, 3)) > 0.5) == labels).all()
    (features, _) = data.train.element_spec
    if compression:
        assert data.shuffle_buffer < 10_000  # encoded pictures in memory
    else:
        assert features.dtype == tf.int64  # places


def test_each_picture_is_read_with_its_own_label_in_any_order(tmp_path):
    for number in range(3):
        rows = [{"image": picture(10 * (5 * number + n)), "label": n % 2} for n in range(5)]
        write(tmp_path / f"train-{number:05}-of-00003", rows)
    write(tmp_path / "test.tfrecord", [{"image": picture(0), "label": 0}])
    data = load(Data(name="tfrecords", path=tmp_path), 8)
    images, labels = next(replace(data, augment=None).stream(data.size("train"), 0, 0, 1).as_numpy_iterator())
    shades = np.rint(images.mean(axis=(1, 2, 3)) * 25.5).astype(int)
    assert len(set(shades)) == len(shades)
    assert list(shades) != sorted(shades)
    assert (labels == shades % 5 % 2).all()


def test_texts_and_pairs_are_read(tmp_path):
    rows = [
        {"first": f"a {n}", "second": f"b {n}", "kind": "no" if n % 2 else "yes", "score": n / 4} for n in range(100)
    ]
    path = write(tmp_path / "all.tfrecord", rows)
    columns = {"text": "first", "text_pair": "second", "label": "kind"}
    data = load(Data(name="tfrecords", path=path, columns=columns))
    assert (data.name, data.classes) == ("all", ("no", "yes"))
    sizes = [data.size(split) for split in SPLITS]
    assert sum(sizes) == 100
    np.testing.assert_allclose(sizes, [70, 15, 15], atol=2)
    seen = [one for split in SPLITS for one in text.texts(data, split)]
    assert sorted(seen) == sorted(value for row in rows for value in (row["first"], row["second"]))
    for features, label in data.test.as_numpy_iterator():
        assert label == 1 - int(features[0].split()[1]) % 2
    scored = {"text": "first", "text_pair": "second", "label": "score"}
    pairs = load(Data(name="tfrecords_test", path=path, task="embedding", columns=scored))
    assert text.texts(pairs, "test")[2:4] == ["a 1", "b 1"]
    labels = [label for _, label in pairs.test.as_numpy_iterator()]
    assert labels[:4] == [0, 0, 0.25, 0.25]


def test_several_labels_are_features_of_their_own(tmp_path):
    path = write(tmp_path / "a.tfrecord", [{"text": str(n), "rude": n % 2, "long": 1} for n in range(40)])
    columns = {"text": "text", "labels": ["rude", "long"]}
    data = load(Data(name="tfrecords", path=path, task="multilabel", columns=columns))
    assert data.classes == ("rude", "long")
    assert all(label.tolist() == [int(one) % 2, 1] for one, label in data.train.as_numpy_iterator())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"columns": {"image": "picture"}},
            r"has no feature 'picture'; its first record has fraction, image, label, name",
        ),
        ({"columns": {"label": "fraction"}}, r"the labels of .* are fractions; set data\.task to regression"),
        ({"task": "regression", "columns": {"label": "name"}}, "are texts; the task regression takes numbers"),
        ({"task": "tokens"}, "TFRecords hold no tags of words; take text_file"),
        ({"task": "multilabel"}, r"data\.columns\.labels \[\]; multilabel takes in labels one"),
        ({"task": "embedding"}, r"name the column of the second text: data\.columns\.text_pair"),
        ({"columns": {"image": "name"}}, "the first picture of train cannot be decoded"),
    ],
)
def test_records_that_do_not_fit_are_refused(tmp_path, settings, message):
    rows = [{"image": picture(n), "label": n % 2, "fraction": 0.5, "name": "x"} for n in range(10)]
    path = write(tmp_path / "a.tfrecord", rows)
    with pytest.raises(UserError, match=message):
        load(Data(name="tfrecords", path=path, **settings), 8)


def test_files_that_are_no_records_are_refused(tmp_path):
    (tmp_path / "a.tfrecord").write_bytes(b"not a record, but long enough to be read as the head of one")
    with pytest.raises(UserError, match=r"a\.tfrecord is no TFRecord file of tf\.train\.Example \("):
        load(Data(name="tfrecords", path=tmp_path), 8)
    cut = write(tmp_path / "b" / "a.tfrecord", pictures(8))
    cut.write_bytes(cut.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"a record of .* cannot be read"):
        load(Data(name="tfrecords", path=cut, columns=COLUMNS), 8)
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError, match="c has no TFRecord files; their names have"):
        load(Data(name="tfrecords", path=tmp_path / "c"), 8)
    write(tmp_path / "d" / "train.tfrecord", pictures(4))
    write(tmp_path / "d" / "more.tfrecord", pictures(4))
    with pytest.raises(UserError, match=r"more\.tfrecord tells no split in its name, but other files do; call it"):
        load(Data(name="tfrecords", path=tmp_path / "d"), 8)
