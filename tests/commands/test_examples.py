import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from PIL import Image

from tfcompress.commands.examples import examples_for
from tfcompress.commands.scores import score_orders
from tfcompress.data.images import digits
from tfcompress.data.text import texts
from tfcompress.data.text_files import text_file
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.measure.comparison import compare
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
    feeds, labels, *_ = examples_for([same, larger, signed, shifted], "digits", count=5)
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
        feeds, *_ = examples_for([path], "digits", count=3)
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
    feeds, labels, *_ = examples_for([small, large], "image_folder", tmp_path / "pictures")
    assert next(iter(feeds[small])).shape == (6, 6, 3)
    assert next(iter(feeds[large])).shape == (10, 10, 3)
    assert len(labels) == len(feeds[small]) == 2


def test_without_a_score_for_each_class_there_are_no_labels(written):
    path = written("model.tflite", convert(network((8, 8, 3), 7), "float32"))
    fed = examples_for([path], "digits", count=3)
    assert (fed.labels, fed.metrics) == (None, ())
    assert fed.not_judged == f"{path} gives float32 (1, 7), but digits has 10 classes"


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
    feeds, labels, *_ = examples_for([alone, of_run, last], "text_file", reviews, 4)
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
    feeds, labels, *_ = examples_for([path], "text_file", reviews)
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


@pytest.fixture
def cat_and_dog(tmp_path):
    for name, grey in (("cat", 250), ("dog", 5)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 8), (grey, grey, grey)).save(tmp_path / "pictures" / name / f"{number}.png")
    return tmp_path / "pictures"


def of_brightness(written, name, labels):
    """Writes a file whose first score is high for bright pictures and whose second is high for dark ones."""
    model = network((8, 8, 3), 2)
    kernel = np.ones((192, 1), np.float32)
    model.layers[-1].set_weights([np.hstack([kernel, -kernel]), np.float32([-96, 96])])
    content = convert(model, "float32")
    return written(name, describe(content, Description("brightness", labels=labels)) if labels else content)


def test_labels_of_a_file_are_matched_to_the_folders_by_name(written, cat_and_dog):
    bright_is_cat = of_brightness(written, "cat.tflite", ("Cat", "dog"))
    bright_is_dog = of_brightness(written, "dog.tflite", ("Dog", "cat"))
    unnamed = of_brightness(written, "unnamed.tflite", ("LABEL_0", "LABEL_1"))
    without = of_brightness(written, "without.tflite", ())
    files = [bright_is_cat, bright_is_dog, unnamed, without]
    feeds, labels, orders, *_ = examples_for(files, "image_folder", cat_and_dog)
    compared = compare(files, feeds, labels, rounds=2, orders=orders).files
    assert [file.quality[0].value for file in compared] == [1, 0, 1, 1]
    assert [file.agreement.top1_agreement for file in compared[1:]] == [0, 1, 1]


def test_some_of_a_files_classes_are_evaluated(written, cat_and_dog):
    model = network((8, 8, 3), 4)
    kernel = np.ones((192, 1), np.float32)
    model.layers[-1].set_weights([np.hstack([0 * kernel, -kernel, 0 * kernel, kernel]), np.float32([0, 96, 0, -96])])
    content = convert(model, "float32")
    labels = {"one": ("bird", "dog", "fish", "cat"), "other": ("cat", "bird", "fish", "dog")}
    one, other = (written(f"{n}.tflite", describe(content, Description(n, labels=x))) for n, x in labels.items())
    unnamed = written("unnamed.tflite", content)
    feeds, found, orders, *_ = examples_for([one, other, unnamed], "image_folder_test", cat_and_dog)
    assert sorted(found) == [1, 1, 1, 1, 3, 3, 3, 3]
    compared = compare([one, other, unnamed], feeds, found, rounds=2, orders=orders).files
    # The other file's bright pictures are dogs, and its dark ones birds.
    assert [file.quality[0].value for file in compared] == [1, 0, 1]
    with pytest.raises(UserError, match="pictures is for evaluation only"):
        examples_for([one], "image_folder_test", cat_and_dog, split="train")
    birds = of_brightness(written, "bird.tflite", ("bird", "cat"))
    with pytest.raises(UserError, match="bird, cat, but image_folder_test has cat, dog; rename the classes"):
        examples_for([birds], "image_folder_test", cat_and_dog)


def test_files_without_data_are_compared_class_by_class(written):
    one = of_brightness(written, "one.tflite", ("cat", "dog"))
    other = of_brightness(written, "other.tflite", ("dog", "cat"))
    orders = score_orders([one, other])
    assert orders == {one: (0, 1), other: (1, 0)}
    assert compare([one, other], rounds=2, orders=orders).files[1].agreement.top1_agreement == 0
    assert score_orders([written("broken.tflite", b"TFL3"), one.with_name("missing.tflite"), other]) == {other: (0, 1)}


def test_labels_of_other_classes_are_refused(written, cat_and_dog):
    path = of_brightness(written, "bird.tflite", ("bird", "fish"))
    with pytest.raises(
        UserError, match=r"bird\.tflite names its classes bird, fish, but image_folder has cat, dog; re"
    ):
        examples_for([path], "image_folder", cat_and_dog)
    feeds, *_ = examples_for([path], "image_folder", cat_and_dog, split="train")  # calibration needs no labels
    assert len(feeds[path]) == 4
    with pytest.raises(UserError, match=r"names its classes bird, fish, but .*cat\.tflite has cat, dog"):
        score_orders([of_brightness(written, "cat.tflite", ("cat", "dog")), path])
