import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.answers import IGNORED
from tfcompress.models.outputs import Outputs

LOGITS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
OF_SEVERAL = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]], np.float32)


@pytest.mark.parametrize(
    ("kind", "outputs"), [(Outputs.INDEPENDENT_LOGITS, LOGITS), (Outputs.INDEPENDENT, tf.sigmoid(LOGITS))]
)
def test_labels_of_several_classes_at_once(kind, outputs):
    expected = tf_keras.losses.BinaryCrossentropy(from_logits=True)(OF_SEVERAL, LOGITS)
    np.testing.assert_allclose(kind.loss()(OF_SEVERAL, outputs), expected, rtol=1e-5)
    metric = kind.metric()
    metric.update_state(tf.constant(OF_SEVERAL), tf.constant(outputs))
    np.testing.assert_allclose(metric.result(), ((LOGITS >= 0) == (OF_SEVERAL > 0)).mean())


@pytest.mark.parametrize("labels", [np.array([0, 1, 1, 0]), np.array([[0], [1], [1], [0]])])
def test_one_output_is_the_second_of_two_classes(labels):
    outputs = LOGITS[:, :1]
    expected = tf_keras.losses.BinaryCrossentropy(from_logits=True)(labels.reshape(-1, 1), outputs)
    np.testing.assert_allclose(Outputs.INDEPENDENT_LOGITS.loss()(labels, outputs), expected, rtol=1e-6)


def test_ignored_tokens_weigh_nothing():
    outputs = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    labels = np.array([[0, IGNORED, 2, IGNORED], [IGNORED, IGNORED, IGNORED, 1]])
    judged = labels != IGNORED
    expected = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels[judged], outputs[judged])
    np.testing.assert_allclose(Outputs.LOGITS.loss()(labels, outputs), expected, rtol=1e-6)
    metric = Outputs.LOGITS.metric()
    metric.update_state(tf.constant(labels), tf.constant(outputs))
    np.testing.assert_allclose(metric.result(), (outputs.argmax(-1) == labels)[judged].mean())


def test_numbers_are_compared_one_by_one():
    labels, outputs = np.array([1.0, 2.0, 4.0], np.float32), np.array([[1.0], [1.0], [1.0]], np.float32)
    assert float(Outputs.NUMBERS.loss()(labels, outputs)) == pytest.approx(10 / 3)
    assert Outputs.NUMBERS.loss().call(labels, outputs).numpy().tolist() == [0, 1, 9]
