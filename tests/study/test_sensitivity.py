import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tf_keras
from scipy.stats import sem

from tests.answers import answers
from tfcompress.cli import main
from tfcompress.errors import UserError
from tfcompress.measure.quality import Change
from tfcompress.optimize.clustering import LayerClustering
from tfcompress.optimize.pruning import LayerPruning
from tfcompress.progress import Bar
from tfcompress.runs.recipe import Recipe
from tfcompress.study.sensitivity import Effect, Layer, Sensitivity, sensitivity, tolerable
from tfcompress.traits import kernels

from ..tiny import tiny_bert_of, tiny_vit_of

NONE = Change(0, 0, 0, 0, 0, 1.0)


@pytest.fixture(scope="module")
def trained(trained_weights) -> tf_keras.Model:
    return tiny_vit_of(trained_weights)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def study(trained, tiny_data, folder) -> Sensitivity:
    return sensitivity(trained, tiny_data, folder, tolerance=0.02)


def losses(model, data, examples=64) -> np.ndarray:
    """The losses as Keras computes them, one example a batch."""
    logits = answers(model, data.batches("validation", 16))[:examples]
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    return loss(data.labels["validation"][:examples], logits).numpy()


def test_every_kernel_gets_every_treatment(study, trained):
    assert [(layer.name, layer.weights) for layer in study.layers] == [(n, k.size) for n, k in kernels(trained).items()]
    assert {len(layer.effects) for layer in study.layers} == {6}
    assert (study.examples, study.quality.cases) == (64, 64)


@pytest.mark.parametrize(
    ("place", "effect", "treatment"),
    [
        (0, 1, LayerPruning(sparsity=0.75)),
        (4, 2, LayerClustering(clusters=128)),
        (-1, -1, LayerClustering(clusters=16)),
    ],
)
def test_a_change_is_that_layers_alone(study, trained, tiny_vit, tiny_data, place, effect, treatment):
    layer = study.layers[place]
    kernel = tiny_vit.get_layer(layer.name).kernel
    kernel.assign(treatment.applied(kernel.numpy()))
    before, after = losses(trained, tiny_data), losses(tiny_vit, tiny_data)
    found = layer.effects[effect]
    assert found.settings == treatment.model_dump(exclude_unset=True)
    assert study.loss == pytest.approx(before.mean(), abs=1e-5)
    assert found.loss == pytest.approx(after.mean(), abs=1e-5)
    assert found.change == pytest.approx((after - before).mean(), abs=1e-5)
    assert found.standard_error == pytest.approx(sem(after - before), abs=1e-5)
    correct = answers(tiny_vit, tiny_data.batches("validation", 64)).argmax(1) == tiny_data.labels["validation"]
    assert 64 * study.quality.value - found.quality.lost + found.quality.gained == correct.sum()


def test_the_model_stays_the_same_bits(study, trained, trained_weights):
    for before, now in zip(trained_weights, trained.get_weights(), strict=True):
        np.testing.assert_array_equal(before, now)


def test_what_changes_no_weight_changes_nothing(tiny_vit, tiny_data, tmp_path):
    few, zeros = tiny_vit.get_layer("block_0_mlp1").kernel, tiny_vit.get_layer("block_0_mlp2").kernel
    few.assign(np.sign(few.numpy()) * 0.1)
    zeros.assign(np.zeros(zeros.shape))
    study = sensitivity(tiny_vit, tiny_data, tmp_path, examples=32)
    layers = {layer.name: layer for layer in study.layers}
    unchanged = [effect for effect in layers["block_0_mlp1"].effects if effect.technique == "cluster"]
    unchanged += layers["block_0_mlp2"].effects
    assert len(unchanged) == 10
    for effect in unchanged:
        assert (effect.change, effect.standard_error, effect.quality) == (0, 0, NONE)
        assert effect.loss == study.loss


def test_the_examples_are_the_first_ones(trained, tiny_data, tmp_path):
    study = sensitivity(trained, tiny_data, tmp_path, examples=10)
    assert study.loss == pytest.approx(losses(trained, tiny_data, 10).mean(), abs=1e-5)


def test_a_model_of_probabilities_has_the_same_losses(study, trained, tiny_data, tmp_path):
    model = tf_keras.Model(trained.input, tf_keras.layers.Softmax()(trained.output))
    found = sensitivity(model, tiny_data, tmp_path)
    assert found.loss == pytest.approx(study.loss, abs=1e-4)
    assert found.layers[0].effects[0].change == pytest.approx(study.layers[0].effects[0].change, abs=1e-4)


def test_a_study_that_is_cut_off_goes_on(study, trained, tiny_data, tmp_path, monkeypatch):
    advance, steps = Bar.advance, []

    def cut_off(self, *args, **kwargs):
        if (tmp_path / "outcomes").is_dir():  # Before, the pixels that the model takes are looked for.
            steps.append(1)
        if len(steps) == 12:
            raise KeyboardInterrupt
        advance(self, *args, **kwargs)

    monkeypatch.setattr(Bar, "advance", cut_off)
    with pytest.raises(KeyboardInterrupt):
        sensitivity(trained, tiny_data, tmp_path, tolerance=0.02)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "outcomes").iterdir()}
    assert len(kept) == 12
    again = sensitivity(trained, tiny_data, tmp_path, tolerance=0.02)
    assert again == study
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    again.save(tmp_path / "study.json")
    assert Sensitivity.load(tmp_path / "study.json") == again


def test_a_folder_holds_one_study(study, folder, trained, tiny_vit, tiny_data):
    with pytest.raises(UserError, match=r"holds another study \(data\.examples: 64 before, 16 now"):
        sensitivity(trained, tiny_data, folder, examples=16)
    tiny_vit.get_layer("head").bias.assign_add(np.ones(10))
    with pytest.raises(UserError, match=r"holds another study \(model\.sha256"):
        sensitivity(tiny_vit, tiny_data, folder)


def test_what_cannot_be_studied_is_refused(trained, tiny_data, tmp_path):
    with pytest.raises(UserError, match="examples is 1"):
        sensitivity(trained, tiny_data, tmp_path, examples=1)
    image = tf_keras.Input((8, 8, 3), name="image")
    pooled = tf_keras.layers.GlobalAveragePooling2D()(image)
    model = tf_keras.Model(image, tf_keras.layers.Concatenate()([pooled, pooled, pooled, pooled[:, :1]]))
    with pytest.raises(UserError, match=r"has no layer to treat; .* Dense, Conv2D, Embedding"):
        sensitivity(model, tiny_data, tmp_path)


def test_a_recipe_takes_the_techniques_as_they_are(study, trained):
    assert [next(iter(step)) for step in study.techniques] == ["prune", "cluster"]
    recipe = Recipe.checked(
        {"data": {"name": "digits"}, "model": {"preset": "vit_digits"}, "techniques": study.techniques}, "study"
    )
    for step in recipe.techniques:
        selected = step.technique.select(trained)
        for layer in study.layers:
            effects = [effect for effect in layer.effects if effect.technique == step.technique.name]
            tolerated = [effect for effect in effects if effect.change <= study.tolerance]
            if layer.name in selected:
                setting = selected[layer.name].model_dump(exclude_unset=True)
                assert any(effect.settings.items() <= setting.items() for effect in tolerated)
            else:
                assert effects[0] not in tolerated


def test_the_hardest_treatment_before_the_first_intolerable_one_is_taken():
    def layer(name, *changes):
        effects = [
            Effect("cluster", {"clusters": clusters}, 1.0, change, 0.1, NONE)
            for clusters, change in zip((128, 64, 32, 16), changes, strict=True)
        ]
        return Layer(name, "Dense", 100, tuple(effects))

    layers = [layer("a.b(1)", 0.0, 0.01, 0.02, 0.01), layer("c", 0.5, 0.5, 0.5, 0.5), layer("d", -1.0, 0.0, 0.0, 0.01)]
    settings = {re.escape("a.b(1)"): {"clusters": 64}, "c": False, "d": {"clusters": 16}}
    assert tolerable(layers, 0.01) == [{"cluster": {"layers": settings}}]
    assert tolerable(layers[1:2], 0.01) == []


def test_a_stage_with_its_tokenizer_is_studied_from_the_command_line(tiny_text, tmp_path, monkeypatch, capsys):
    tiny_bert_of(tiny_text).save(tmp_path / "model.h5")
    tiny_text.decode.save(tmp_path)
    texts = [(text.decode(), label) for split in (tiny_text.train, tiny_text.validation) for text, label in
             split.as_numpy_iterator()]  # fmt: skip
    unique = {text: tiny_text.classes[label] for text, label in texts}
    (tmp_path / "texts.tsv").write_text(
        "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in unique.items())
    )
    options = ["--data", "text_file", "--path", str(tmp_path / "texts.tsv"), "--workdir", str(tmp_path / "work")]
    arguments = ["sensitivity", str(tmp_path), *options, "--examples", "6", "--json", str(tmp_path / "study.json")]
    monkeypatch.setattr(sys, "argv", ["tfcompress", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    out = capsys.readouterr().out
    assert "token_embedding" in out
    assert "bert on 6 validation examples" in out
    study = Sensitivity.load(tmp_path / "study.json")
    tables = [layer for layer in study.layers if layer.kind == "Embedding"]
    assert {effect.technique for table in tables for effect in table.effects} == {"cluster"}
