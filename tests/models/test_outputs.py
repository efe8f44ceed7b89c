import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.functional import as_functional
from tfcompress.models.outputs import Outputs, outputs_of
from tfcompress.optimize.technique import copy_model

L = tf_keras.layers
LOGITS, PROBABILITIES, INDEPENDENT = Outputs.LOGITS, Outputs.PROBABILITIES, Outputs.INDEPENDENT


def model(head):
    x = tf_keras.Input((6,), name="numbers")
    made = tf_keras.Model(x, head(L.Dense(8, "relu")(x)))
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(size=w.shape) if w.ndim > 1 else w for w in made.get_weights()])
    return made


def softmax(x, units=3):
    return L.Dense(units, activation="softmax")(x)


def nested(head):
    def make(x):
        inner = tf_keras.Input((8,))
        return tf_keras.Model(inner, head(inner))(x)

    return make


class Own(L.Layer):
    """A user's layer with a softmax of their own."""

    def call(self, x):
        exponentials = tf.exp(x - tf.reduce_max(x, -1, keepdims=True))
        return exponentials / tf.reduce_sum(exponentials, -1, keepdims=True)


HEADS = {
    "dense": (LOGITS, lambda x: L.Dense(3)(x)),
    "temperature": (LOGITS, lambda x: L.Dense(3)(x) / 2.0),
    "log_softmax": (LOGITS, lambda x: tf.nn.log_softmax(L.Dense(3)(x))),
    "logarithm": (LOGITS, lambda x: tf.math.log(softmax(x))),
    "tanh": (LOGITS, lambda x: L.Dense(3, "tanh")(x)),
    "batch_norm": (LOGITS, lambda x: L.BatchNormalization()(L.Dense(3)(x))),
    "dense_after_softmax": (LOGITS, lambda x: L.Dense(3)(softmax(x, 4))),
    "gated": (LOGITS, lambda x: softmax(x) * L.Dense(3)(x)),
    "mean_of_logits": (LOGITS, lambda x: L.Average()([L.Dense(3)(x), L.Dense(3)(x)])),
    "softmax": (PROBABILITIES, softmax),
    "softmax_layer": (PROBABILITIES, lambda x: L.Softmax()(L.Dense(3)(x))),
    "softmax_of_temperature": (PROBABILITIES, lambda x: tf.nn.softmax(L.Dense(3)(x) / 2.0)),
    "own_softmax": (PROBABILITIES, lambda x: Own()(L.Dense(3)(x))),
    "reshape": (PROBABILITIES, lambda x: L.Reshape((3,))(L.Reshape((1, 3))(softmax(x)))),
    "dropout": (PROBABILITIES, lambda x: L.Dropout(0.1)(softmax(x))),
    "average": (PROBABILITIES, lambda x: L.Average()([softmax(x), softmax(x), softmax(x)])),
    "weighted": (PROBABILITIES, lambda x: softmax(x) * 0.3 + softmax(x) * 0.7),
    "mixture": (PROBABILITIES, lambda x: L.Dot(1)([softmax(x, 2), L.Softmax()(L.Reshape((2, 3))(L.Dense(6)(x)))])),
    "smoothed": (PROBABILITIES, lambda x: softmax(x) * 0.9 + 0.1 / 3),
    "clipped": (PROBABILITIES, lambda x: tf.clip_by_value(softmax(x), 1e-6, 1 - 1e-6)),
    "mean_of_places": (PROBABILITIES, lambda x: tf.reduce_mean(L.Softmax()(L.Dense(3)(L.Reshape((2, 4))(x))), 1)),
    "other_axis": (PROBABILITIES, lambda x: L.Reshape((3,))(L.Softmax(axis=1)(L.Reshape((3, 1))(L.Dense(3)(x))))),
    "nested": (PROBABILITIES, nested(softmax)),
    "nested_twice": (PROBABILITIES, nested(nested(lambda x: L.Reshape((3,))(softmax(x))))),
    "sigmoid": (INDEPENDENT, lambda x: L.Dense(3, "sigmoid")(x)),
    "sigmoid_reshaped": (INDEPENDENT, lambda x: L.Reshape((3,))(tf.sigmoid(L.Dense(3)(x)))),
    "average_of_sigmoids": (INDEPENDENT, lambda x: L.Average()([L.Dense(3, "sigmoid")(x), L.Dense(3, "sigmoid")(x)])),
    "two_groups": (INDEPENDENT, lambda x: L.Reshape((6,))(L.Softmax()(L.Reshape((2, 3))(L.Dense(6)(x))))),
    "normalised": (PROBABILITIES, lambda x: (s := tf.sigmoid(L.Dense(3)(x))) / tf.reduce_sum(s, -1, keepdims=True)),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_what_a_head_gives_is_found_out(name):
    expected, head = HEADS[name]
    assert outputs_of(model(head), np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)) is expected


@pytest.mark.parametrize("name", ["log_softmax", "own_softmax", "average", "nested_twice", "other_axis", "sigmoid"])
def test_a_rewritten_model_gives_the_same(name):
    expected, head = HEADS[name]
    rewritten = as_functional(model(head))
    assert outputs_of(rewritten) is expected
    assert outputs_of(copy_model(rewritten)) is expected


def test_a_models_last_layer_in_its_list_need_not_make_its_output():
    x = tf_keras.Input((6,))
    logits = L.Dense(3, name="logits")(x)
    both = tf_keras.Model(x, [logits, L.Softmax()(logits)])
    assert outputs_of(tf_keras.Model(both.input, both.outputs[0])) is LOGITS


def test_a_keras_3_model():
    x = keras.Input((6,))
    average = keras.layers.Average()([keras.layers.Dense(3, "softmax")(x), keras.layers.Dense(3, "softmax")(x)])
    assert outputs_of(as_functional(keras.Model(x, average))) is PROBABILITIES
    assert outputs_of(as_functional(keras.Model(x, keras.ops.sigmoid(keras.layers.Dense(3)(x))))) is INDEPENDENT
    assert outputs_of(as_functional(keras.Model(x, keras.ops.log_softmax(keras.layers.Dense(3)(x))))) is LOGITS


def test_token_ids_stay_in_their_table():
    ids = tf_keras.Input((4,), dtype=tf.int32, name="ids")
    found = L.GlobalAveragePooling1D()(L.Embedding(9, 8)(ids))
    made = tf_keras.Model(ids, L.Average()([softmax(found), softmax(found)]))
    assert outputs_of(made) is PROBABILITIES
    assert outputs_of(made, {"ids": np.array([[8, 1, 2, 0]] * 3, np.int32)}) is PROBABILITIES


UNCLEAR = {
    "hard_sigmoid": L.Dense(3, "hard_sigmoid"),
    "own_sigmoid": lambda x: 1 / (1 + tf.exp(-L.Dense(3)(x))),
    "sum_of_softmaxes": lambda x: softmax(x) + softmax(x),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_cannot_be_found_out_is_asked(name):
    made = model(UNCLEAR[name])
    with pytest.raises(UserError, match=r'logits or probabilities: .* from \d.* say it by outputs="logits"'):
        outputs_of(made)
    assert outputs_of(made, told="logits") is LOGITS
    if name != "sum_of_softmaxes":
        assert outputs_of(made, told="probabilities") is INDEPENDENT


@pytest.mark.parametrize(
    ("head", "told", "message"),
    [
        (softmax, "logits", r"outputs is logits, but those of model .* are probabilities; say probabilities"),
        (L.Dense(3, "sigmoid"), "logits", "are independent probabilities"),
        (L.Dense(3), "probabilities", r"outputs is probabilities, but those of model \w+ are from -"),
        (
            UNCLEAR["sum_of_softmaxes"],
            "probabilities",
            r"from .* to 1\..*; leave it out, or end the model in a softmax",
        ),
        (softmax, "scores", "outputs is 'scores'; it must be logits or probabilities"),
    ],
)
def test_what_the_user_says_is_checked(head, told, message):
    with pytest.raises(UserError, match=message):
        outputs_of(model(head), told=told)


def test_a_user_may_say_what_is_known():
    assert outputs_of(model(softmax), told="probabilities") is PROBABILITIES
    assert outputs_of(model(L.Dense(3)), told="logits") is LOGITS


@pytest.mark.parametrize(("kind", "activation"), [(LOGITS, None), (PROBABILITIES, "softmax"), (INDEPENDENT, "sigmoid")])
def test_the_loss_is_that_of_the_logits(kind, activation):
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    labels = np.array([0, 2, 1, 1, 0])
    found = kind.loss()(labels, tf_keras.activations.get(activation)(tf.constant(logits)))
    independent = tf_keras.losses.BinaryCrossentropy(from_logits=True)(np.eye(3)[labels], logits)
    exclusive = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    np.testing.assert_allclose(found, independent if kind is INDEPENDENT else exclusive, rtol=1e-5)


@pytest.mark.parametrize(("kind", "back"), [(PROBABILITIES, tf.nn.softmax), (INDEPENDENT, tf.sigmoid)])
def test_probabilities_become_logits_and_back(kind, back):
    given = tf.constant([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(back(kind.to_logits(given)), given, atol=1e-6)
    assert kind.to_probabilities(given) is given
    np.testing.assert_allclose(LOGITS.to_probabilities(given), tf.nn.softmax(given))


@pytest.mark.parametrize(
    ("head", "end", "expected"),
    [
        (L.Dense(3), "sigmoid", Outputs.INDEPENDENT_LOGITS),
        (L.Dense(3, "sigmoid"), "sigmoid", INDEPENDENT),
        (softmax, "sigmoid", INDEPENDENT),
        (L.Dense(1), "softmax", Outputs.INDEPENDENT_LOGITS),
        (L.Dense(1, "sigmoid"), "softmax", INDEPENDENT),
        (L.Dense(1, "sigmoid"), "none", Outputs.NUMBERS),
        (softmax, "none", Outputs.NUMBERS),
    ],
)
def test_a_task_says_what_an_end_means(head, end, expected):
    made = model(head)
    kind = outputs_of(made, end=end)
    assert kind is expected
    answers = kind.to_probabilities(made(tf.ones((2, 6))))
    if not kind.are_logits:  # A model that ends in a softmax or sigmoid never gets a second one.
        np.testing.assert_array_equal(answers, made(tf.ones((2, 6))))


def test_a_task_without_probabilities_takes_no_word_on_them():
    with pytest.raises(UserError, match="outputs is logits, but the answers of this task have no softmax or sigmoid"):
        outputs_of(model(L.Dense(1)), told="logits", end="none")
