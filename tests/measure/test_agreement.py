import numpy as np
import pytest

from tfcompress.errors import UserError
from tfcompress.measure.agreement import agreement, compare_models


def test_the_same_top1_is_a_share_of_scores_and_of_nothing_else():
    expected = np.array([[0, 1, 0], [1, 0, 0]], np.float32)
    found = expected + np.float32([[0, 0, 2], [0, 0, 0]])
    assert agreement(found, expected).top1_agreement == 0.5
    for shape in ((6,), (6, 1)):
        alone = agreement(found.reshape(shape), expected.reshape(shape))
        assert (alone.top1_agreement, alone.largest_difference) == (None, 2)


def test_equal_infinities_do_not_differ():
    infinite = np.float32([[np.inf, -np.inf, 1]])
    assert agreement(infinite, infinite).largest_difference == 0
    assert agreement(infinite, -infinite).largest_difference == np.inf


@pytest.mark.parametrize(
    ("found", "same"), [([0.1, 0.9], 1), ([[0.1, 0.9], [0.6, 0.4]], 0), ([0.9], None), (0.9, None), ([], None)]
)
def test_the_top1_of_one_example_is_the_same_or_not_or_there_is_no_choice(found, same):
    found = np.float32(found)
    expected = np.zeros_like(found)
    if same is not None:
        expected[..., 1] = 1
    difference = compare_models(lambda _: {"y": found}, lambda _: {"y": expected}, [np.zeros(1)], "y")
    assert (difference.examples, difference.same_top1, difference.finite) == (1, same, True)


def test_two_models_are_compared_in_all_outputs_whatever_their_names():
    def before(x):
        return {"scores": np.float32([x[0], 1 - x[0]]), "other": np.float32([2, 3])}

    def model(x):
        return {"a": np.float32([0.25, 0.75]), "b": np.float32([2, 3.5])}

    examples = [np.float32([value]) for value in (0.25, 0.5, 0.75)]
    difference = compare_models(model, before, examples, "a")
    assert (difference.examples, difference.same_top1) == (3, 1)
    assert (difference.largest_difference, difference.largest_output) == (0.5, 3)
    broken = compare_models(lambda _: {"a": np.float32([np.nan])}, lambda _: {"a": np.float32([1])}, examples, "a")
    assert not broken.finite


def test_models_with_other_outputs_cannot_be_compared():
    for other in ({"y": np.zeros(3, np.float32)}, {"y": np.zeros(2, np.float32), "z": np.float32(0)}):
        with pytest.raises(UserError, match=r"it gives y \(2,\), but the model that it was made from gives y \("):
            compare_models(lambda _: {"y": np.zeros(2, np.float32)}, lambda _, other=other: other, [np.zeros(1)], "y")
