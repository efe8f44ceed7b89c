import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.native import has_runtime
from tests.tiny import embedder_of, scored, tiny_vit_of
from tfcompress import Cluster, Training, compress
from tfcompress.data.dataset import SPLITS
from tfcompress.data.tasks import OwnTask, TokenClassification
from tfcompress.export.sources import open_source
from tfcompress.measure.interpreter import Runner
from tfcompress.tflite.metadata import read_description

CLUSTER = Cluster(clusters=16, fit=Training(epochs=1, batch_size=32, learning_rate=1e-4))


@pytest.fixture(scope="module")
def of_images(tiny_data, trained_weights, tmp_path_factory) -> Path:
    model = tiny_vit_of(trained_weights)
    workdir = tmp_path_factory.mktemp("images")
    compress(model, tiny_data, [CLUSTER], workdir)
    return workdir


def read(workdir: Path) -> tuple[dict, dict]:
    folder = workdir / "android"
    return tuple(json.loads((folder / name).read_text()) for name in ("manifest.json", "golden.json"))


def test_models_are_the_runs_and_the_packed_one_is_smaller(of_images):
    manifest, _ = read(of_images)
    files = {model["file"]: model for model in manifest["models"]}
    assert set(files) == {"base_float32.tflite", "compressed.tflite", *(["packed.tflite"] if has_runtime() else [])}
    folder = of_images / "android"
    assert (folder / "compressed.tflite").read_bytes() == (of_images / "model.tflite").read_bytes()
    assert all(model["bytes"] == (folder / name).stat().st_size for name, model in files.items())
    if has_runtime():
        assert files["packed.tflite"]["bytes"] < files["compressed.tflite"]["bytes"] / 2


def test_golden_outputs_are_of_the_pictures_as_they_are_stored(of_images):
    manifest, golden = read(of_images)
    assert len(set(manifest["labels"])) == 6
    for model in manifest["models"]:
        runner = Runner(of_images / "android" / model["file"])
        for place, sample in enumerate(manifest["samples"]):
            image = tf.io.decode_png((of_images / "android" / sample).read_bytes()).numpy() / np.float32(255)
            np.testing.assert_allclose(golden[model["file"]]["outputs"][place], runner.run(image), atol=1e-6)
            (start,) = golden[model["file"]]["inputs"][place].values()
            np.testing.assert_allclose(start, image.ravel()[:64], atol=1e-6)


def test_grey_pictures_stay_grey(tiny_data, tmp_path):
    grey = replace(tiny_data, decode=lambda image: tiny_data.decode(image)[..., :1])
    image = tf_keras.Input((8, 8, 1), name="image")
    model = tf_keras.Model(image, tf_keras.layers.Dense(10)(tf_keras.layers.Flatten()(image)))
    compress(model, grey, [], tmp_path)
    manifest, golden = read(tmp_path)
    (picture, *_) = manifest["samples"]
    pixels = tf.io.decode_png((tmp_path / "android" / picture).read_bytes()).numpy()
    assert pixels.shape == (8, 8, 1)
    (start,) = golden["base_float32.tflite"]["inputs"][0].values()
    np.testing.assert_allclose(start, pixels.ravel() / 255, atol=1e-6)


def test_a_finished_run_without_the_folder_gets_the_same_again(of_images, tiny_data, trained_weights):
    folder = of_images / "android"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.move(folder, of_images / ".android")  # as a killed process leaves it
    (of_images / ".android" / "golden.json").write_text("{")
    model = tiny_vit_of(trained_weights)
    compress(model, tiny_data, [CLUSTER], of_images)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not (of_images / ".android").exists()


def test_texts_are_kept_as_they_are_and_their_ids_are_golden(tiny_bert, tiny_text, tmp_path):
    compress(tiny_bert, tiny_text, [CLUSTER], tmp_path)
    manifest, golden = read(tmp_path)
    assert (manifest["input"], manifest["task"]) == ("text", "classification")
    assert sorted(manifest["labels"]) == sorted(tiny_text.classes)
    for place, inputs in enumerate(golden["compressed.tflite"]["inputs"]):
        ids = next(values for name, values in inputs.items() if "token" in name)
        assert ids == tiny_text.decode.encode(manifest["samples"])["token_ids"][place][:64].tolist()
    if has_runtime():
        np.testing.assert_allclose(
            golden["packed.tflite"]["outputs"], golden["compressed.tflite"]["outputs"], atol=1e-5
        )


def test_what_a_phone_could_not_make_is_left_out(tiny_vit, tiny_data, tmp_path):
    signed = replace(tiny_data, decode=lambda image: tiny_data.decode(image) - 0.5)
    compress(tiny_vit, signed, [], tmp_path)
    assert (tmp_path / "model.tflite").is_file()
    assert not (tmp_path / "android").exists()


def test_pairs_are_samples_of_two_texts(tiny_bert, tiny_text, tmp_path):
    changes = {one: getattr(tiny_text, one).map(lambda x, y: (tf.stack([x, "the dog"]), y)) for one in SPLITS}
    compress(tiny_bert, replace(tiny_text, **changes), [], tmp_path)
    manifest, golden = read(tmp_path)
    assert (manifest["input"], manifest["task"]) == ("text", "classification")
    assert [second for _, second in manifest["samples"]] == ["the dog"] * len(tiny_text.classes)
    rows = tiny_text.decode.encode([tuple(sample) for sample in manifest["samples"]])
    for place, inputs in enumerate(golden["base_float32.tflite"]["inputs"]):
        assert inputs["segment_ids"] == rows["segment_ids"][place].tolist()
    assert read_description((tmp_path / "model.tflite").read_bytes()).input.pairs
    assert open_source(tmp_path).description.input.pairs


def test_embeddings_of_the_first_pairs_are_golden(trained_weights, tiny_data, tmp_path):
    model = embedder_of(tiny_vit_of(trained_weights))
    compress(model, scored(tiny_data), [], tmp_path)
    manifest, golden = read(tmp_path)
    assert (manifest["input"], manifest["task"], manifest["labels"]) == ("image", "embedding", [])
    images = np.stack([image for image, _ in tiny_data.examples("test").take(6).as_numpy_iterator()])
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(golden["base_float32.tflite"]["outputs"], expected, atol=1e-5)


def test_answers_for_tokens_are_one_row_of_numbers(tiny_text, tmp_path):
    inputs = {name: tf_keras.Input((12,), dtype="int32", name=name) for name in tiny_text.sample(1, 0)}
    ids = tf_keras.layers.Embedding(len(tiny_text.decode.vocabulary), 3)(inputs["token_ids"])
    sentences = {one: getattr(tiny_text, one).map(lambda x, y: (tf.strings.split(x), y)) for one in SPLITS}
    tagged = {
        one: data.map(lambda words, y: (words, tf.fill([tf.size(words)], tf.cast(y, tf.int32))))
        for one, data in sentences.items()
    }
    task = TokenClassification(tiny_text.classes)
    data = replace(tiny_text, **tagged, task=task, align=tiny_text.decode.align)
    compress(tf_keras.Model(list(inputs.values()), ids), data, [], tmp_path, outputs="logits")
    manifest, golden = read(tmp_path)
    assert (manifest["task"], len(manifest["samples"])) == ("tokens", 6)
    assert np.shape(golden["base_float32.tflite"]["outputs"]) == (6, 12 * 3)


def test_what_the_user_judges_is_left_out(trained_weights, tiny_data, tmp_path):
    own = replace(tiny_data, task=OwnTask(lambda labels, outputs: outputs.argmax(axis=1) == labels))
    compress(tiny_vit_of(trained_weights), own, [], tmp_path)
    assert (tmp_path / "model.tflite").is_file()
    assert not (tmp_path / "android").exists()
