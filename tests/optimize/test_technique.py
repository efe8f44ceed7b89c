import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.operations import Weight
from tfcompress.optimize.clustering import Cluster
from tfcompress.optimize.distillation import Distil
from tfcompress.optimize.pruning import Prune
from tfcompress.optimize.quantization import Quantize
from tfcompress.optimize.technique import ORDER, Technique, check_order, copy_model, warn_of_lost_traits
from tfcompress.optimize.vocabulary import TrimVocabulary
from tfcompress.runs.recipe import Step
from tfcompress.training import Training
from tfcompress.traits import KernelTraits, kernels

from ..apply import apply


class Shrink(Prune):
    name = "shrink"


def technique(name: str) -> Technique:
    return Shrink() if name == "shrink" else Step.model_validate(name).technique


@pytest.mark.parametrize("names", [[], ["prune"], ["cluster", "quantize"], ["distil", "distil"], list(ORDER)])
def test_any_subset_in_order_is_legal(names):
    check_order([technique(name) for name in names])


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["cluster", "prune"], "prune cannot follow cluster: it would undo what cluster established"),
        (["prune", "prune"], "it would be done twice"),
        (["quantize", "cluster"], "after quantize, the model can only be exported"),
        (["quantize", "quantize"], "after quantize, the model can only be exported"),
        (["prune", "distil"], "distil cannot follow prune: it would undo what prune established"),
        (["shrink"], "unknown technique 'shrink'; the techniques are halve, remove, trim_vocabulary, distil, prune"),
    ],
)
def test_another_order_is_refused_with_the_reason(names, reason):
    with pytest.raises(UserError, match=reason):
        check_order([technique(name) for name in names])


def test_a_layer_left_out_keeps_what_an_earlier_technique_established(tiny_vit, tiny_data, tmp_path):
    fit = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-2}
    pruned, traits = apply(Prune(sparsity=0.5, schedule="constant", fit=fit), tiny_vit, tiny_data, tmp_path)
    partly = Cluster(clusters=16, layers={"head": False}, fit=fit)
    clustered, traits = apply(partly, pruned, tiny_data, tmp_path, traits)
    np.testing.assert_array_equal(kernels(clustered)["head"], kernels(pruned)["head"])
    assert traits["head"].sparsity == 0.5
    assert clustered.get_layer("head").trainable


def test_only_what_a_technique_says_of_itself_tells_it_from_others():
    flags = ("may_repeat", "ends_training", "clusters_weights", "short_tables")
    said = {name: {flag for flag in flags if getattr(technique(name), flag)} for name in ORDER}
    assert {name: what for name, what in said.items() if what} == {
        "distil": {"may_repeat", "short_tables"},
        "prune": {"short_tables"},
        "cluster": {"clusters_weights"},
        "quantize": {"ends_training"},
    }


def test_layers_that_are_treated_one_by_one_are_named(tiny_vit):
    assert set(technique("prune").treated_layers(tiny_vit)) == set(Prune().select(tiny_vit))
    assert not technique("halve").treated_layers(tiny_vit)


@pytest.mark.parametrize(
    ("technique", "lost"),
    [
        (Distil(teacher="base"), "distil does not keep .* of head, patch_embedding; prune or cluster them after it"),
        (Prune(), "prune does not keep .* of head; "),
        (TrimVocabulary(fit=Training()), "trim_vocabulary does not keep .* of head, patch_embedding; "),
        (TrimVocabulary(), None),
        (Cluster(), None),
    ],
)
def test_lost_traits_are_said(tiny_vit, technique, lost):
    before = {"head": KernelTraits(clusters=8), "patch_embedding": KernelTraits(sparsity=0.5)}
    promised = technique.promises(tiny_vit, before)
    if lost is None:
        warn_of_lost_traits(technique.name, before, promised)  # A warning would fail the test.
        return
    with pytest.warns(UserWarning, match=lost):
        warn_of_lost_traits(technique.name, before, promised)


def test_a_copy_has_weights_of_its_own_before_it_is_wrapped():
    layers, x = tf_keras.layers, tf_keras.Input((4, 8), name="x")
    attention = layers.MultiHeadAttention(2, 4, name="attention")  # makes its weights when it is called
    for model in (
        tf_keras.Model(x, layers.Dense(3, name="head")(layers.LSTM(5, name="lstm")(x))),
        tf_keras.Model(x, layers.Dense(3, name="head")(attention(x, x))),
    ):
        seen = {}

        def wrap(layer, seen=seen):
            seen[layer.name] = layer.get_weights()
            return tfmot.sparsity.keras.prune_low_magnitude(layer) if layer.name == "head" else layer

        copy = copy_model(model, wrap)
        for layer in model.layers[1:]:
            for found, expected in zip(seen[layer.name], layer.get_weights(), strict=True):
                np.testing.assert_array_equal(found, expected)
        inputs = tf.random.stateless_normal([2, 4, 8], [0, 0])
        np.testing.assert_allclose(copy(inputs), model(inputs), atol=1e-6)
        before = model.get_weights()
        copy.set_weights([weight + 1 for weight in copy.get_weights()])
        for kept, expected in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(kept, expected)


@pytest.mark.parametrize("technique", [Prune(), Cluster(), Quantize()])
def test_a_layer_that_no_input_reaches_is_left_alone(technique):
    layers, x = tf_keras.layers, tf_keras.Input((4, 8))
    queries = layers.LayerNormalization()(Weight([1, 4, 8], per_example=True)(x))
    shared, constant = layers.Dense(8, name="shared"), layers.Dense(8, name="constant")
    model = tf_keras.Model(x, layers.Add()([constant(shared(queries)), shared(x)]))
    assert set(technique.treated_layers(model)) == {"shared"}
    assert set(technique.promises(model, {})) == {"shared"}
    assert "does not depend on the input" in technique.explain(model)["constant"]


@pytest.mark.parametrize(
    ("technique", "message"),
    [
        (Prune(layers={"fixed": {}}), r"layers: 'fixed' matches no layer that it can treat: fixed is left alone, .*"),
        (
            Cluster(layers={"fix.*|norm": {}}),
            r"'fix\.\*\|norm' matches no layer that it can treat: fixed is left alone",
        ),
        (
            Quantize(layers={"norm": {}}),
            "'norm' matches no layer that it can treat: norm is of the type LayerNormalization; those are",
        ),
        (Cluster(types={"Conv2D": {}}), r"types: 'Conv2D' matches no layer that it can treat: conv is left alone, .*"),
        (Prune(layers={"head": False}), "prune: no layer is left to treat: fixed is left alone, .*"),
        (Prune(layers={"haed": {}}), "'haed' matches no layer that it can treat; those are head"),
    ],
)
def test_a_named_layer_that_is_left_alone_is_explained(technique, message):
    layers, x = tf_keras.layers, tf_keras.Input((4, 8))
    fixed = layers.Dense(8, name="fixed")(Weight([1, 4, 8], per_example=True)(x))
    image = layers.Conv2D(8, 1, name="conv")(layers.Reshape((2, 2, 8))(fixed))
    sum_ = layers.Add()([layers.Reshape((4, 8))(image), layers.LayerNormalization(name="norm")(x)])
    with pytest.raises(UserError, match=message):
        technique.select(tf_keras.Model(x, layers.Dense(2, name="head")(sum_)))
