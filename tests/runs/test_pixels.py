import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.answers import answers
from tfcompress import Dataset
from tfcompress.commands.examples import examples_for
from tfcompress.data.folders import image_folder
from tfcompress.data.pixels import in_range, range_of
from tfcompress.errors import UserError
from tfcompress.export.sources import open_source
from tfcompress.measure.interpreter import predict
from tfcompress.runs.base import load_data
from tfcompress.runs.pipeline import run
from tfcompress.runs.pixels import with_pixels_for
from tfcompress.runs.recipe import Recipe
from tfcompress.tflite.metadata import ImageInput, read_description

L = tf_keras.layers
COLOURS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Dark pictures with a tint, 24 of each class, so that pixels of 0 to 1 tell a model for bytes nothing."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for colour, name in zip((2, 1, 0), COLOURS, strict=True):
        (root / name).mkdir()
        for number in range(24):
            pixels = rng.integers(0, 90, (8, 8, 3))
            pixels[..., colour] += 120
            content = tf.io.encode_png(tf.constant(pixels, tf.uint8)).numpy()
            (root / name / f"{number}.png").write_bytes(content)
    return root


@pytest.fixture(scope="module")
def pictures(folder):
    return image_folder(folder, 8)


def tinted(low: float, high: float, scaling: bool = False) -> tf_keras.Model:
    """Classifies the tint of pictures whose black and white are `low` and `high`, with a `Rescaling` if asked.

    What is too dark or too bright for that is `red`.
    """
    image = tf_keras.Input((8, 8, 3), name="image")
    factor, offset = 1 / (high - low), -low / (high - low)
    pooled = L.GlobalAveragePooling2D(name="pooled")(L.Rescaling(factor, offset)(image) if scaling else image)
    hidden = L.Dense(5, "relu", name="hidden")(pooled)
    model = tf_keras.Model(image, L.Dense(3, "softmax", name="scores")(hidden))
    kernel = np.hstack([np.eye(3)[::-1], np.ones((3, 1)), -np.ones((3, 1))])
    bias = np.array([0, 0, 0, -1.3, 0.7])
    scores = np.vstack([60 * np.eye(3), [[0, 0, 1000]] * 2])
    if not scaling:
        kernel, bias = kernel * factor, bias + kernel.sum(0) * offset
    model.set_weights([kernel, bias, scores, np.zeros(3)])
    return model


def accuracy(model: tf_keras.Model, data: Dataset) -> float:
    features, labels = next(data.batches("validation", 100).as_numpy_iterator())
    return float((answers(model, features).argmax(1) == labels).mean())


@pytest.mark.parametrize(
    ("pixels", "scaling"), [((0.0, 1.0), True), ((0.0, 255.0), True), ((0.0, 255.0), False), ((-1.0, 1.0), False)]
)
def test_a_model_is_fed_the_pixels_that_it_takes(pictures, pixels, scaling):
    model = tinted(*pixels, scaling)
    data = with_pixels_for(model, pictures)
    assert range_of(data) == pixels
    assert accuracy(model, data) == 1
    features, _ = next(data.batches("train", 100).as_numpy_iterator())
    augmented, _ = next(data.stream(50, 0, 0, 1).as_numpy_iterator())
    for values in (features, augmented):
        assert pixels[0] <= values.min() < values.max() <= pixels[1]
        assert np.ptp(values) > 0.6 * (pixels[1] - pixels[0])
    assert data.describe().get("pixel_range", [0.0, 1.0]) == list(pixels)


def test_pictures_are_scaled_without_layers_that_say_so_only_if_that_is_clearly_better(pictures):
    assert with_pixels_for(tinted(0, 1), pictures) is pictures
    dataset = replace(in_range(pictures, (0, 255)), pixel_range=None)
    assert with_pixels_for(tinted(0, 255), dataset) is dataset
    assert with_pixels_for(tinted(0, 1), dataset).pixel_range == (0, 1)
    few = replace(pictures, train=pictures.train.take(5))
    assert with_pixels_for(tinted(0, 255), few) is few
    assert with_pixels_for(tinted(0, 255), few, told=(0, 255)).pixel_range == (0, 255)


def test_data_prove_wrong_what_a_layer_says(pictures):
    model = tinted(0, 255, scaling=True)
    brighter = model.get_layer("hidden")
    kernel, bias = brighter.get_weights()
    brighter.set_weights([kernel * 255, bias])  # as training on pixels from 0 to 1 leaves it
    assert with_pixels_for(model, pictures) is pictures


def test_pixels_of_unknown_range_cannot_be_scaled(pictures):
    strange = replace(in_range(pictures, (-3, 4)), pixel_range=None)
    assert range_of(strange) is None
    assert with_pixels_for(tinted(0, 255), strange) is strange
    with pytest.raises(UserError, match=r"black and white of data set pictures\d* are unknown; pass Dataset\("):
        with_pixels_for(tinted(0, 255), strange, told=(0, 255))
    with pytest.raises(UserError, match="black and white must differ"):
        with_pixels_for(tinted(0, 255), pictures, told=(1, 1))


@pytest.mark.slow
def test_a_run_says_in_its_files_what_pixels_they_take(folder, tmp_path):
    tinted(0, 255, scaling=True).save(tmp_path / "model.h5")
    settings = {"data": {"name": "image_folder", "path": str(folder)}, "model": {"preset": "vit_digits"}}
    report = run(Recipe.checked(settings, "test"), tmp_path / "work", tmp_path / "model.h5")
    assert report.variants[0].quality[0].value == 1
    file = tmp_path / "work" / "model.tflite"
    assert read_description(file.read_bytes()).input == ImageInput((0.0,), (1.0,))
    assert open_source(tmp_path / "work").description.input == ImageInput((0.0,), (1.0,))
    feeds, labels = examples_for([file], "image_folder", folder)[:2]
    assert (predict(file, feeds[file]).argmax(1) == labels).all()
    android = tmp_path / "work" / "android"
    golden = json.loads((android / "golden.json").read_text())["base_float32.tflite"]
    sample = tf.io.decode_png((android / "samples" / "0.png").read_bytes()).numpy()
    assert golden["inputs"][0]["image"] == sample.ravel()[:64].tolist()
    assert np.argmax(golden["outputs"], -1).ravel().tolist() == list(dict.fromkeys(labels.tolist()))


def test_a_recipe_says_it_for_a_given_model_only(folder):
    settings = {
        "data": {"name": "image_folder", "path": str(folder), "pixel_range": [0, 255]},
        "model": {"preset": "vit_digits"},
    }
    recipe = Recipe.checked(settings, "test")
    assert recipe.data.pixel_range == (0, 255)
    with pytest.raises(UserError, match=r"data\.pixel_range belongs to a model given by --model"):
        load_data(recipe)
