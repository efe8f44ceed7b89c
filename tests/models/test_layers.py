import numpy as np
import pytest
import tf_keras

from tests.answers import answers
from tfcompress.models.layers import (
    CUSTOM_OBJECTS,
    ClassToken,
    MaskBias,
    PositionEmbedding,
    RelativePositionBias,
    ScaledDotProductAttention,
    approximate_gelu,
)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_attention_is_softmax_of_scaled_products_for_each_head():
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=(2, 5, 8)).astype(np.float32) for _ in range(3))
    bias = rng.normal(size=(2, 1, 1, 5)).astype(np.float32)
    found = ScaledDotProductAttention(2)([query, key, value, bias])
    for batch in range(2):
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            scores = query[batch, :, part] @ key[batch, :, part].T / 2 + bias[batch, 0]
            np.testing.assert_allclose(found[batch, :, part], softmax(scores) @ value[batch, :, part], atol=1e-5)


def test_attention_dropout_applies_only_during_training():
    x = np.random.default_rng(0).normal(size=(1, 50, 8)).astype(np.float32)
    layer = ScaledDotProductAttention(2, dropout=0.5)
    np.testing.assert_array_equal(layer([x, x, x], training=False), layer([x, x, x], training=False))
    assert np.abs(layer([x, x, x], training=True) - layer([x, x, x], training=False)).max() > 1e-2


def test_keep_float_hardly_changes_the_output():
    x = np.random.default_rng(0).normal(size=(1, 6, 8)).astype(np.float32)
    plain, kept = ScaledDotProductAttention(2)([x] * 3), ScaledDotProductAttention(2, keep_float=True)([x] * 3)
    np.testing.assert_allclose(kept, plain, rtol=3e-7)


def test_the_class_token_is_prepended_and_positions_are_added():
    x = np.zeros((2, 3, 4), np.float32)
    token, positions = ClassToken(), PositionEmbedding()
    with_token = token(x)
    token.set_weights([np.ones((1, 1, 4))])
    with_token = token(x)
    np.testing.assert_array_equal(with_token[:, 0], 1)
    np.testing.assert_array_equal(with_token[:, 1:], 0)
    np.testing.assert_allclose(
        positions(with_token) - with_token, np.repeat(positions.get_weights()[0], 2, 0), atol=1e-6
    )


def test_relative_positions_share_a_row_the_more_the_farther_they_are():
    layer = RelativePositionBias(2, buckets=32)
    layer.build((None, 1, 1, 300))
    rows = np.arange(64, dtype=np.float32).reshape(32, 2)
    layer.set_weights([rows])
    found = layer(np.full((1, 1, 1, 300), 0.5, np.float32)).numpy() - 0.5
    assert found.shape == (1, 2, 300, 300)
    # From T5's description: 8 rows for distances 0 to 7, then 8 rows that grow by the factor 16 ** (1 / 8).
    ends = [8 * 16 ** (n / 8) for n in range(1, 8)]
    for distance in range(300):
        row = distance if distance < 8 else 8 + sum(distance >= end for end in ends)
        np.testing.assert_array_equal(found[0, :, 299, 299 - distance], rows[row])
        np.testing.assert_array_equal(found[0, :, 0, distance], rows[row + 16 * (distance > 0)])


@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 3)])
def test_masked_positions_get_minus_forty(shape):
    mask = np.random.default_rng(0).integers(0, 2, shape)
    bias = MaskBias()(mask).numpy()
    assert bias.shape == (2, 1, 1 if len(shape) == 2 else 4, 3)
    np.testing.assert_array_equal(bias.reshape(shape), np.where(mask, 0.0, -40.0))
    assert MaskBias().compute_output_shape(shape) == bias.shape


def test_all_layers_and_our_activation_can_be_saved_and_loaded(tmp_path):
    x, mask = tf_keras.Input((3, 4)), tf_keras.Input((4,), dtype="int32")
    h = PositionEmbedding()(ClassToken()(x))
    h = ScaledDotProductAttention(2, dropout=0.1)([h, h, h, MaskBias()(mask)])
    h = tf_keras.layers.Dense(4, activation=approximate_gelu)(h)
    model = tf_keras.Model([x, mask], tf_keras.layers.Activation(approximate_gelu)(h))
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        loaded = tf_keras.models.load_model(tmp_path / name, custom_objects=CUSTOM_OBJECTS)
        assert [layer.activation for layer in loaded.layers[-2:]] == [approximate_gelu] * 2
        inputs = [np.ones((1, 3, 4), np.float32), np.ones((1, 4), np.int32)]
        np.testing.assert_array_equal(answers(loaded, inputs), answers(model, inputs))
