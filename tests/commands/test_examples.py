import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from PIL import Image

from tfcompress.commands.examples import examples_for
from tfcompress.data.images import digits
from tfcompress.data.text import text_file, texts
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.tflite.metadata import Description, ImageInput, TextInput, describe


def network(shape, classes=10):
    image = tf_keras.Input(shape, name="image")
    return tf_keras.Model(image, tf_keras.layers.Dense(classes)(tf_keras.layers.Flatten()(image)))


@pytest.fixture
def written(tmp_path):
    def write(name, content):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def test_images_have_the_size_and_range_that_the_file_takes(written, images):
    same = written("same.tflite", convert(network((8, 8, 3)), "float32"))
    larger = written("larger.tflite", convert(network((12, 16, 1)), "float32"))
    plain = convert(network((8, 8)), "float32")
    signed = written("signed.tflite", describe(plain, Description("plain")))
    normal = Description("normal", input=ImageInput((127.5,), (127.5,)))
    shifted = written("shifted.tflite", describe(convert(network((8, 8, 3)), "float32"), normal))
    feeds, labels = examples_for([same, larger, signed, shifted], "digits", count=5)
    found = {path: np.stack(list(feed)) for path, feed in feeds.items()}
    assert all(len(feed) == len(labels) == 5 for feed in feeds.values())
    # `tiny_data` has the same test split, cut later.
    np.testing.assert_array_equal(found[same], images[:5])
    assert found[larger].shape == (5, 12, 16, 1)
    np.testing.assert_allclose(found[signed], images[:5, ..., 0], atol=1e-3)
    np.testing.assert_allclose(found[shifted], images[:5] * 2 - 1, atol=1e-5)


def test_a_file_that_takes_bytes_gets_them(written, images):
    model = network((8, 8, 3))
    for kind, zero in ((tf.uint8, 0), (tf.int8, -128)):
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = kind
        path = written(f"{kind.name}.tflite", converter.convert())
        feeds, _ = examples_for([path], "digits", count=3)
        found = np.stack(list(feeds[path]))
        assert found.dtype == kind.as_numpy_dtype
        np.testing.assert_array_equal(found, np.round(images[:3] * 255) + zero)


def test_pictures_of_a_folder_are_read_at_each_files_size(written, tmp_path):
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 256, (20, 30, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / label / f"{number}.png")
    small, large = (written(f"{n}.tflite", convert(network((n, n, 3), 2), "float32")) for n in (6, 10))
    feeds, labels = examples_for([small, large], "image_folder", tmp_path / "pictures")
    assert next(iter(feeds[small])).shape == (6, 6, 3)
    assert next(iter(feeds[large])).shape == (10, 10, 3)
    assert len(labels) == len(feeds[small]) == 2


def test_without_a_score_for_each_class_there_are_no_labels(written, capsys):
    path = written("model.tflite", convert(network((8, 8, 3), 7), "float32"))
    _, labels = examples_for([path], "digits", count=3)
    assert labels is None
    assert "but digits has 10 classes: accuracy is not measured" in capsys.readouterr().err


@pytest.fixture
def reviews(tmp_path):
    rows = [f"{'good' if i % 2 else 'bad'} film number {i}\t{i % 2}" for i in range(40)]
    (tmp_path / "reviews.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
    return tmp_path / "reviews.tsv"


def test_texts_are_cut_by_the_tokenizer_that_came_with_each_file(tiny_bert, tiny_text, reviews, written):
    tokenizer = tiny_text.decode
    content = convert(tiny_bert, "float32")
    described = describe(content, Description("bert", input=TextInput(tokenizer.vocabulary, tokenizer.lowercase)))
    alone = written("alone.tflite", described)
    of_run = written("run/tflite/01-prune-float32.tflite", content)
    tokenizer.save(of_run.parents[1] / "stages" / "01-prune")
    last = written("run/model.tflite", content)
    feeds, labels = examples_for([alone, of_run, last], "text_file", reviews, 4)
    expected = tokenizer.encode(texts(text_file(reviews), "test")[:4])
    for feed in feeds.values():
        for i, example in enumerate(feed):
            assert sorted(example) == ["padding_mask", "segment_ids", "token_ids"]
            for name, ids in example.items():
                np.testing.assert_array_equal(ids, expected[name][i])
    assert labels is None  # three scores, two classes


def test_other_names_of_a_berts_inputs_are_known(reviews, tiny_text, written):
    ids, mask, kind = (tf_keras.Input((9,), dtype="int32", name=n) for n in ("ids", "input_mask", "input_type_ids"))
    total = tf_keras.layers.Lambda(lambda x: tf.cast(tf.stack(x, -1), tf.float32)[:, 0])([ids, mask, kind])
    model = tf_keras.Model([ids, mask, kind], tf_keras.layers.Dense(2)(total))
    path = written("model.tflite", convert(model, "float32"))
    tiny_text.decode.save(path.parent)
    feeds, labels = examples_for([path], "text_file", reviews)
    example = next(iter(feeds[path]))
    assert example["input_mask"].tolist()[0] == 1
    assert not example["input_type_ids"].any()
    assert example["ids"][0] == tiny_text.decode.vocabulary.index("[CLS]")
    assert len(labels) == len(feeds[path]) == 6


def test_what_cannot_be_fed_is_told(tiny_bert, written, reviews):
    text_model = written("bert.tflite", convert(tiny_bert, "float32"))
    image_model = written("image.tflite", convert(network((8, 8, 3)), "float32"))
    for name, path, file, message in [
        ("text_file", reviews, text_model, r"bert\.tflite comes without a tokenizer"),
        ("text_file", reviews, image_model, r"image\.tflite takes float32 .* as image; texts can only be fed"),
        ("digits", None, text_model, r"bert\.tflite takes .*; images can only be fed"),
        ("image_folder", None, image_model, "--path"),
        ("cifar", None, image_model, "the data sets are digits"),
    ]:
        with pytest.raises(UserError, match=message):
            examples_for([file], name, path)
    with pytest.raises(UserError, match="1 files and 0 examples"):
        examples_for([image_model], "digits", count=0)


def test_training_examples_are_drawn_at_random(written):
    file = written("file.tflite", convert(network((8, 8, 3)), "float32"))
    drawn, again = (list(examples_for([file], "digits", count=40, split="train")[0][file]) for _ in range(2))
    first = digits().examples("train").take(40).as_numpy_iterator()
    np.testing.assert_array_equal(drawn, again)
    assert np.abs(np.stack(drawn) - np.stack([image for image, _ in first])).max() > 0.5
