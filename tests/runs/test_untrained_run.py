"""Runs in which nothing is trained."""

import numpy as np
import pytest
import tf_keras

from tests.models.pretrained.hugging_face_folders import BERT, WIDTH, bert_tensors, write
from tfcompress import Cluster, LayerClustering, UserError, compress
from tfcompress.runs.pipeline import run
from tfcompress.runs.recipe import Recipe


@pytest.fixture
def reviews(tmp_path):
    lines = [f"a {word} film number {number}\t{word}" for number in range(12) for word in ("good", "bad")]
    (tmp_path / "reviews.tsv").write_text("\n".join(["text\tlabel", *lines]))
    return tmp_path / "reviews.tsv"


def recipe(reviews, **model):
    content = {
        "data": {"name": "text_file", "path": str(reviews)},
        "model": {"sequence_length": 8, **model},
        "training": False,
        "techniques": [{"cluster": {"clusters": 16, "training": False}}],
    }
    return Recipe.checked(content, "test")


def checkpoint(folder, labels):
    tensors = bert_tensors()
    tensors["classifier.weight"] = np.random.default_rng(0).normal(size=(2, WIDTH)).astype(np.float32)
    tensors["classifier.bias"] = np.zeros(2, np.float32)
    return str(write(folder, {**BERT, "id2label": labels}, tensors))


@pytest.mark.filterwarnings("ignore:the base model")  # It is no better than guessing.
def test_a_checkpoint_is_clustered_without_training(reviews, tmp_path):
    wanted = recipe(reviews, hugging_face=checkpoint(tmp_path, {"0": "bad", "1": "good"}))
    report = run(wanted, tmp_path / "work", rehearsal=False)
    base, clustered = report.variants
    assert list(report.history.values()) == [[], []]
    assert report.run.settings()["training"] is False
    (step,) = report.run.settings()["techniques"]
    assert (step["cluster"]["training"], step["cluster"]["fit"]) == (False, None)
    wide = {one.layer: one for one in base.tensors if one.distinct > 16}
    assert {one.layer for one in clustered.tensors if one.distinct <= 16} >= wide.keys() - {
        one.layer for one in base.tensors if one.table
    }
    assert (tmp_path / "work" / "report.html").is_file()
    # A stage that is finished is loaded.
    (tmp_path / "work" / "report.json").unlink()
    for predictions in (tmp_path / "work" / "predictions").iterdir():
        predictions.write_bytes(b"damaged")
    model = (tmp_path / "work" / "stages" / "01-cluster" / "model.h5").read_bytes()
    assert run(wanted, tmp_path / "work", rehearsal=False).variants[1].tensors == clustered.tensors
    assert (tmp_path / "work" / "stages" / "01-cluster" / "model.h5").read_bytes() == model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"preset": "bert_tiny_trec", "vocabulary": 100}, "training is false, but the recipe's model has no trained w"),
        ({"hugging_face": None, "new_head": True}, "the recipe's model has no trained head for 2 classes; leave train"),
    ],
)
def test_a_model_that_was_never_trained_is_refused_at_once(reviews, tmp_path, model, message):
    if "hugging_face" in model:
        model = {**model, "hugging_face": checkpoint(tmp_path, {"0": "ham", "1": "spam"})}
    with pytest.raises(UserError, match=message):
        run(recipe(reviews, **model), tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_the_report_tells_which_layers_were_clustered_by_k_means(tiny_data, tmp_path):
    layers = tf_keras.layers
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(24, 3, groups=3, name="grouped")(image)
    model = tf_keras.Model(image, layers.Dense(10, name="head")(layers.Flatten()(x)))
    technique = Cluster(clusters=8, training=False, types={"Conv2D": LayerClustering()})
    with pytest.warns(UserWarning, match="no better than always"):
        report = compress(model, tiny_data, [technique], tmp_path, rehearsal=False)
    assert report.explained["grouped"].startswith("clustered by k-means alone, because its convolution is grouped")
    assert "head" not in report.explained
