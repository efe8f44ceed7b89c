"""Chains of techniques on kernels with zeros or few values that no technique made."""

import pytest

from tfcompress.export.converter import convert
from tfcompress.export.verify import verify
from tfcompress.optimize.clustering import Cluster
from tfcompress.optimize.pruning import Prune
from tfcompress.optimize.quantization import Quantize
from tfcompress.traits import kernels

from ..apply import apply

FIT = {"epochs": 1, "batch_size": 64, "learning_rate": 1e-2}


@pytest.mark.parametrize(
    "chain",
    [
        [Quantize(fit=FIT)],
        [
            Prune(fit=FIT, layers={"tenth_zero": False, "two_values": False}),
            Cluster(clusters=16, fit=FIT, layers={"all_zero": False}),
            Quantize(fit=FIT),
        ],
    ],
    ids=lambda chain: "-".join(technique.name for technique in chain),
)
def test_no_kernel_ends_a_chain(stack_of_kernels, tiny_data, tmp_path, chain):
    model, traits = stack_of_kernels, None
    for technique in chain:
        model, traits = apply(technique, model, tiny_data, tmp_path, traits)
    found = {tensor.layer: tensor for tensor in verify(convert(model, "int8"), model, traits, "int8")}
    assert set(found) == set(kernels(stack_of_kernels))
    assert {tensor.format for tensor in found.values()} == {"int8"}
    assert found["mostly_zero"].sparsity >= 0.75
    assert found["tenth_zero"].sparsity >= 0.1
    assert found["two_values"].distinct <= 16
