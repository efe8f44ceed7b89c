from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console
from scipy.special import softmax

from tests.packed.graphs import Model
from tfcompress.errors import UserError
from tfcompress.files import write_json
from tfcompress.measure.quality import Metric, Quality
from tfcompress.post_training.clustering import cluster
from tfcompress.post_training.damage import Damage
from tfcompress.post_training.method import Settings
from tfcompress.report import plots
from tfcompress.study import bits, judging
from tfcompress.study.bits import WIDTHS, Bits, choose_bits, fewest_bytes
from tfcompress.study.judging import Budget, Judge, Selection, Whole
from tfcompress.study.kept import Kept
from tfcompress.study.table import print_bits

from ..post_training.strangers import dense, divergence, pictures, run

EXAMPLES = pictures(40, 32)
QUICK = Settings(scales=False)
"""Without scales, centroids are searched once."""


@pytest.fixture(scope="module")
def content() -> bytes:
    """Three dense layers of about a thousand weights."""
    model = Model(1, 32)
    y = dense(model, dense(model, 0, (1, 40), fused=1), (1, 32), fused=1)
    return model.file(dense(model, y, (1, 32)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("bits")


@pytest.fixture(scope="module")
def study(content, folder) -> Bits:
    return choose_bits(content, EXAMPLES, folder, Budget(0.01), settings=QUICK)


def refuse(*_) -> None:
    pytest.fail("measured again")


def test_the_file_with_the_chosen_bits_keeps_the_budget(content, study):
    found = cluster(content, study.settings(QUICK), EXAMPLES)
    expected, values = (softmax(run(file, *EXAMPLES), axis=1) for file in (content, found.content))
    lost = divergence(expected, values)
    assert 0 < lost <= 0.01
    assert study.after.divergence == pytest.approx(lost, rel=0.01)
    assert {name: len(book.centroids) for name, book in found.codebooks.items()} == {
        layer.name: 1 << layer.bits for layer in study.layers
    }
    assert len({layer.bits for layer in study.layers}) > 1 or study.layers[0].bits < WIDTHS[-1]


def test_a_larger_budget_takes_no_more_bytes_and_measures_no_layer_again(content, study, folder, monkeypatch):
    monkeypatch.setattr(bits, "damages", refuse)
    found = [
        choose_bits(content, EXAMPLES, folder, Budget(budget), settings=QUICK).bytes
        for budget in (0.001, 0.01, 0.05, 10.0)
    ]
    assert found[1] == study.bytes
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1] == sum(min(of.bytes for of in layer.damages.values()) for layer in study.layers)


def test_the_same_call_measures_nothing_again(content, study, folder, monkeypatch):
    monkeypatch.setattr(bits, "damages", refuse)
    monkeypatch.setattr(judging, "cluster", refuse)
    assert choose_bits(content, EXAMPLES, folder, Budget(0.01), settings=QUICK) == study


def test_an_outcome_of_another_version_or_a_damaged_one_is_measured_again(study, tmp_path):
    kept = Kept(tmp_path, Damage)
    write_json(tmp_path / "000-3.json", {"loss": 0.1})
    (tmp_path / "000-4.json").write_text('{"loss"')
    assert kept.get("000-3") is kept.get("000-4") is kept.get("000-5") is None
    assert kept.of("000-3", lambda: study.layers[0].damages[3]) == study.layers[0].damages[3] == kept.get("000-3")


def test_an_interrupted_study_measures_only_what_is_missing(content, study, tmp_path, monkeypatch):
    measured = []

    def until(last: int, *arguments) -> Iterator[tuple[str, int, Damage]]:
        for found in original(*arguments):
            if len(measured) == last:
                raise KeyboardInterrupt
            measured.append(found[:2])
            yield found

    original = bits.damages
    monkeypatch.setattr(bits, "damages", lambda *arguments: until(8, *arguments))
    with pytest.raises(KeyboardInterrupt):
        choose_bits(content, EXAMPLES, tmp_path, Budget(0.01), settings=QUICK)
    monkeypatch.setattr(bits, "damages", lambda *arguments: until(100, *arguments))
    assert choose_bits(content, EXAMPLES, tmp_path, Budget(0.01), settings=QUICK) == study
    assert measured == [(layer.name, width) for layer in study.layers for width in WIDTHS]


def test_another_file_in_the_folder_is_refused(folder, study):
    model = Model(1, 32)
    with pytest.raises(UserError, match="holds another study"):
        choose_bits(model.file(dense(model, 0, (1, 32))), EXAMPLES, folder, Budget(0.01))


def test_points_are_judged_on_the_data_for_selection(content, folder, study):
    labels = run(content, *EXAMPLES).argmax(axis=1)
    labels[:4] += 1
    selection = Selection("pictures", EXAMPLES, labels)
    found = choose_bits(content, EXAMPLES, folder, Budget(points=5), selection, settings=QUICK)
    predicted = run(cluster(content, found.settings(QUICK), EXAMPLES).content, *EXAMPLES).argmax(axis=1)
    assert found.before.quality.value == 0.9
    assert found.after.quality.value == (predicted == labels).mean() >= 0.85
    assert found.bytes < found.float_bytes / 4


def test_other_labels_of_the_same_examples_are_judged_anew(content, tmp_path):
    """Also where the float file is right on as many of them."""
    choice = dict.fromkeys(("c1", "c4", "c7"), WIDTHS[0])
    predicted = run(content, *EXAMPLES).argmax(axis=1)
    clustered = run(
        cluster(content, {name: replace(QUICK, clusters=8) for name in choice}, EXAMPLES).content, *EXAMPLES
    ).argmax(axis=1)
    [flipped, *_], [same, *_] = np.flatnonzero(predicted != clustered), np.flatnonzero(predicted == clustered)
    for wrong in (flipped, same):
        labels = predicted.copy()
        labels[wrong] = (clustered[wrong] if wrong == flipped else labels[wrong] + 1) % 32
        judge = Judge(content, EXAMPLES, Selection("pictures", EXAMPLES, labels), QUICK, tmp_path)
        assert judge.before.quality.value == 39 / 40
        assert judge.whole(choice).quality.value == (clustered == labels).mean()


@pytest.mark.parametrize(
    ("amounts", "message"),
    [
        ({}, "give a budget in points of the score, such as 0.3pt, or one in KL"),
        ({"divergence": 1, "points": 1}, "give a budget in points of the score, such as 0.3pt, or one in KL"),
        ({"divergence": 0}, "a budget of 0 was given; it must be a number above 0"),
        ({"points": float("nan")}, "a budget of nan was given; it must be a number above 0"),
    ],
)
def test_a_budget_that_is_none_is_refused(amounts, message):
    with pytest.raises(UserError, match=message):
        Budget(**amounts)


def test_an_error_may_grow_by_a_budget_in_its_own_unit():
    before, better, worse, much_worse = (
        Whole(0.0, Quality("MAE", value, 0, 1, 40, higher_is_better=False, percent=False))
        for value in (0.5, 0.3, 0.54, 0.56)
    )
    budget = Budget(points=0.05)
    budget.check(Selection("prices", EXAMPLES, np.zeros(40), Metric("MAE", abs, percent=False)))
    assert [budget.holds(before, after) for after in (better, worse, much_worse)] == [True, True, False]
    assert budget.lost(before, much_worse) == "the MAE is worse by 0.06"


def test_points_that_cannot_be_judged_are_refused_at_once(tmp_path):
    selection = Selection("pictures", EXAMPLES, np.zeros(40, int))
    with pytest.raises(UserError, match=r"0.3 points are less than one of the 40 .* at least 334 .*--budget-kl"):
        choose_bits(b"no file", EXAMPLES, tmp_path, Budget(points=0.3), selection)
    with pytest.raises(UserError, match="needs labelled data for selection; give some, or use --budget-kl"):
        choose_bits(b"no file", EXAMPLES, tmp_path, Budget(points=1))
    assert not list(tmp_path.iterdir())


def test_a_budget_that_eight_bits_do_not_keep_is_refused_before_layers_are_measured(content, tmp_path, monkeypatch):
    monkeypatch.setattr(bits, "damages", refuse)
    with pytest.raises(UserError, match=r"a KL of 1e-12 cannot be kept: with 8 bits for every layer, the KL is .*e-"):
        choose_bits(content, EXAMPLES, tmp_path, Budget(1e-12), settings=QUICK)


def test_a_file_that_gives_nan_is_refused(tmp_path):
    model = Model(1, 32)
    y = dense(model, model.add("LOG", [0], (1, 32)), (1, 32))
    with pytest.raises(UserError, match="the file gives NaN or infinity for the examples"):
        choose_bits(model.file(y), [-np.ones(32, np.float32)] * 20, tmp_path, Budget(0.01), settings=QUICK)


def test_the_program_finds_the_fewest_bytes():
    rng = np.random.default_rng(0)
    found = {
        name: {width: Damage(float(rng.gamma(1) * 0.25**width), width * size) for width in WIDTHS}
        for name, size in {"a": 100, "b": 310, "c": 70, "d": 5}.items()
    }
    for bound in (1e-3, 1e-2, 1e-1):
        tried = [dict(zip(found, some, strict=True)) for some in itertools.product(WIDTHS, repeat=len(found))]
        kept = [one for one in tried if sum(found[name][width].divergence for name, width in one.items()) <= bound]
        chosen = fewest_bytes(found, bound)
        assert chosen in kept
        assert size(found, chosen) == min(size(found, one) for one in kept)
    assert fewest_bytes(found, 1e-9) is None


def size(found, choice) -> int:
    return sum(found[name][width].bytes for name, width in choice.items())


def test_a_study_is_saved_and_read(study, tmp_path):
    study.save(tmp_path / "study.json")
    assert Bits.load(tmp_path / "study.json") == study


def test_the_table_marks_the_bits_that_each_layer_got(study):
    printed = StringIO()
    print_bits(study, Console(width=150, file=printed))
    text = printed.getvalue()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    marked = {row[0]: [width for width, cell in zip(WIDTHS, row[2:-1], strict=True) if "*" in cell] for row in rows}
    assert marked == {layer.name: [layer.bits] for layer in study.layers}
    assert f"{study.bytes:,}, 1/{study.float_bytes / study.bytes:.1f} of float32" in " ".join(text.split())


def test_the_picture_names_each_layer(study):
    drawn = plots.standalone(plots.widths("bits", [(layer.name, layer.bits) for layer in study.layers]))
    assert "var(" not in drawn
    texts = [element.text for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert all(layer.name in texts for layer in study.layers)
