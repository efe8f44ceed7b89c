import pytest

from tfcompress.data.splits import ALL_TEST, Fractions, completed, divided, split_named
from tfcompress.errors import UserError

PICTURES = sorted(f"{kind}{number}" for kind in "ab" for number in range(20))


def filled(parts, fractions=None):
    found = completed(parts, lambda one: one[0], fractions, "the folder", "pictures")
    return {split: sorted(part) for split, part in found.items()}


@pytest.mark.parametrize(
    ("count", "fractions", "sizes"),
    [
        (20, Fractions(), (14, 3, 3)),
        (3, Fractions(), (1, 1, 1)),
        (3, Fractions(validation=0.5, test=0.5), (0, 1, 2)),
        (3, Fractions(validation=0.4, test=0.4), (1, 1, 1)),
        (20, Fractions(validation=0.2, test=0), (16, 4, 0)),
        (2, Fractions(validation=0, test=0.5), (1, 0, 1)),
        (1, ALL_TEST, (0, 0, 1)),
    ],
)
def test_each_group_is_divided_by_the_fractions(count, fractions, sizes):
    groups = {kind: [f"{kind}{number}" for number in range(count)] for kind in "ab"}
    parts = divided(groups, fractions, "pictures")
    for kind, group in groups.items():
        own = {split: [one for one in part if one.startswith(kind)] for split, part in parts.items()}
        assert tuple(map(len, own.values())) == sizes
        assert sorted(one for part in own.values() for one in part) == sorted(group)
    assert parts == divided(groups, fractions, "pictures")


def test_groups_are_mixed_within_a_split():
    parts = divided({kind: [kind] * 40 for kind in "ab"}, Fractions(), "pictures")
    for part in parts.values():
        assert {"a", "b"} == set(part[:6])


def test_too_small_groups_are_refused():
    with pytest.raises(UserError, match="b has 2 pictures; at least three are needed, one per split; add some, or"):
        divided({"a": [1, 2, 3], "b": [1, 2]}, Fractions(), "pictures")


def test_all_three_splits_stay_as_they_are():
    parts = {"train": ["a1", "b2"], "validation": ["a3"], "test": ["b4", "b5"]}
    assert filled(parts) == parts
    with pytest.raises(UserError, match=r"the folder has its own train, validation and test; leave out data\.split"):
        filled(parts, Fractions(test=0.3))


def test_what_is_not_trained_on_judges_the_result(capsys):
    found = filled({"train": PICTURES, "validation": ["a", "b"]})
    assert found["test"] == ["a", "b"]
    assert {split: len(part) for split, part in found.items()} == {"train": 34, "validation": 6, "test": 2}
    assert sorted(found["train"] + found["validation"]) == PICTURES
    assert "has no test split: its validation split judges the result, and 15 % of" in capsys.readouterr().err
    found = filled({"train": PICTURES, "validation": ["a", "b"]}, Fractions(validation=0.5))
    assert len(found["validation"]) == 20


def test_a_missing_validation_split_is_taken_from_training(capsys):
    found = filled({"train": PICTURES, "test": ["a", "b"]})
    assert {split: len(part) for split, part in found.items()} == {"train": 34, "validation": 6, "test": 2}
    assert "has no validation split: 15 % of its training examples are for it" in capsys.readouterr().err


def test_training_examples_alone_are_divided():
    found = filled({"train": PICTURES})
    assert {split: len(part) for split, part in found.items()} == {"train": 28, "validation": 6, "test": 6}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_without_training_examples_all_is_for_evaluation(split):
    assert filled({split: PICTURES}) == {"train": [], "validation": [], "test": PICTURES}
    with pytest.raises(
        UserError, match=r"has no train split, of which a share could be held out; leave out data\.split"
    ):
        filled({split: PICTURES}, Fractions(validation=0.2))
    assert filled({"validation": ["a"], "test": ["b"]}) == {"train": [], "validation": ["a"], "test": ["b"]}


def test_any_data_can_be_for_evaluation_only():
    assert filled({"train": ["a"], "test": ["b"]}, ALL_TEST) == {"train": [], "validation": [], "test": ["a", "b"]}


def test_usual_names_of_splits_are_known():
    names = ("train", "Training", "val", "valid", "VALIDATION", "dev", "test", "cat")
    assert [split_named(name) for name in names] == ["train"] * 2 + ["validation"] * 4 + ["test", None]
