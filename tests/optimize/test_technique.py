import pytest

from tfcompress.errors import UserError
from tfcompress.optimize.technique import ORDER, check_order


@pytest.mark.parametrize("names", [[], ["prune"], ["cluster", "quantize"], list(ORDER)])
def test_any_subset_in_order_is_legal(names):
    check_order(names)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["cluster", "prune"], "prune cannot follow cluster: it would undo what cluster established"),
        (["prune", "prune"], "it would be done twice"),
        (["quantize", "cluster"], "a quantized model goes to export only"),
        (["quantize", "quantize"], "a quantized model goes to export only"),
        (["distil"], "unknown technique 'distil'; the techniques are prune, cluster, quantize"),
    ],
)
def test_another_order_is_refused_with_the_reason(names, reason):
    with pytest.raises(UserError, match=reason):
        check_order(names)
