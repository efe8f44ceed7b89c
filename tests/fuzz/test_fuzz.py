import pytest

from tests.fuzz.graphs import KINDS
from tests.fuzz.trial import outcome

SEEDS = (6, 14, 15, 22, 27, 33, 90, 101)
"""Small models of both Keras, on pictures, sequences and tokens, that together have 29 kinds of layers."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask attached:UserWarning:keras")
@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_model_ends_right_or_in_one_line(seed, tmp_path):
    assert outcome(seed, tmp_path)


def test_models_are_drawn_from_at_least_30_kinds_of_layers():
    assert KINDS >= 30
