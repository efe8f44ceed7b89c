import pytest

from tests.fuzz.graphs import KINDS
from tests.fuzz.trial import outcome


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer .* was passed an input with a mask attached:UserWarning:keras")
@pytest.mark.parametrize("seed", range(2, 10))
def test_a_random_model_ends_right_or_in_one_line(seed, tmp_path):
    assert outcome(seed, tmp_path)


def test_models_are_drawn_from_at_least_30_kinds_of_layers():
    assert KINDS >= 30
