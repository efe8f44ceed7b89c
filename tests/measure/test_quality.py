import warnings

import numpy as np
import pytest
from scipy.stats import norm

from tfcompress.errors import UserError
from tfcompress.measure.quality import TOP1, Metric, change, judge, p_value_of_guessing, quality

ERROR = Metric("MAE", lambda y, p: np.abs(p[:, 0] - y), higher_is_better=False, percent=False)


def test_the_wilson_interval_is_the_textbooks():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, method 3.
    found = quality(TOP1, np.arange(263) < 81)
    assert (found.metric, found.value, found.cases) == ("top-1", 81 / 263, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    assert str(found) == "30.80% (25.5%-36.6%)"


def test_all_right_still_has_an_interval():
    found = quality(TOP1, np.ones(100, bool))
    assert found.value == found.high == 1
    assert 0.95 < found.low < 0.97


def test_the_interval_of_a_mean_is_nearly_that_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = quality(ERROR, values)
    reach = norm.ppf(0.975) * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((found.value - reach, found.value + reach), abs=0.1 * reach)
    assert str(found) == f"{found.value:.4g} ({found.low:.3g} to {found.high:.3g})"


def test_answers_lost_and_gained_are_paired_and_tested_exactly():
    before = np.array([True] * 10 + [False] * 10)
    after = before.copy()
    after[:6] = False
    after[10] = True
    found = change(TOP1, before, after)
    assert (found.lost, found.gained, found.difference) == (6, 1, -0.25)
    # Two-sided sign test: 2 * (C(7,0) + C(7,1)) / 2**7.
    assert found.p_value == pytest.approx(2 * 8 / 128)
    assert found.low < found.difference < found.high
    assert str(found) == "6/1 (0.12)"


def test_no_change_is_no_evidence():
    found = change(TOP1, np.ones(5, bool), np.ones(5, bool))
    assert (found.p_value, found.difference, found.low, found.high) == (1, 0, 0, 0)


def test_a_change_is_paired_by_case():
    before = np.random.default_rng(0).normal(3, 2, 400)
    after = before + np.random.default_rng(1).normal(0.1, 0.1, 400)
    found = change(ERROR, before, after)
    alone = quality(ERROR, after)
    assert found.lost is found.gained is found.p_value is None
    assert found.difference == pytest.approx((after - before).mean())
    assert found.high - found.low < (alone.high - alone.low) / 10
    assert str(found) == f"{found.difference:+.3g} ({found.low:+.3g} to {found.high:+.3g})"
    points = change(Metric("share", ERROR.scores), before, after)
    assert str(points).startswith(f"{100 * found.difference:+.2f} (+")


def test_scores_that_are_no_numbers_have_no_interval():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = quality(ERROR, np.array([1.0, np.nan]))
    assert np.isnan([found.value, found.low, found.high]).all()


def test_one_score_may_mean_two_classes():
    (found,) = judge([TOP1], np.array([0, 1, 1]), np.array([[0.4], [0.5], [0.3]]), "file")
    assert found.tolist() == [True, True, False]
    (of_logits,) = judge([TOP1], np.array([0, 1, 1]), np.array([[-0.4], [0.2], [-0.3]]), "file")
    assert of_logits.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        (
            [0, 10],
            np.zeros((2, 10)),
            r"a gives outputs of shape \(10,\) per example, from which top-1 cannot be found: ",
        ),
        ([0, 2], np.zeros((2, 1)), r"shape \(1,\) .* labels go up to 2, and there must be one score per class; give"),
        ([0, 0], np.zeros((2, 3, 4)), r"shape \(3, 4\)"),
        ([0, 0], {"x": np.zeros((2, 3))}, r"shape \{'x': \(3,\)\}"),
    ],
)
def test_outputs_that_cannot_be_judged_are_refused(labels, outputs, message):
    with pytest.raises(UserError, match=message):
        judge([TOP1], np.array(labels), outputs, "a")


def test_guessing_is_as_good_as_the_most_frequent_label():
    labels = np.array([0] * 6 + [1] * 4)
    # 10 of 10 with a share of .6 each.
    assert p_value_of_guessing(np.ones(10, bool), labels) == pytest.approx(0.6**10)
    several = np.array([[0, 1]] * 6 + [[1, 1]] * 3 + [[0, 0]])
    assert p_value_of_guessing(np.ones(10, bool), several) == pytest.approx(0.6**10)
