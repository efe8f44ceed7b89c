import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.vit import vit
from tfcompress.one_hot import OneHotLoss, OneHotMetric, fresh, loss_of_labels, metric_of_labels
from tfcompress.training import Objective, Training, fit

from .tiny import TINY

losses, metrics = tf_keras.losses, tf_keras.metrics

LABELS = np.array([[2], [0], [1], [1]], np.int32)
PREDICTIONS = np.array([[0.1, 0.2, 0.7], [0.5, 0.1, 0.4], [0.3, 0.4, 0.3], [0.6, 0.3, 0.1]], np.float32)

ONE_HOT_LOSSES = [
    losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    losses.CategoricalFocalCrossentropy(),
    losses.BinaryCrossentropy(label_smoothing=0.1),
    losses.BinaryFocalCrossentropy(),
    losses.CategoricalHinge(),
    losses.KLDivergence(),
    losses.MeanSquaredError(),
    losses.CosineSimilarity(),
]
ONE_HOT_METRICS = [
    metrics.CategoricalAccuracy(),
    metrics.TopKCategoricalAccuracy(k=2),
    metrics.AUC(),
    metrics.F1Score(average="macro"),
    metrics.Precision(class_id=1),
    metrics.CategoricalCrossentropy(label_smoothing=0.1),
]


class Gathered(losses.Loss):
    """Takes integer labels; one-hot vectors give no error, but nonsense."""

    def call(self, y_true, y_pred):
        return -tf.math.log(tf.gather(y_pred, tf.cast(y_true, tf.int32), batch_dims=1))


def of_class(kinds):
    return pytest.mark.parametrize("given", kinds, ids=lambda given: type(given).__name__)


@pytest.mark.parametrize("classes", [2, 3, 1000])
@of_class(ONE_HOT_LOSSES)
def test_a_loss_of_one_hot_vectors_takes_labels(given, classes):
    loss = loss_of_labels(given, classes)
    assert isinstance(loss, OneHotLoss)
    if classes == 3:
        expected = given(np.eye(3, dtype=np.float32)[LABELS[:, 0]], PREDICTIONS)
        np.testing.assert_allclose(loss(LABELS, PREDICTIONS), expected)
        np.testing.assert_allclose(loss(LABELS[:, 0], PREDICTIONS), expected)
        assert loss.reduction == given.reduction


@pytest.mark.parametrize("classes", [2, 3, 1000])
@of_class([losses.SparseCategoricalCrossentropy(), Gathered()])
def test_a_loss_of_labels_stays(given, classes):
    assert loss_of_labels(given, classes) is given


@pytest.mark.parametrize("classes", [2, 3, 1000])
@of_class(ONE_HOT_METRICS)
def test_a_metric_of_one_hot_vectors_takes_labels(given, classes):
    metric = metric_of_labels(given, classes)
    assert isinstance(metric, OneHotMetric)
    if classes == 3:
        copy, vectors = fresh(metric), np.eye(3, dtype=np.float32)[LABELS[:, 0]]
        for part in (slice(None), slice(2)):
            copy.reset_state()
            given.reset_state()
            copy.update_state(LABELS[part], PREDICTIONS[part])
            given.update_state(vectors[part], PREDICTIONS[part])
            np.testing.assert_allclose(copy.result(), given.result())


def test_metrics_of_labels_stay_and_names_are_found():
    top = metrics.SparseTopKCategoricalAccuracy(2)
    assert metric_of_labels(top, 3) is top
    assert metric_of_labels("accuracy", 3) == "accuracy"
    assert isinstance(metric_of_labels("categorical_accuracy", 3), OneHotMetric)
    assert metric_of_labels("categorical_accuracy", 3).name == "categorical_accuracy"
    assert isinstance(metric_of_labels("sparse_categorical_accuracy", 3), metrics.MeanMetricWrapper)


class Backwards(losses.Loss):
    def call(self, y_true, y_pred):
        return tf.gather(y_pred, tf.reshape(tf.cast(y_true, tf.int32), [-1]), axis=1)


class OfPairs(losses.Loss):
    def call(self, y_true, y_pred):
        first, second = y_true[:, 0, 0], y_true[:, 0, 1]
        raise AssertionError(first, second)


class NoConfig(metrics.Mean):
    def __init__(self, what):
        super().__init__()


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (Objective(OfPairs()), r"loss: OfPairs takes neither integer labels \(.*\) nor one-hot vectors of 5 classes"),
        (Objective(Backwards()), r"neither integer labels \(wrong answers do not cost more\) nor one-hot vectors of 5"),
        (Objective(metrics=[metrics.F1Score()]), r"metrics: F1Score gives 5 numbers; .* average='macro'"),
        (Objective(metrics=["acuracy"]), r"metrics: 'acuracy' is not the name of a metric in tf_keras\.metrics"),
        (Objective(metrics=[NoConfig("x")]), r"metrics: NoConfig cannot be copied, .* give it a get_config"),
    ],
)  # fmt: skip
def test_what_fits_no_labels_is_refused_in_one_line(objective, message):
    with pytest.raises(UserError, match=message) as refused:
        objective.of_labels(5)
    assert "\n" not in str(refused.value)


def test_an_optimizer_that_cannot_be_copied_is_refused():
    class Halving(tf_keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1

        def get_config(self):
            return {}

    with pytest.raises(UserError, match=r"optimizer: SGD cannot be copied, .* with .*register_keras_serializable"):
        Objective(optimizer=tf_keras.optimizers.SGD(Halving())).of_labels(3)


def test_training_with_label_smoothing_lowers_the_loss_and_reports_all_metrics(tiny_data, tmp_path):
    given = Objective(
        losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        metrics=[
            "accuracy",
            metrics.CategoricalAccuracy(),
            metrics.AUC(from_logits=True, name="auc"),
            metrics.F1Score("macro"),
        ],
    )
    training = Training(epochs=3, batch_size=16, learning_rate=3e-3)
    rows = fit(vit(TINY, 10), tiny_data, training, given.of_labels(10), 0, tmp_path)
    assert rows[-1]["loss"] < rows[0]["loss"]
    for row in rows:
        assert row["accuracy"] == row["categorical_accuracy"]
        assert 0 <= row["val_f1_score"] <= 1
        assert 0 < row["auc"] <= 1
