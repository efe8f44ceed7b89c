import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, f1_score, top_k_accuracy_score

from tfcompress.answers import IGNORED
from tfcompress.data.tasks import (
    Classification,
    Embedding,
    Multilabel,
    OwnTask,
    Regression,
    TokenClassification,
    entities,
)
from tfcompress.errors import UserError
from tfcompress.measure.quality import quality

RNG = np.random.default_rng(24)


def figures(task, labels, outputs) -> dict[str, float]:
    return {metric.name: metric.summary(metric.scores(labels, outputs)) for metric in task.metrics(labels)}


def test_classes_are_judged_as_scikit_learn_does():
    labels = np.concatenate([np.arange(100), np.zeros(60, int)])
    scores = RNG.random((160, 100)) + 0.8 * np.eye(100)[labels]
    assert figures(Classification(), labels, scores) == pytest.approx(
        {
            "top-1": top_k_accuracy_score(labels, scores, k=1),
            "top-5": top_k_accuracy_score(labels, scores, k=5),
            "macro F1": f1_score(labels, scores.argmax(1), average="macro"),
        }
    )
    few = np.array([0, 0, 1, 1, 1])
    assert list(figures(Classification(), few, np.eye(2)[few])) == ["top-1"]


def test_several_labels_are_judged_as_scikit_learn_does():
    labels = (RNG.random((50, 4)) < 0.3).astype(np.float32)
    outputs = np.round(0.7 * RNG.random((50, 4)) + 0.25 * labels, 1).astype(np.float32)  # with ties
    found = figures(Multilabel(), labels, outputs)
    assert found["exact match"] == ((outputs >= 0.5) == labels).all(1).mean() > 0
    assert found["mAP"] == pytest.approx(average_precision_score(labels, outputs))
    none_of_one = np.pad(labels, [(0, 0), (0, 1)])
    assert figures(Multilabel(), none_of_one, np.pad(outputs, [(0, 0), (0, 1)]))["mAP"] == found["mAP"]


def test_numbers_are_judged_as_scipy_does():
    labels = RNG.normal(size=40)
    outputs = (labels + RNG.normal(size=40))[:, None]
    found = figures(Regression(), labels, outputs)
    assert found["MAE"] == pytest.approx(np.abs(outputs[:, 0] - labels).mean())
    assert found["Pearson"] == pytest.approx(np.corrcoef(labels, outputs[:, 0])[0, 1])
    assert found["Spearman"] == pytest.approx(spearmanr(labels, outputs[:, 0]).statistic)
    assert figures(Regression(), labels, np.ones((40, 1)))["Spearman"] == 0


def test_pairs_are_judged_by_the_ranks_of_their_cosines():
    first, second = RNG.normal(size=(2, 30, 6))
    likeness = RNG.integers(0, 6, 30).astype(float)
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(first, second, strict=True)]
    embeddings = np.stack([first, second], axis=1).reshape(60, 6)
    (metric,) = Embedding().metrics(np.repeat(likeness, 2))
    found = quality(metric, metric.scores(np.repeat(likeness, 2), embeddings))
    assert found.value == pytest.approx(spearmanr(likeness, cosines).statistic)
    assert (found.cases, found.case) == (30, "pair")


def test_entities_are_judged_as_seqeval_does():
    classes = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    rng = np.random.default_rng(24)
    truth = rng.integers(0, 5, (60, 12))
    answer = np.where(rng.random((60, 12)) < 0.35, rng.integers(0, 5, (60, 12)), truth)
    judged = np.arange(12) < rng.integers(1, 13, 60)[:, None]
    labels, outputs = np.where(judged, truth, IGNORED), np.eye(5)[answer]
    found = figures(TokenClassification(classes), labels, outputs)
    # seqeval 1.2.2, f1_score of the same tags in its default mode.
    assert found["entity F1"] == pytest.approx(0.6565464895635673, abs=1e-12)
    assert found["token accuracy"] == pytest.approx((truth == answer)[judged].mean())
    assert list(figures(TokenClassification(("noun", "verb")), labels % 2, outputs)) == ["token accuracy"]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O", set()),
        ("B-PER I-PER B-PER", {("PER", 0, 2), ("PER", 2, 3)}),
        ("O I-PER I-LOC", {("PER", 1, 2), ("LOC", 2, 3)}),
        ("B-PER I-LOC I-LOC O", {("PER", 0, 1), ("LOC", 1, 3)}),
    ],
)
def test_an_entity_begins_and_ends_where_conll_says(tags, expected):
    assert entities(tags.split()) == expected


def test_ones_own_score_is_a_mean():
    task = OwnTask(lambda y, outputs: np.abs(outputs["start"] - y), "distance", higher_is_better=False)
    (metric,) = task.metrics(np.zeros(2))
    found = quality(metric, metric.scores(np.array([1, 2]), {"start": np.array([2, 4])}))
    assert (found.metric, found.value, found.higher_is_better, found.percent) == ("distance", 1.5, False, False)


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (Classification(), [0, 3], "the label 3, but there are 3 classes; labels must be 0 to 2"),
        (Multilabel(), [[0, 1, 2]], r"labels of the shape \(3,\) from 0 to 2; .* a 0 or 1 for each of the 3 classes"),
        (Regression(), [0.5, np.inf], "labels that are not finite numbers"),
        (Embedding(), [1, 1, 2], "does not hold pairs with one finite score each"),
        (Embedding(), [1, 2], "does not hold pairs with one finite score each"),
        (
            TokenClassification(("a", "b")),
            [[0, 3]],
            r"labels of the shape \(2,\) from 0 to 3; tokens takes one of 0 to 2",
        ),
    ],
)
def test_labels_of_another_kind_are_refused(task, labels, message):
    with pytest.raises(UserError, match=rf"^data has .*{message}|^data {message}"):
        task.check(np.array(labels), ("x", "y", "z"), "data")
