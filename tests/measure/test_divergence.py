import numpy as np
import pytest

from tfcompress.measure.divergence import Mean, are_class_scores, are_probabilities, cosine, divergence
from tfcompress.measure.interpreter import Port

P = np.float32([[0.5, 0.25, 0.25], [0.9, 0.05, 0.05]])
Q = np.float32([[0.25, 0.5, 0.25], [0.9, 0.05, 0.05]])


def test_the_divergence_is_in_nats_and_not_symmetric():
    assert divergence(Q, P) == pytest.approx([0.25 * np.log(2), 0], abs=1e-7)
    narrow = np.float32([[0.98, 0.01, 0.01]])
    wide = np.full((1, 3), 1 / 3, np.float32)
    assert divergence(wide, narrow) == pytest.approx([0.98 * np.log(2.94) + 0.02 * np.log(0.03)], abs=1e-6)
    assert divergence(narrow, wide) > 1.2 * divergence(wide, narrow)


def test_logits_are_compared_as_their_softmax():
    assert divergence(np.log(Q) - 7, np.log(P) + 3) == pytest.approx(divergence(Q, P), abs=1e-6)
    assert divergence(np.log(Q), P) == pytest.approx(divergence(Q, P), abs=1e-6)


def test_a_probability_of_zero_costs_much_but_not_everything():
    one = np.float32([[1, 0, 0]])
    assert divergence(one, one) == pytest.approx([0])
    assert 3 < divergence(one, np.float32([[0.7, 0.3, 0]]))[0] < 5


@pytest.mark.parametrize(
    ("outputs", "step", "expected"),
    [
        (P, 0, True),
        (np.log(P), 0, False),
        (P * 1.1, 0, False),
        (np.full((2, 1000), 1 / 1024, np.float32), 1 / 256, True),
        (np.zeros((2, 10), np.float32), 1 / 256, False),
        (np.ones((2, 1), np.float32), 0, False),
        (np.full((2, 4, 2), 0.5, np.float32), 0, False),
    ],
)
def test_probabilities_are_told_by_their_sum(outputs, step, expected):
    assert are_probabilities(outputs, step) is expected


@pytest.mark.parametrize(
    ("name", "other", "classes", "expected"),
    [("a", P, False, True), ("a", P * 2, False, False), ("logits", P * 2, False, True), ("a", P * 2, True, True)],
)
def test_class_scores_are_told_by_classes_by_their_name_or_as_probabilities(name, other, classes, expected):
    ports = (Port(one, 0, (1, 3), np.dtype(np.float32), 0.0, 0, False) for one in ("b", name))
    assert are_class_scores(zip(ports, (P, other), strict=True), classes) is expected


def test_the_cosine_of_embeddings_knows_no_length():
    a = np.float32([[[1, 0], [0, 2]], [[1, 1], [0, 0]]])
    b = np.float32([[[3, 0], [2, 0]], [[-2, -2], [0, 0]]])
    assert cosine(b, a) == pytest.approx([0.5, 0])
    mask = np.array([[True, False], [True, True]])
    assert cosine(b, a, mask) == pytest.approx([1, 0])
    assert cosine(b, a, np.zeros((2, 2), bool)) == pytest.approx([0.5, 0])
    assert cosine(a[:, 0], b[:, 0]) == pytest.approx([1, -1])
    assert cosine(np.float32([[0, 0]]), np.float32([[1, 0]])) == [0]


def test_a_mean_has_an_interval_that_is_the_same_again():
    values = np.random.default_rng(1).exponential(size=400)
    mean = Mean.of(values)
    assert mean == Mean.of(values)
    error = 1.96 * values.std() / 20
    assert (mean.low, mean.high) == pytest.approx((mean.value - error, mean.value + error), abs=0.02)
    assert Mean.of(np.zeros(5)) == Mean(0, 0, 0)
    assert Mean.of(values[:1]) == Mean(values[0], None, None)
