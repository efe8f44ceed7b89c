from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from pydantic import ValidationError

from tests.answers import answers
from tfcompress.answers import IGNORED
from tfcompress.errors import UserError
from tfcompress.models.bert import bert
from tfcompress.models.outputs import Outputs
from tfcompress.models.vit import vit
from tfcompress.optimize.clustering import Cluster
from tfcompress.optimize.distillation import Distil, SoftLabels
from tfcompress.optimize.halving import Halve
from tfcompress.optimize.pruning import Prune
from tfcompress.optimize.technique import Context, ModelAndData
from tfcompress.training import Objective, Training, fit

from ..apply import accuracy
from ..tiny import TINY
from .conftest import BERT

FIT = Training(epochs=4, batch_size=32, learning_rate=2e-3)


@pytest.fixture(scope="module")
def student(teacher, words) -> tf_keras.Model:
    return Halve(examples=64).prepare(teacher, Context(words, {}))


def context(data, teacher, folder) -> Context:
    return Context(data, {}, earlier={"base": ModelAndData(teacher, data)}, folder=folder / "teacher")


def distilled(technique, student, data, teacher, folder) -> tuple[tf_keras.Model, list]:
    given = context(data, teacher, folder)
    wrapped = technique.prepare(student, given)
    lesson = technique.lesson(wrapped, given)
    rows = fit(wrapped, data, technique.fit, lesson.objective, 0, folder / "fit", targets=lesson.targets)
    return technique.finalize(wrapped), rows


def test_a_fresh_student_learns_from_soft_labels_alone(teacher, words, tmp_path):
    tf_keras.utils.set_random_seed(1)
    fresh = bert(BERT, 3)
    technique = Distil(labels=0, soft_labels=1, fit=FIT.model_copy(update={"epochs": 30, "warmup": 0.3}))
    model, rows = distilled(technique, fresh, words, teacher, tmp_path)
    assert accuracy(fresh, words) < 0.5
    assert accuracy(model, words) > 0.8
    assert rows[-1]["val_accuracy"] > 0.8


def test_hidden_states_come_closer_and_the_student_keeps_one_output(teacher, student, words, tmp_path):
    technique = Distil(labels=0, states=1, fit=FIT)
    before = student.get_weights()
    model, rows = distilled(technique, student, words, teacher, tmp_path)
    assert rows[-1]["states_loss"] < 0.95 * rows[0]["states_loss"]
    assert rows[0]["states_loss"] < 1  # The map starts at the least-squares fit.
    assert model.output_shape == (None, 3)
    assert accuracy(model, words) >= accuracy(student, words)
    for old, now in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


def test_the_teacher_runs_once(teacher, student, words, tmp_path):
    technique = Distil(states=1, fit=FIT)
    given = context(words, teacher, tmp_path)
    wrapped = technique.prepare(student, given)
    targets = technique.lesson(wrapped, given).targets
    kept = {path: path.stat().st_mtime_ns for path in given.folder.rglob("*.npy")}
    assert len(kept) == 4
    broken = tf_keras.models.clone_model(teacher)  # Would give other outputs.
    again = technique.lesson(wrapped, context(words, broken, tmp_path)).targets
    assert kept == {path: path.stat().st_mtime_ns for path in given.folder.rglob("*.npy")}
    for batch, other in zip(words.batches("train", 32, targets), words.batches("train", 32, again), strict=True):
        np.testing.assert_array_equal(batch[1][0], other[1][0])


def test_kept_outputs_follow_their_examples_through_shuffling(teacher, words, tmp_path):
    technique = Distil()
    targets = technique.lesson(teacher, context(words, teacher, tmp_path)).targets
    features, found = next(iter(words.stream(64, seed=3, first_epoch=0, epochs=1, targets=targets)))
    np.testing.assert_allclose(found[:, 1:], answers(teacher, features), atol=1e-4)


def test_a_teacher_sees_the_pictures_as_they_are_augmented(tiny_vit, tiny_data, tmp_path):
    assert tiny_data.augment is not None
    technique = Distil()
    targets = technique.lesson(vit(TINY, 10), context(tiny_data, tiny_vit, tmp_path)).targets
    images, found = next(iter(tiny_data.stream(64, seed=3, first_epoch=0, epochs=1, targets=targets)))
    np.testing.assert_allclose(found[:, 1:], answers(tiny_vit, images), atol=1e-4)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_later_stage_can_keep_the_lesson(teacher, student, words, tmp_path):
    prune = Prune(sparsity=0.5, schedule="constant", fit=FIT)
    given = context(words, teacher, tmp_path)
    wrapped = prune.prepare(student, given)
    lesson = Distil(states=1).lesson(wrapped, given)
    rows = fit(wrapped, words, prune.fit, lesson.objective, 0, tmp_path, prune.callbacks(), targets=lesson.targets)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert accuracy(prune.finalize(wrapped), words) > 0.8


def test_clusters_learn_from_the_float_model_without_any_labels(teacher, words, tmp_path):
    distil = Distil(training=False, keep=True, labels=0, soft_labels=1)
    assert distil.fit is None
    given = context(words, teacher, tmp_path)
    same = distil.prepare(teacher, given)
    np.testing.assert_array_equal(same.get_weights()[-2], teacher.get_weights()[-2])
    cluster = Cluster(clusters=3, initialization="compensated", fit=FIT)
    wrapped = cluster.prepare(same, given)
    lesson = distil.lesson_for_later(wrapped, given)
    unlabelled = replace(words, **{split: without_labels(getattr(words, split)) for split in ("train", "validation")})
    rows = fit(wrapped, unlabelled, cluster.fit, lesson.objective, 0, tmp_path, targets=lesson.targets)
    assert rows[-1]["val_loss"] < 0.5 * rows[0]["loss"]
    assert accuracy(cluster.finalize(wrapped), words) > 0.8


def without_labels(split):
    return split.map(lambda features, label: (features, tf.zeros_like(label)))


def test_a_users_own_loss_on_the_labels_stays(teacher, words, tmp_path):
    class Refused(tf_keras.losses.Loss):
        def call(self, y_true, y_pred):
            raise RuntimeError("the user's loss")

    given = context(words, teacher, tmp_path)
    given = Context(**{**given.__dict__, "objective": Objective(loss=Refused())})
    lesson = Distil(labels=1).lesson(teacher, given)
    with pytest.raises(RuntimeError, match="the user's loss"):
        lesson.objective.loss(np.zeros((2, 4), np.float32), np.zeros((2, 3), np.float32))


def test_tokens_that_are_not_judged_teach_nothing():
    x = tf_keras.Input((2, 3))
    model = tf_keras.Model(x, tf_keras.layers.Dense(4)(x))
    loss = SoftLabels(Distil(labels=0.5), Objective(outputs=Outputs.LOGITS), model, tf.TensorSpec((None,), tf.int32))
    labels, rng = np.array([[[1.0], [IGNORED]]]), np.random.default_rng(0)
    targets = np.concatenate([labels, rng.normal(size=(1, 2, 4))], axis=-1).astype(np.float32)
    outputs = rng.normal(size=(1, 2, 4)).astype(np.float32)
    ignored, judged = outputs.copy(), outputs.copy()
    ignored[0, 1], judged[0, 0] = 9.0, [0, 1, 2, 3]
    expected = float(loss(targets, outputs))
    assert float(loss(targets, ignored)) == pytest.approx(expected)
    assert float(loss(targets, judged)) != pytest.approx(expected)


def test_numbers_come_closer_to_the_teachers_by_their_squared_distance():
    x = tf_keras.Input((3,))
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(x))
    soft = Distil(labels=0, soft_labels=1)
    loss = SoftLabels(soft, Objective(outputs=Outputs.NUMBERS), model, tf.TensorSpec((), tf.float32))
    targets = np.array([[7, 1, 2], [7, 0, 0]], np.float32)  # the label of a pair, then the teacher's embedding
    assert float(loss(targets, np.zeros((2, 2), np.float32))) == pytest.approx((1 + 4) / 2)


def test_weights_of_classes_reach_labels_and_soft_labels():
    x = tf_keras.Input((3,))
    model = tf_keras.Model(x, tf_keras.layers.Dense(4)(x))
    loss = SoftLabels(Distil(labels=0.5), Objective(outputs=Outputs.LOGITS), model, tf.TensorSpec((), tf.int32))
    rng = np.random.default_rng(0)
    targets = np.concatenate([[[0], [2], [3]], rng.normal(size=(3, 4))], axis=1).astype(np.float32)
    outputs = tf.constant(rng.normal(size=(3, 4)), tf.float32)
    alone = float(loss(targets[:1], outputs[:1]))
    assert float(loss(targets, outputs, sample_weight=tf.constant([3.0, 0, 0]))) == pytest.approx(alone, rel=1e-5)


def test_states_of_another_depth_are_refused(words, teacher, tmp_path):
    deep = bert(BERT.__class__(**{**BERT.__dict__, "depth": 2}), 3)
    with pytest.raises(UserError, match="student has 5 hidden states and the teacher base 3"):
        Distil(states=1).prepare(deep, context(words, teacher, tmp_path))


def test_an_unknown_teacher_is_refused(words, teacher, tmp_path):
    with pytest.raises(UserError, match="no earlier stage is called 'halve'; the earlier stages are base"):
        Distil(teacher="halve").lesson(teacher, context(words, teacher, tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": 0, "soft_labels": 0}, "there is nothing to learn"),
        ({"unlabelled": ["trec"]}, "unlabelled texts have none; set labels: 0"),
        ({"training": False}, "training is false and keep too"),
        ({"training": False, "keep": True, "states": 1}, "states is given, but later stages do not learn it"),
        ({"unlabelled": ["novels"], "labels": 0}, "unknown data set 'novels'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Distil(**settings)
