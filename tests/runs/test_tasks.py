"""Models of every task, through a whole run."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.answers import answers
from tfcompress import Cluster, Distil, Prune, Quantize, Training, compress
from tfcompress.answers import IGNORED
from tfcompress.data.dataset import Dataset
from tfcompress.data.tasks import Classification, Embedding, Multilabel, OwnTask, Regression, TokenClassification
from tfcompress.errors import UserError
from tfcompress.export.sources import open_source
from tfcompress.measure.interpreter import Runner, predict
from tfcompress.models import saved
from tfcompress.optimize.quantization import load_scope
from tfcompress.runs.recipe import Export
from tfcompress.tflite.metadata import read_description

L = tf_keras.layers
FIT = Training(epochs=1, batch_size=32, learning_rate=1e-4)
X = np.random.default_rng(0).normal(size=(320, 8)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
SCORES = X @ W
TAGS = ("O", "B-X", "I-X", "B-Y")


def trained(units: int, activation: str | None = None) -> tf_keras.Model:
    """Returns a model that knows the first `SCORES`, each `units` of them."""
    x = tf_keras.Input((8,), name="numbers")
    hidden = L.Dense(16, "relu", name="hidden")(x)
    model = tf_keras.Model(x, L.Dense(units, activation, name="scores")(hidden))
    turned = np.linalg.qr(np.random.default_rng(2).normal(size=(8, 8)))[0]
    back = turned.T @ W[:, :units]
    weights = np.concatenate([turned, -turned], axis=1), np.concatenate([back, -back])
    model.set_weights([weights[0], np.zeros(16), weights[1], np.zeros(units)])
    return model


def tagger() -> tf_keras.Model:
    """Returns a model that tags two tokens, the second of which counts."""
    x = tf_keras.Input((2, 8), name="numbers")
    single = trained(4)
    hidden, scores = (single.get_layer(name) for name in ("hidden", "scores"))
    return tf_keras.Model(x, scores(hidden(x)))


def data(task, classes, labels, features=X, name="numbers", **options) -> Dataset:
    splits = [(features[start:end], labels[start:end]) for start, end in ((0, 192), (192, 256), (256, 320))]
    return Dataset.from_arrays(name, classes, *splits, task=task, **options)


CASES = {
    "multilabel": (Multilabel(), "abc", (SCORES[:, :3] > 0).astype(int), trained(3), "exact match", 0.9),
    "sigmoids": (Multilabel(), "abc", (SCORES[:, :3] > 0).astype(int), trained(3, "sigmoid"), "exact match", 0.9),
    "one sigmoid": (Classification(), "ab", (SCORES[:, 0] > 0).astype(int), trained(1, "sigmoid"), "top-1", 0.9),
    "number": (Regression(), (), SCORES[:, 0], trained(1), "MAE", 0.0),
    "tokens": (
        TokenClassification(TAGS),
        TAGS,
        np.stack([np.full(320, IGNORED), SCORES.argmax(1)], axis=1),
        tagger(),
        "entity F1",
        0.9,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_task_through_all_techniques(name, tmp_path, rehearsed_here):
    task, classes, labels, model, metric, good = CASES[name]
    features = np.stack([X[::-1], X], axis=1) if name == "tokens" else X
    given = data(task, tuple(classes), labels, features, name)
    techniques = [Prune(sparsity=0.25, schedule="constant", fit=FIT), Cluster(clusters=32, fit=FIT), Quantize(fit=FIT)]
    report = compress(model, given, techniques, tmp_path, rehearsal=name == "tokens")
    assert len(rehearsed_here) == (name == "tokens")

    base, *_, last = report.variants
    assert [base.quality[0].metric, last.quality[0].metric] == [metric, metric]
    assert base.quality[0].value == pytest.approx(0, abs=1e-5) if task.end == "none" else base.quality[0].value > good
    assert abs(last.quality[0].value - base.quality[0].value) < 0.5
    assert all(variant.agreement.largest_difference < 0.1 for variant in report.variants)

    # A model that ends in a sigmoid gets no second end, and one of logits gets its own.
    expected = answers(model, features[256:])
    if "sigmoid" not in model.get_config()["layers"][-1]["config"].get("activation", "") and task.end != "none":
        expected = (tf.nn.softmax if task.end == "softmax" else tf.sigmoid)(expected)
    np.testing.assert_allclose(predict(tmp_path / base.file, features[256:]), expected, atol=1e-5)
    assert list(Runner(tmp_path / last.file).results) == [task.answers]
    described = read_description((tmp_path / base.file).read_bytes())
    assert described.labels == (tuple(classes) if model.output_shape[-1] == len(classes) else ())

    stage = tmp_path / "stages" / "03-quantize"
    history = json.loads((stage / "stage.json").read_text())["history"]
    assert {"loss", "val_loss", "val_mae" if task.end == "none" else "val_accuracy"} <= set(history[0])
    with load_scope():
        [(output, found)] = open_source(stage).run({"numbers": features[:1]}).items()
        own = answers(saved.load(stage / "model.h5"), features[:1])
    assert output == task.answers
    assert found.shape == own.shape


PAIRS = np.repeat((SCORES[::2] * SCORES[1::2]).sum(1), 2)


def test_an_embedding_is_clustered_without_any_training_example(tmp_path, rehearsed_here):
    whole = data(Embedding(), (), PAIRS)
    alone = Dataset("pairs", whole.train.take(0), whole.validation.take(0), whole.test, task=Embedding())
    with pytest.warns(UserWarning, match="cluster: kernels are clustered by k-means alone: pairs has no training exam"):
        report = compress(trained(4), alone, [Cluster(clusters=32, training=False)], tmp_path / "plain")
    assert [variant.quality[0].metric for variant in report.variants] == ["Spearman of cosines"] * 2
    assert list(Runner(tmp_path / "plain" / "model.tflite").results) == ["embedding"]
    assert read_description((tmp_path / "plain" / "model.tflite").read_bytes()).labels == ()

    unlabelled = tf.data.Dataset.from_tensor_slices(X[:192])
    seen = Dataset("pairs", alone.train, alone.validation, alone.test, task=Embedding(), unlabelled=unlabelled)
    better = compress(trained(4), seen, [Cluster(clusters=32, training=False)], tmp_path / "seen")
    differences = [found.variants[-1].agreement.largest_difference for found in (report, better)]
    assert max(differences) < 1e-5  # each with its own Keras model
    assert len(rehearsed_here) == 2
    with pytest.raises(UserError, match="pairs: the train split is empty, and at least one example is needed"):
        compress(trained(4), alone, [Prune(fit=FIT)], tmp_path / "trained")


def test_an_embedding_learns_from_what_the_base_gives_and_never_from_labels(tmp_path):
    given = data(Embedding(), (), PAIRS)
    with pytest.raises(UserError, match="prune learns from labels, but those of the task embedding do not say what"):
        compress(trained(4), given, [Prune(fit=FIT)], tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    teacher = Distil(labels=0, training=False, keep=True)
    prune = Prune(sparsity=0.5, schedule="constant", fit=FIT.model_copy(update={"epochs": 4, "learning_rate": 1e-2}))
    report = compress(trained(4), given, [teacher, prune], tmp_path / "taught")
    rows = report.history["02-prune"]
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]


def test_own_tasks_need_a_loss_to_be_trained(tmp_path, rehearsed_here):
    task = OwnTask(lambda labels, outputs: np.abs(outputs - labels).max(axis=1) < 0.5, "close", percent=True)
    given = data(task, (), SCORES[:, :2])
    prune = Prune(sparsity=0.25, schedule="constant", fit=FIT)
    with pytest.raises(UserError, match=r"prune learns from labels, .* of the task own .* or pass a loss to compress"):
        compress(trained(2), given, [prune], tmp_path / "refused")
    loss = tf_keras.losses.MeanSquaredError()
    report = compress(trained(2), given, [prune], tmp_path / "own", loss=loss)
    assert (report.variants[0].quality[0].metric, report.variants[0].quality[0].value) == ("close", 1)
    assert list(Runner(tmp_path / "own" / "model.tflite").results) == ["scores"]
    assert len(rehearsed_here) == 1


@pytest.mark.parametrize(
    ("task", "classes", "labels", "model", "options", "message"),
    [
        (Regression(), (), SCORES[:, 0], trained(2), {}, r"numbers has the task regression; the output must be \(bat"),
        (Multilabel(), "abc", np.ones((320, 3)), trained(2), {}, r"has 3 classes; the output must be \(batch, 3\)"),
        (Classification(), "ab", np.zeros(320, int), trained(3), {}, r"must be \(batch, 2\) or \(batch, 1\)"),
        (TokenClassification(TAGS), TAGS, np.zeros((320, 3), int), tagger(), {}, "has 3 labels per example; .* token"),
        (Regression(), (), SCORES[:, 0], trained(1), {"outputs": "logits"}, "this task have no softmax or sigmoid"),
        (Regression(), (), SCORES[:, 0], trained(1), {"export": Export(logits=True)}, "gives numbers, so it cannot be"),
        (Multilabel(), "abc", 2 * np.ones((320, 3)), trained(3), {}, "from 2.0 to 2.0; multilabel takes a 0 or 1"),
    ],
)
def test_what_does_not_fit_a_task_is_refused(tmp_path, task, classes, labels, model, options, message):
    features = np.stack([X, X], axis=1) if task.name == "tokens" else X
    with pytest.raises(UserError, match=message):
        compress(model, data(task, tuple(classes), labels, features), [], tmp_path / "work", **options)
    assert not (tmp_path / "work").exists()
