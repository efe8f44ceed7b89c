import numpy as np
import pytest

from tfcompress.measure.accuracy import accuracy, flips


def test_the_wilson_interval_is_the_textbooks():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263, method 3.
    found = accuracy(np.arange(263) < 81)
    assert (found.correct, found.examples) == (81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


def test_all_correct_still_has_an_interval():
    found = accuracy(np.ones(100, bool))
    assert found.top1 == found.high == 1
    assert 0.95 < found.low < 0.97


def test_flips_are_paired_and_tested_exactly():
    before = np.array([True] * 10 + [False] * 10)
    after = before.copy()
    after[:6] = False
    after[10] = True
    found = flips(before, after)
    assert (found.lost, found.gained) == (6, 1)
    # Two-sided sign test: 2 * (C(7,0) + C(7,1)) / 2**7.
    assert found.p_value == pytest.approx(2 * 8 / 128)


def test_no_flips_are_no_evidence():
    assert flips(np.ones(5, bool), np.ones(5, bool)).p_value == 1
