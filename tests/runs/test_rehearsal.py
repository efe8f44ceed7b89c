from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.tiny import TINY
from tfcompress import (
    Cluster,
    Distil,
    Export,
    Halve,
    LayerPruning,
    Prune,
    Quantize,
    Remove,
    Training,
    TrimVocabulary,
    UserError,
    compress,
)
from tfcompress.files import read_json
from tfcompress.models.vit import vit
from tfcompress.runs import rehearsal
from tfcompress.runs.chain import Chain
from tfcompress.runs.pipeline import train
from tfcompress.runs.recipe import Recipe
from tfcompress.runs.rehearsal import SWITCH, rehearse, script_of
from tfcompress.training import Objective

from .broken import Aborting, Failing

ONCE = Training(epochs=1, batch_size=64)


class Called(BaseException):
    """A process would have been started."""


@pytest.fixture(autouse=True)
def rehearsed(monkeypatch, tmp_path):
    """Turns rehearsals on, with an empty cache."""
    monkeypatch.delenv(SWITCH)
    monkeypatch.setenv("TFCOMPRESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def started(monkeypatch):
    """Makes the start of a process an error."""

    def call(*_):
        raise Called

    monkeypatch.setattr(rehearsal, "call_apart", call)


def chain(workdir, model, data, techniques, objective=Objective(), export=Export(), seed=0):  # noqa: B008 - immutable
    return Chain(workdir, lambda: (model, data), None, techniques, objective, export, seed)


def test_lack_of_memory_is_not_taken_for_a_layer_that_cannot_be_treated(tiny_vit):
    with pytest.raises(tf.errors.ResourceExhaustedError), rehearsal._explained("prune", tiny_vit):
        tf.zeros(1 << 50)


def test_what_fails_after_training_is_refused_by_layer_and_leaves_nothing(tiny_data, tmp_path):
    model = tf_keras.Sequential(
        [tf_keras.Input((8, 8, 3)), tf_keras.layers.Flatten(), tf_keras.layers.Dense(10, name="head")], name="mine"
    )
    with pytest.raises(UserError, match=r"^prune: layer head cannot be treated or exported \(TypeError: ") as refused:
        compress(model, tiny_data, [Failing(fit=ONCE)], tmp_path / "work")
    assert "\n" not in str(refused.value)
    assert "rehearsal=False" in str(refused.value)
    with pytest.raises(
        UserError, match=r"^prune: model mine: the process died of SIGABRT \(Check failed: scale > 0\);"
    ):
        compress(model, tiny_data, [Aborting(fit=ONCE)], tmp_path / "work")
    assert list(tmp_path.iterdir()) == []


def test_a_rehearsal_that_passed_is_not_repeated(tiny_vit, tiny_data, tmp_path, started, monkeypatch):
    first = chain(tmp_path / "first", tiny_vit, tiny_data, [Prune(fit=ONCE)])
    with pytest.raises(Called):
        rehearse(first, tiny_vit, tiny_data)
    with monkeypatch.context() as passing:
        passing.setattr(rehearsal, "call_apart", lambda *_: None)
        rehearse(first, tiny_vit, tiny_data)
    again = [
        (first, tiny_vit),
        (replace(first, workdir=tmp_path / "second"), tiny_vit),
        (replace(first, techniques=[Prune(fit=Training(epochs=9, learning_rate=0.5))], seed=1), tiny_vit),
        (first, vit(TINY, 10)),
    ]
    for of_run, model in again:
        rehearse(of_run, model, tiny_data)
    (cached,) = (tmp_path / "cache" / "rehearsals").iterdir()
    mark = tmp_path / "first" / "rehearsal.json"
    passed = mark.read_text()
    mark.write_text("{")  # damaged
    rehearse(first, tiny_vit, tiny_data)
    mark.write_text(passed)
    cached.unlink()
    rehearse(first, tiny_vit, tiny_data)  # The working folder knows it, too.
    for other in (
        replace(first, techniques=[Prune(sparsity=0.6, fit=ONCE)]),
        replace(first, export=Export(formats=("float16",))),
        replace(first, objective=Objective(tf_keras.losses.MeanSquaredError()).of_labels(10)),
    ):
        with pytest.raises(Called):
            rehearse(other, tiny_vit, tiny_data)


def test_a_rehearsal_can_be_skipped(tiny_vit, tiny_data, tmp_path, started, monkeypatch):
    with pytest.raises(Called):
        compress(tiny_vit, tiny_data, [], tmp_path / "work")
    assert not (tmp_path / "work").exists()
    compress(tiny_vit, tiny_data, [], tmp_path / "work", rehearsal=False)
    monkeypatch.setenv(SWITCH, "1")
    rehearse(chain(tmp_path / "other", tiny_vit, tiny_data, []), tiny_vit, tiny_data)


def test_blocks_are_rehearsed_twice_with_the_settings_of_their_own(tiny_data, tmp_path):
    model = vit(replace(TINY, depth=5), 10)
    prune = Prune(layers={"block_3_.*": LayerPruning(sparsity=0.7), "block_4_mlp1": LayerPruning(sparsity=0.5)})
    cluster = Cluster(clusters=8, fit=Training(epochs=30))
    script, short = script_of(chain(tmp_path, model, tiny_data, [prune, cluster]), model, tiny_data)
    blocks = sorted({layer.name[:7] for layer in short.layers if layer.name.startswith("block")})
    assert blocks == ["block_0", "block_1", "block_3"]
    rehearsed_prune, rehearsed_cluster = script.chain.techniques
    assert rehearsed_prune.layers == {"block_3_.*": LayerPruning(sparsity=0.7)}
    assert rehearsed_cluster.initialization == "linear"
    assert (rehearsed_cluster.fit.epochs, rehearsed_cluster.fit.batch_size) == (1, 2)
    assert cluster.fit.epochs == 30


def test_the_users_loss_optimizer_and_metrics_are_rehearsed(tiny_vit, tiny_data, tmp_path):
    class Local(tf_keras.metrics.CategoricalAccuracy):
        pass

    schedule = tf_keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    given = Objective(
        tf_keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2),
        tf_keras.optimizers.SGD(schedule, momentum=0.9),
        ["accuracy", tf_keras.metrics.F1Score(average="macro"), "categorical_accuracy", Local()],
    ).of_labels(10)
    script, _ = script_of(chain(tmp_path, tiny_vit, tiny_data, [], given), tiny_vit, tiny_data)
    labels, outputs = np.array([[3], [1]]), np.eye(10, dtype=np.float32)[[3, 2]]
    found = script.objective
    np.testing.assert_allclose(found.loss(labels, outputs), given.loss(labels, outputs))
    assert found.optimizer.get_config() == given.optimizer.get_config()
    assert [getattr(metric, "name", metric) for metric in found.metrics] == [
        "accuracy", "f1_score", "categorical_accuracy"
    ]  # fmt: skip


def test_two_examples_of_every_split_are_enough(tiny_bert, tiny_text, tiny_data, tiny_vit, tmp_path):
    script, _ = script_of(chain(tmp_path, tiny_bert, tiny_text, []), tiny_bert, tiny_text)
    assert script.dataset.decode == tiny_text.decode
    assert [script.dataset.size(split) for split in ("train", "validation", "test")] == [2, 2, 2]
    features = {name: x.numpy() for name, x in next(iter(tiny_text.examples("test")))[0].items()}
    for name, values in next(iter(script.dataset.examples("test")))[0].items():
        np.testing.assert_array_equal(values, features[name])
    one = replace(tiny_data, validation=tiny_data.validation.take(1), pixel_range=(-1, 1))
    script, _ = script_of(chain(tmp_path, tiny_vit, one, []), tiny_vit, one)
    assert script.dataset.size("validation") == 1
    assert script.dataset.augment is not None
    assert script.dataset.pixel_range == (-1, 1)
    assert next(iter(script.dataset.batches("train", 2)))[0].shape == (2, 8, 8, 3)


@pytest.mark.slow
def test_two_sentences_go_through_all_techniques(tiny_bert, tiny_text, tmp_path):
    techniques = [
        Halve(), Remove(), TrimVocabulary(), Distil(keep=True), Prune(), Cluster(types={"Embedding": {}}), Quantize()
    ]  # fmt: skip
    rehearse(chain(tmp_path, tiny_bert, tiny_text, techniques), tiny_bert, tiny_text)
    assert (tmp_path / "rehearsal.json").is_file()


@pytest.mark.slow
def test_the_demo_recipe_is_rehearsed_in_a_process_of_its_own(tmp_path):
    short = ["model.depth=1", "training.epochs=1", "training.batch_size=512", "export.formats=[float32, dynamic]"]
    recipe = Recipe.load("vit_digits", short)
    train(recipe, tmp_path / "work")
    (cached,) = (tmp_path / "cache" / "rehearsals").iterdir()
    assert read_json(cached) == read_json(tmp_path / "work" / "rehearsal.json")
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"run.json", "rehearsal.json", "stages", "logs"}
