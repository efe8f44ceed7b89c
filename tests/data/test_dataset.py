import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tfcompress.answers import IGNORED
from tfcompress.data.dataset import Dataset
from tfcompress.data.tasks import Embedding, Multilabel, OwnTask, Regression, TokenClassification
from tfcompress.errors import UserError


def numbered(n: int, labels=None, **options) -> Dataset:
    """Makes a data set in which the feature of each example is its own number."""
    x = np.arange(n, dtype=np.float32)[:, None]
    y = np.arange(n) % 3 if labels is None else np.asarray(labels)
    return Dataset.from_arrays("numbers", "abc", (x, y), (x[:5], y[:5]), (x[5:9], y[5:9]), **options)


def order(stream: tf.data.Dataset) -> list[list[float]]:
    return [features[:, 0].tolist() for features, _ in stream.as_numpy_iterator()]


def test_every_epoch_has_its_own_order_of_all_examples():
    data = numbered(12)
    batches = order(data.stream(4, seed=0, first_epoch=0, epochs=2))
    first, second = np.concatenate(batches[:3]).tolist(), np.concatenate(batches[3:]).tolist()
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert order(data.stream(4, seed=1, first_epoch=0, epochs=1)) != batches[:3]


def test_a_stream_that_starts_at_a_later_epoch_equals_the_rest_of_a_whole_one():
    data = numbered(12)
    assert order(data.stream(4, 0, 1, 3)) == order(data.stream(4, 0, 0, 3))[3:]
    assert order(data.stream(4, 0, 3, 3)) == []


def test_training_batches_are_full():
    data = numbered(10)
    assert data.steps_per_epoch(4) == 2
    assert [len(batch) for batch in order(data.stream(4, 0, 0, 2))] == [4, 4, 4, 4]
    assert data.steps_per_epoch(64) == 1
    assert [len(batch) for batch in order(data.stream(64, 0, 0, 1))] == [10]


def test_augmentation_depends_only_on_seed_epoch_and_position():
    def noisy(features, label, seed):
        return features + tf.random.stateless_uniform((1,), seed), label

    data = numbered(12, augment=noisy)
    whole = order(data.stream(4, 0, 0, 2))
    assert order(data.stream(4, 0, 1, 2)) == whole[3:]
    assert whole != order(dataclasses.replace(data, augment=None).stream(4, 0, 0, 2))
    assert order(data.batches("validation", 5)) == [[0, 1, 2, 3, 4]]


def test_all_splits_are_decoded():
    data = numbered(12, decode=lambda x: x * 10)
    assert order(data.batches("test", 4)) == [[50, 60, 70, 80]]
    assert sorted(np.concatenate(order(data.stream(4, 0, 0, 1)))) == [10.0 * i for i in range(12)]


def test_labels_are_read_once_for_all_that_is_made_of_the_same_examples():
    known = numbered(12, augment=lambda features, label, seed: (features, label))
    assert known.prepared(augment=None).labels is known.labels
    data = dataclasses.replace(known, name="to be read")
    ten_times = data.prepared(decode=lambda x: x * 10, augment=None)
    assert ten_times.labels["test"].tolist() == data.labels["test"].tolist() == known.labels["test"].tolist()
    assert ten_times.labels is not data.labels
    assert data.prepared(augment=None).labels is data.labels
    assert order(ten_times.batches("test", 4)) == [[50, 60, 70, 80]]


@pytest.mark.parametrize(("labels", "wrong"), [([0, 1, 3] * 4, "label 3"), ([0, -1, 2] * 4, "label -1")])
def test_labels_out_of_range_are_refused(labels, wrong):
    match = f"numbers: the train split has the {wrong}, but there are 3 classes; labels must be 0 to 2"
    with pytest.raises(UserError, match=match):
        numbered(12, labels).size("train")


def test_arrays_of_different_length_are_refused():
    x = np.zeros((4, 1))
    with pytest.raises(UserError, match="4 examples but 3 labels; pass one label per example"):
        Dataset.from_arrays("bad", "ab", (x, np.zeros(3)), (x, np.zeros(4)), (x, np.zeros(4)))


def test_a_list_of_features_is_refused():
    pair = ([np.zeros((4, 1)), np.zeros((4, 2))], np.zeros(4))
    with pytest.raises(UserError, match="features are a list; pass one array, or a dict of arrays by input name"):
        Dataset.from_arrays("bad", "ab", pair, pair, pair)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda train: train.batch(4), "the train split yields .* unbatched"),
        (lambda train: train.repeat(), r"is infinite; limit it with \.take"),
        (lambda train: train.shuffle(12), "the train split has another order in each iteration"),
        (lambda train: train.map(lambda x, y: (x, {"y": y})), "with a scalar integer label"),
    ],
)
def test_unusable_splits_are_refused(change, message):
    data = numbered(12)
    with pytest.raises(UserError, match=message):
        dataclasses.replace(data, train=change(data.train)).size("train")


def test_data_for_evaluation_alone_cannot_train_but_show_what_they_are_like():
    data = numbered(12)
    alone = dataclasses.replace(data, train=data.train.take(0), validation=data.validation.take(0))
    assert (alone.size("train"), alone.size("test"), alone.inspected) == (0, 4, "test")
    with pytest.raises(UserError, match="numbers: the train split is empty, and at least one example is needed"):
        alone.stream(4, 0, 0, 1)
    with pytest.raises(UserError, match=r"has no training examples, .* give others as data\.calibration in a recipe"):
        alone.sample(2, 0)
    with pytest.raises(UserError, match="the test split is empty; it needs at least one example"):
        _ = dataclasses.replace(data, test=data.test.take(0)).labels


def test_examples_without_labels_are_sampled_where_there_are_no_training_examples():
    data = numbered(12, decode=lambda x: x * 10)
    others = tf.data.Dataset.from_tensor_slices(np.array([[7.0], [8.0], [9.0]], np.float32))
    alone = dataclasses.replace(data, train=data.train.take(0), unlabelled=others)
    assert sorted(alone.sample(8, 0)[:, 0].tolist()) == [70, 80, 90]
    assert alone.sample(2, 1).shape == (2, 1)
    assert dataclasses.replace(alone, train=data.train).sample(12, 0).max() == 110


def test_rare_classes_weigh_more_in_training_only():
    data = numbered(8, [0, 0, 0, 0, 0, 0, 1, 1], class_weights=True)
    _, labels, weights = next(data.stream(8, 0, 0, 1, weighted=True).as_numpy_iterator())
    np.testing.assert_allclose(weights, np.where(labels == 0, 8 / 2 / 6, 8 / 2 / 2))
    assert weights.mean() == pytest.approx(1)
    assert len(next(iter(data.stream(8, 0, 0, 1)))) == len(next(iter(data.batches("validation", 4)))) == 2
    assert data.describe()["class_weights"] is True
    with pytest.raises(UserError, match="class_weights is true, but the labels of the task regression are not one cla"):
        three_splits([1.0, 2.0], [0.5, 1.5], task=Regression(), class_weights=True)


def test_a_split_of_unknown_length_is_counted():
    data = numbered(12)
    assert dataclasses.replace(data, train=data.train.filter(lambda x, _: x[0] > 3)).size("train") == 8


def three_splits(features, labels, **options) -> Dataset:
    pair = (np.asarray(features), np.asarray(labels))
    return Dataset.from_arrays("some", options.pop("classes", ()), pair, pair, pair, **options)


@pytest.mark.parametrize(
    ("task", "classes", "labels", "type"),
    [
        (Multilabel(), "abc", [[0, 1, 1], [0, 0, 0]], np.float32),
        (Regression(), (), [0.5, -3], np.float32),
        (Embedding(), (), [4, 4], np.float32),
        (TokenClassification(("O", "B-X")), ("O", "B-X"), [[0, 1, IGNORED], [0, 0, 1]], np.int64),
        (OwnTask(lambda y, p: y), (), [[3, 5], [0, 9]], np.int64),
    ],
)
def test_labels_have_the_shape_and_type_of_the_task(task, classes, labels, type):
    data = three_splits([1.0, 2.0], labels, task=task, classes=classes)
    assert data.labels["test"].tolist() == labels
    assert data.labels["test"].dtype == type
    _, batch = next(data.batches("validation", 2).as_numpy_iterator())
    assert batch.tolist() == labels
    assert data.describe()["task"] == task.name


def test_classification_is_not_named_so_that_what_identifies_old_data_stays():
    assert "task" not in numbered(12).describe()


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (Multilabel(), [0, 1], r"the labels are int64 \(2,\); pass for each example numbers as label, 3 of them"),
        (Regression(), [[0.5], [1]], r"the labels are float64 \(2, 1\); pass for each example a scalar number label"),
        (TokenClassification(("O",)), [[0.5], [1]], "pass for each example integers as label, one for each token"),
    ],
)
def test_arrays_of_other_labels_are_refused_by_the_task(task, labels, message):
    with pytest.raises(UserError, match=message):
        three_splits([1.0, 2.0], labels, task=task, classes="abc")


def test_labels_are_aligned_with_what_decode_makes_of_the_features():
    def pieces(words):
        return tf.repeat(words, 2)[:4]

    def per_piece(words, labels):
        first = tf.stack([labels, tf.fill(tf.shape(labels), IGNORED)], axis=1)
        return tf.ensure_shape(tf.reshape(first, [-1])[:4], (4,))

    words, labels = tf.ragged.constant([["a", "b"], ["c", "d", "e"]]), tf.ragged.constant([[0, 1], [1, 1, 0]])
    split = tf.data.Dataset.from_tensor_slices((words, labels))
    task = TokenClassification(("O", "B-X"))
    data = Dataset("words", split, split, split, task.classes, task, decode=pieces, align=per_piece)
    assert data.labels["train"].tolist() == [[0, IGNORED, 1, IGNORED], [1, IGNORED, 1, IGNORED]]
    features, batch = next(data.batches("test", 2).as_numpy_iterator())
    assert features.tolist() == [[b"a", b"a", b"b", b"b"], [b"c", b"c", b"d", b"d"]]
    assert batch.tolist() == data.labels["train"].tolist()
    with pytest.raises(UserError, match=r"the train split: align makes .* of the labels; it must return integers"):
        _ = dataclasses.replace(data, align=lambda words, labels: tf.constant(0.5)).labels


def test_labels_of_different_lengths_without_align_are_refused():
    split = tf.data.Dataset.from_generator(
        lambda: iter([(0.0, [1]), (0.0, [1, 0])]),
        output_signature=(tf.TensorSpec(()), tf.TensorSpec((None,), tf.int32)),
    )
    data = Dataset("ragged", split, split, split, ("O", "B-X"), TokenClassification(("O", "B-X")))
    with pytest.raises(UserError, match="the train split has labels of different shapes"):
        _ = data.labels
