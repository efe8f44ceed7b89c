import numpy as np
import pytest
import tf_keras
from pydantic import ValidationError

from tfcompress.errors import UserError
from tfcompress.optimize.pruning import LayerPruning, Prune
from tfcompress.traits import kernels, sparsity

from ..apply import apply

FIT = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("settings", "pattern"),
    [
        ({"sparsity": 0.75}, "unstructured"),
        ({"sparsity": 0.75, "schedule": "constant"}, "unstructured"),
        ({"pattern": "2:4"}, "2:4"),
        ({"sparsity": 0.5, "pattern": "4x1"}, "4x1"),
    ],
)
def test_every_kernel_reaches_its_sparsity(tiny_vit, tiny_data, tmp_path, settings, pattern):
    before = [w.copy() for w in tiny_vit.get_weights()]
    model, traits = apply(Prune(**settings, fit=FIT), tiny_vit, tiny_data, tmp_path)
    target = settings.get("sparsity", 0.5)
    for name, kernel in kernels(model).items():
        assert sparsity(kernel, pattern) == pytest.approx(target, abs=0.05)
        assert (traits[name].sparsity, traits[name].pattern) == (target, pattern)
    for old, now in zip(before, tiny_vit.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


def test_the_polynomial_schedule_ends_at_the_target_in_few_steps(tiny_vit, tiny_data, tmp_path):
    model, _ = apply(Prune(sparsity=0.9, ramp=1.0, fit=FIT), tiny_vit, tiny_data, tmp_path)
    assert np.mean(kernels(model)["block_0_mlp1"] == 0) == pytest.approx(0.9, abs=0.01)


def test_settings_reach_types_then_names(tiny_vit):
    technique = Prune(
        sparsity=0.5,
        types={"Dense": LayerPruning(sparsity=0.6)},
        layers={"block_.*": LayerPruning(pattern="4x1"), "head": False},
    )
    selected = technique.select(tiny_vit)
    assert selected["patch_embedding"] == LayerPruning(sparsity=0.6)
    assert selected["block_0_key"] == LayerPruning(sparsity=0.6, pattern="4x1")
    assert "head" not in selected


def test_convolutions_are_pruned_when_asked_for(tiny_data, tmp_path):
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.Conv2D(8, 3, activation="relu", name="conv")(image)
    model = tf_keras.Model(image, tf_keras.layers.Dense(10, name="head")(tf_keras.layers.Flatten()(x)))
    assert set(Prune().select(model)) == {"head"}
    technique = Prune(types={"Conv2D": LayerPruning(sparsity=0.25)}, schedule="constant", fit=FIT)
    pruned, traits = apply(technique, model, tiny_data, tmp_path)
    assert np.mean(kernels(pruned)["conv"] == 0) == pytest.approx(0.25, abs=0.01)
    assert traits["conv"].sparsity == 0.25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": 1.0}, "less than 1"),
        ({"pattern": "3:4"}, "neither unstructured nor 2:4 nor a block"),
        ({"pattern": "2:4", "sparsity": 0.7}, r"2:4 means sparsity 0\.5, not 0\.7"),
        ({"sparsty": 0.5}, "Extra inputs"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Prune(**settings)


@pytest.mark.parametrize(
    ("technique", "message"),
    [
        (
            Prune(layers={"blok.*": LayerPruning()}),
            r"prune\.layers: 'blok\.\*' matches no layer that it can treat; those are .*patch_embedding",
        ),
        (Prune(layers={"norm": LayerPruning()}), "'norm' matches no layer"),
        (
            Prune(types={"Embedding": LayerPruning()}),
            "'Embedding' is not a layer type that it can treat; those are Conv2D, Dense",
        ),
        (Prune(types={"Conv2D": LayerPruning()}), "'Conv2D' matches no layer"),
        (Prune(layers={"(": LayerPruning()}), r"'\(' is not a regular expression"),
        (
            Prune(sparsity=0.7, layers={"block_0.*": LayerPruning(pattern="2:4")}),
            r"prune: settings under types or layers contradict those for all layers: pattern 2:4 means sparsity 0\.5",
        ),
    ],
)
def test_a_setting_for_no_layer_is_an_error(tiny_vit, technique, message):
    with pytest.raises(UserError, match=message):
        technique.select(tiny_vit)


def test_two_of_four_needs_whole_groups():
    features = tf_keras.Input((6,))
    model = tf_keras.Model(features, tf_keras.layers.Dense(4, name="odd")(features))
    with pytest.raises(UserError, match="odd has 6 inputs, but 2:4 needs a multiple of 4"):
        Prune(pattern="2:4").check(model)


@pytest.mark.parametrize(
    ("pattern", "schedule"),
    [("unstructured", "polynomial"), ("unstructured", "constant"), ("2:4", "constant"), ("4x1", "polynomial")],
)
def test_zeros_stay_and_ties_are_broken(stack_of_kernels, tiny_data, tmp_path, pattern, schedule):
    technique = Prune(pattern=pattern, schedule=schedule, fit=FIT | {"learning_rate": 1e-2})
    model, traits = apply(technique, stack_of_kernels, tiny_data, tmp_path)
    before = kernels(stack_of_kernels)
    for name, kernel in kernels(model).items():
        natural = before[name] == 0
        share = sparsity(kernel, pattern)
        assert share >= 0.5 if natural.mean() > 0.5 or pattern == "2:4" else share == 0.5
        assert name == "all_zero" or not kernel[natural].any()
    assert kernels(model)["all_zero"].any()  # It was initialized so, and has been trained.
    assert traits["mostly_zero"].sparsity == (0.75 if pattern == "unstructured" else 0.5)
