import pytest

from tfcompress.errors import UserError
from tfcompress.labels import are_placeholders, places, places_of_some


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (("positive", "negative"), ("negative", "positive"), (1, 0)),
        (("Ankle boot", "T_SHIRT"), ("t-shirt", "ankle_boot"), (1, 0)),
        (("Straße", "Cafe\u0301"), ("café", "STRASSE"), (1, 0)),
        (("a", "A"), ("A", "a"), (1, 0)),
        (("crane", "crane", "Dog"), ("crane", "crane", "dog"), (0, 1, 2)),
        (("LABEL_0", "LABEL_1"), ("negative", "positive"), (0, 1)),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("0", "2", "1"), (0, 2, 1)),
        (("LABEL_0", "LABEL_1"), ("LABEL_1", "LABEL_0"), (1, 0)),
    ],
)
def test_labels_are_matched_by_name(labels, classes, expected):
    assert places(labels, classes, "model", "data", "rename them") == expected


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (("positive", "negative"), ("bad", "good"), "model names its classes positive, negative, but data has bad, go"),
        (("positive", "negative"), ("0", "1"), "positive, negative, but data has 0, 1; rename them"),
        (("a", "a"), ("a", "b"), "names its classes a, a, but data has a, b"),
        (("b", "A", "a"), ("a", "_a", "b"), "names the class 'A' twice"),
        ([str(i) for i in range(40)], [str(i) for i in range(1, 41)], "10, 11 and 28 more, but data has 1, 2, .* more"),
    ],
)
def test_labels_that_do_not_match_are_refused_with_both_lists(labels, classes, message):
    with pytest.raises(UserError, match=message):
        places(labels, classes, "model", "data", "rename them")


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (("n01", "n02", "n03"), ("n03", "n01"), (2, 0)),
        (("a", "A", "b"), ("A", "b"), (1, 2)),
        (("Ankle boot", "crane", "crane", "T_SHIRT"), ("t-shirt", "ankle_boot"), (3, 0)),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("2", "0"), (2, 0)),
        (("LABEL_0", "LABEL_1"), ("LABEL_1",), (1,)),
    ],
)
def test_some_classes_are_found_among_the_labels(labels, classes, expected):
    assert places_of_some(labels, classes, "model", "data", "rename them") == expected


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (("a", "b"), ("a", "c"), "model names its classes a, b, but data has a, c, of which c is not among them; re"),
        (("LABEL_0", "LABEL_1"), ("cat", "dog"), "has cat, dog, of which cat, dog are not among them"),
        (("crane", "crane", "dog"), ("crane", "dog"), "model names 2 classes 'crane', so data cannot be judged"),
    ],
)
def test_classes_that_are_not_among_the_labels_are_refused(labels, classes, message):
    with pytest.raises(UserError, match=message):
        places_of_some(labels, classes, "model", "data", "rename them")


def test_only_numbered_labels_are_placeholders():
    assert are_placeholders(("LABEL_0", "LABEL_10"))
    assert not are_placeholders(("LABEL_0", "LABEL_x"))
