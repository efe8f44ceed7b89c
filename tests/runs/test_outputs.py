import json
from pathlib import Path

import numpy as np
import pytest
import tf_keras

from tests.answers import answers
from tfcompress import Distil, Prune, Quantize, Training, compress
from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError
from tfcompress.export.sources import open_source
from tfcompress.measure.interpreter import predict
from tfcompress.models import saved
from tfcompress.models.outputs import Outputs
from tfcompress.optimize.quantization import load_scope
from tfcompress.runs.recipe import Recipe
from tfcompress.study.sensitivity import sensitivity

L = tf_keras.layers
FIT = Training(epochs=2, batch_size=16, learning_rate=1e-3)


def split(size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(size)
    labels = rng.integers(0, 3, size)
    numbers = rng.uniform(0, 0.4, (size, 6)).astype(np.float32)
    numbers[np.arange(size), labels] += 0.5
    return numbers, labels


DATA = Dataset.from_arrays("numbers", "abc", split(64), split(32), split(33))


def classifier(activation: str, units: int = 3) -> tf_keras.Model:
    x = tf_keras.Input((6,), name="numbers")
    hidden = L.Dense(6, "relu", name="hidden")(x)
    model = tf_keras.Model(x, L.Dense(units, activation, name="scores")(hidden))
    model.set_weights([np.eye(6), np.zeros(6), 12 * np.eye(6, units), np.full(units, -6.0)])
    return model


def given(file: Path) -> np.ndarray:
    return predict(file, split(33)[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:distil does not keep the zeros:UserWarning")
def test_independent_probabilities_leave_every_stage_as_they_are(tmp_path):
    model = classifier("sigmoid")
    techniques = [
        Distil(fit=FIT),
        Prune(sparsity=0.5, schedule="constant", layers={"scores": False}, fit=FIT),
        Quantize(fit=FIT),
    ]
    report = compress(model, DATA, techniques, tmp_path)
    expected = answers(model, split(33)[0])
    np.testing.assert_allclose(given(tmp_path / report.variants[0].file), expected, atol=1e-5)
    for variant in report.variants:
        assert variant.agreement.largest_difference < 0.05, variant.name
        assert np.abs(given(tmp_path / variant.file) - expected).mean() < 0.1, variant.name
        stage = tmp_path / "stages" / Path(variant.file).stem.rpartition("-")[0]
        with load_scope():
            source = open_source(stage)
            own = answers(saved.load(stage / "model.h5"), split(33)[0][:1])
        [found] = source.run({"numbers": split(33)[0][:1]}).values()
        np.testing.assert_allclose(found, own, atol=1e-6)
    settings = json.loads((tmp_path / "run.json").read_text())
    assert settings.pop("outputs", "missing") is None
    (tmp_path / "run.json").write_text(json.dumps(settings))  # as an earlier version wrote it
    assert compress(model, DATA, techniques, tmp_path) == report


def test_a_run_asks_before_it_writes_and_remembers_the_answer(tmp_path):
    model = classifier("hard_sigmoid")
    with pytest.raises(UserError, match="cannot be told whether the outputs are logits or probabilities"):
        compress(model, DATA, [], tmp_path / "work")
    assert not (tmp_path / "work").exists()
    compress(model, DATA, [], tmp_path / "work", outputs="probabilities")
    expected = answers(model, split(33)[0])
    np.testing.assert_allclose(given(tmp_path / "work" / "model.tflite"), expected, atol=1e-5)
    [found] = open_source(tmp_path / "work").run({"numbers": split(33)[0][:1]}).values()
    np.testing.assert_allclose(found, expected[:1], atol=1e-5)
    with pytest.raises(UserError, match=r"holds another run \(outputs: probabilities before, logits now\)"):
        compress(model, DATA, [], tmp_path / "work", outputs="logits")


def test_a_study_of_single_layers_asks_too(tmp_path):
    with pytest.raises(UserError, match="cannot be told whether the outputs are logits or probabilities"):
        sensitivity(classifier("hard_sigmoid"), DATA, tmp_path)
    study = sensitivity(classifier("hard_sigmoid"), DATA, tmp_path, outputs="probabilities")
    numbers, labels = split(32)
    expected = answers(classifier("hard_sigmoid"), numbers)
    assert study.loss == pytest.approx(float(Outputs.INDEPENDENT.loss()(labels, expected)), rel=1e-4)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (classifier("sigmoid", 1), {}, r"output is \(None, 1\), but data set numbers has 3 classes"),
        (classifier("softmax"), {"outputs": "logits"}, "outputs is logits, but .* are probabilities"),
        (classifier("linear"), {"outputs": "probability"}, "outputs is 'probability'; it must be logits or probab"),
        (
            classifier("softmax"),
            {"loss": tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
            "has from_logits=True, but the model gives probabilities; pass from_logits=False",
        ),
        (
            classifier("linear"),
            {"loss": tf_keras.losses.SparseCategoricalCrossentropy()},
            "has from_logits=False, but the model gives logits; pass from_logits=True",
        ),
        (
            classifier("linear"),
            {"loss": tf_keras.losses.CategoricalCrossentropy(label_smoothing=0.1)},
            "CategoricalCrossentropy has from_logits=False, but the model gives logits",
        ),
    ],
)
def test_a_contradiction_is_found_before_anything_is_written(tmp_path, model, options, message):
    with pytest.raises(UserError, match=message):
        compress(model, DATA, [], tmp_path / "work", **options)
    assert not (tmp_path / "work").exists()


def test_a_recipe_can_say_it():
    settings = {"data": {"name": "digits"}, "model": {"preset": "vit_digits", "outputs": "probabilities"}}
    assert Recipe.checked(settings, "test").model.outputs == "probabilities"
    settings["model"]["outputs"] = "scores"
    with pytest.raises(UserError, match=r"test: model\.outputs: Input should be 'logits' or 'probabilities'"):
        Recipe.checked(settings, "test")
