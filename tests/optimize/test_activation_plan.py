import pytest
import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.functional import as_functional
from tfcompress.models.vit import vit
from tfcompress.optimize.activation_plan import ActivationPlan
from tfcompress.optimize.quantization import Quantize

from ..tiny import TINY, tiny_bert_of

layers = tf_keras.layers


def dense(x, activation=None):
    return layers.Dense(8, activation=activation)(x)


def own(x):
    return x * tf.nn.sigmoid(x)


def planned(between) -> dict[str, str]:
    """What is found for the head behind `between`: `static`, or what makes its input float."""
    inputs = tf_keras.Input((4, 8), name="inputs")
    outputs = layers.Dense(3, name="head")(layers.Flatten()(between(inputs)))
    model = as_functional(tf_keras.Model(inputs, outputs))
    return ActivationPlan(model, Quantize().select(model)).found["head"]


@pytest.mark.parametrize(
    "between",
    [
        lambda x: x,
        lambda x: dense(x, "relu"),
        lambda x: dense(x, "tanh"),
        lambda x: layers.LeakyReLU()(dense(x)),
        lambda x: layers.Activation("relu")(dense(x)),
        lambda x: layers.Add()([dense(x), dense(x)]),
        lambda x: layers.GlobalAveragePooling1D()(x * 2),
        lambda x: layers.Dropout(0.1)(dense(x, "gelu")),
        lambda x: layers.LayerNormalization()(x * 2),
    ],
)
def test_a_layer_is_static_where_what_it_reads_is_quantized(between):
    assert planned(between).kind == "static"


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (lambda x: x * 2, "it reads tf.math.multiply"),
        (lambda x: layers.Rescaling(0.5)(x), "it reads rescaling"),
        (lambda x: layers.PReLU()(dense(x)), "it reads p_re_lu"),
        (lambda x: layers.BatchNormalization()(dense(x)), "it reads batch_normalization"),
        (lambda x: layers.Dropout(0.1)(layers.Add()([x, x])), "it reads add"),
        (lambda x: dense(x, "elu"), "it reads dense"),
        (lambda x: layers.Activation("swish")(dense(x)), "it reads activation"),
    ],
)
def test_a_layer_behind_a_float_one_is_dynamic(between, reason):
    found = planned(between)
    assert found.kind == "dynamic"
    assert found.reason.startswith(reason)
    assert found.reason.endswith("which is float")


@pytest.mark.parametrize("activation", ["elu", "swish", "leaky_relu", "relu6", own])
def test_an_activation_without_an_int8_form_makes_a_layer_dynamic(activation):
    inputs = tf_keras.Input((8,))
    model = tf_keras.Model(inputs, layers.Dense(8, activation=activation, name="head")(inputs))
    found = ActivationPlan(model, Quantize().select(model)).found["head"]
    assert found.kind == "dynamic"
    assert getattr(activation, "__name__", activation) in found.reason


def test_a_layer_that_is_called_twice_is_dynamic():
    inputs, shared = tf_keras.Input((8,)), layers.Dense(8, name="shared")
    model = tf_keras.Model(inputs, layers.Dense(3, name="head")(shared(shared(inputs))))
    plan = ActivationPlan(model, Quantize().select(model))
    assert plan.dynamic == {"shared", "head"}
    assert plan.found["shared"].reason == "it is called several times"


def test_our_models_are_static(tiny_text):
    for model in (vit(TINY, 10), tiny_bert_of(tiny_text)):
        assert not ActivationPlan(model, Quantize().select(model)).dynamic


def test_activations_can_be_asked_for():
    model = vit(TINY, 10)
    technique = Quantize(layers={"block_0_mlp.": {"activations": "dynamic"}})
    plan = ActivationPlan(model, technique.select(model))
    assert plan.dynamic == {"block_0_mlp1", "block_0_mlp2"}
    reason = "dynamic activations, because it was asked for"
    assert technique.explain(model) == {"block_0_mlp1": reason, "block_0_mlp2": reason}
    technique = Quantize(activations="dynamic", layers={"head": {"activations": "static"}})
    assert ActivationPlan(model, technique.select(model)).static == {"head"}
    technique.check(model)


def test_static_activations_are_refused_by_the_name_of_the_layer():
    inputs = tf_keras.Input((8,))
    model = tf_keras.Model(inputs, layers.Dense(3, name="head")(layers.Rescaling(0.5, name="half")(inputs)))
    with pytest.raises(UserError, match="head cannot have static activations: it reads half, which is float; set"):
        Quantize(activations="static").check(model)
