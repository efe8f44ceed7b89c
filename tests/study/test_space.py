import pytest

from tfcompress.errors import UserError
from tfcompress.settings import parse_yaml
from tfcompress.study.mean_bits import WIDTHS, LayerTable
from tfcompress.study.space import Space
from tfcompress.study.stopping import is_poor

START = "data: {name: digits}\nmodel: {preset: vit_digits}\ntechniques:\n"


def space(steps: str, more: str = "") -> Space:
    return Space(parse_yaml(START + steps + more, "own.yaml"), "own.yaml")


def test_chosen_values_take_their_places():
    found = space(
        "- {present: {search: [false, true]}, prune: {sparsity: {search: {low: 0, high: 0.7}}}}\n"
        "- cluster: {clusters: {search: [16, 32]}, layers: {head: {clusters: {search: {low: 8, high: 64}}}}}\n"
    )
    names = [
        "techniques[0].present",
        "techniques[0].prune.sparsity",
        "techniques[1].cluster.clusters",
        "techniques[1].cluster.layers.head.clusters",
    ]
    assert list(found.parameters) == names
    values = dict(zip(names, [True, 0.123456, 32, 40], strict=True))
    prune, cluster = (step.technique for step in found.recipe(values).techniques)
    assert (prune.sparsity, cluster.clusters, cluster.layers["head"].clusters) == (0.1235, 32, 40)
    (alone,) = found.recipe(values | {names[0]: False}).techniques
    assert alone.technique.name == "cluster"
    assert found.first() == dict(zip(names, [True, 0.35, 16, 36], strict=True))


def test_only_what_is_clustered_is_packed():
    found = space("- {present: {search: [true, false]}, cluster: {}}\n", "export: {clustered: true}\n")
    (name,) = found.parameters
    assert [found.recipe({name: present}).export.clustered for present in (True, False)] == [True, False]


def test_bits_are_shared_out():
    found = space("- cluster: {layers: {search: {bits: {low: 2, high: 4}}}}\n")
    (name,) = found.parameters
    (step,) = found.recipe({name: 2.5}, lambda mean: {"head": {"clusters": int(8 * mean)}}).techniques
    assert step.technique.layers["head"].clusters == 20
    assert [values[name] for values in found.starts()] == [4, pytest.approx(3.2), pytest.approx(2.6), 2]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("- cluster\n", "own.yaml has no `search`"),
        ("- cluster: {clusters: {search: [16]}}\n", "techniques[0].cluster.clusters.search: [16] are not two or more"),
        ("- cluster: {clusters: {search: [16, 16]}}\n", "are not two or more different values"),
        ("- cluster: {clusters: {search: 16}}\n", "16 is neither a list of values nor {low: 0.1, high: 0.9}"),
        ("- cluster: {clusters: {search: [16, 2]}}\n", "greater than or equal to 3, not 2 (with techniques[0]"),
        ("- cluster: {clusters: {search: {low: 8, high: 300}}}\n", "less than or equal to 256, not 300"),
        ("- cluster: {clusters: {search: {low: 9, hi: 8}}}\n", "hi: unknown key; the keys are low, high, log, step"),
        ("- cluster: {clusters: {search: {low: 9, high: 8}}}\n", "low is 9 and high is 8; low must be less"),
        ("- cluster: {clusters: {search: {low: 8, high: 16, step: 0.5}}}\n", "step is 0.5 between whole numbers"),
        ("- prune: {sparsity: {search: {low: 0, high: 1.2}}}\n", "less than 1"),
        ("- {present: {search: [1, 2]}, prune: {}}\n", "[1, 2] are not true and false"),
        ("- {present: {search: {low: 0, high: 1}}, prune: {}}\n", "present.search"),
        ("- cluster: {layers: {search: [1, 2]}}\n", "is not {bits: {low: 2.5, high: 5}}"),
        ("- cluster: {layers: {search: {bits: {low: 1, high: 5}}}}\n", "bits are 1 to 5; they may be 2 to 8"),
        (
            "- {present: {search: [true, false]}, cluster: {}}\n- {present: {search: [true, false]}, prune: {}}\n",
            "prune cannot follow cluster",
        ),
        ("- cluster: {klusters: {search: [8, 16]}}\n", "klusters: unknown key"),
    ],
)
def test_a_wrong_space_is_one_line(steps, message):
    with pytest.raises(UserError) as refused:
        space(steps)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_base_model_does_not_vary():
    with pytest.raises(UserError, match=r"seed.search: all trials have the same data and base model"):
        space("- cluster\n", "seed: {search: [0, 1]}\n")


def test_layers_share_the_bits_that_there_are():
    divergences = {"easy": {bits: 1e-3 / bits for bits in WIDTHS}, "hard": {bits: 2.0**-bits for bits in WIDTHS}}
    table = LayerTable({"easy": 300, "hard": 100}, divergences)
    for mean in (2, 2.3, 3, 4.5, 8):
        bits = table.bits(mean)
        assert 300 * bits["easy"] + 100 * bits["hard"] <= 400 * mean + 1e-6
        assert bits["hard"] >= bits["easy"]
    assert table.bits(2.3) == {"easy": 2, "hard": 3}
    assert table.settings(8) == {"easy": {"clusters": 256}, "hard": {"clusters": 256}}


def test_more_bits_that_spare_nothing_are_not_given():
    table = LayerTable({"one": 10}, {"one": dict.fromkeys(WIDTHS, 0.5)})
    assert table.bits(8) == {"one": 2}


def test_a_trial_is_poor_if_worse_than_the_median_of_misses():
    misses = [[0.9, 0.7], [0.8, 0.6], [0.7, 0.5]]
    assert is_poor([0.85], misses)
    assert not is_poor([0.75], misses)
    assert is_poor([0.79, 0.65], misses)
    assert not is_poor([0.79, 0.59], misses)
    assert not is_poor([9.0], misses[:2])
    assert not is_poor([9.0, 9.0, 9.0], misses)
