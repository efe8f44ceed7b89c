import numpy as np
import pytest
import tf_keras

from tests.answers import answers
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.measure.interpreter import predict
from tfcompress.models.anatomy import Anatomy
from tfcompress.models.layers import CUSTOM_OBJECTS
from tfcompress.models.vit import ViTConfig, vit
from tfcompress.optimize.halving import Halve
from tfcompress.optimize.removal import Remove
from tfcompress.optimize.technique import Context

from ..apply import accuracy


def sizes(model):
    anatomy = Anatomy(model)
    heads = [model.get_layer(part.attention).num_heads for part in anatomy.attentions]
    return heads, [model.get_layer(pair.expand).units for pair in anatomy.feed_forwards]


def test_half_of_a_bert_keeps_most_of_what_it_knows(tiny_bert, tiny_text):
    before = [w.copy() for w in tiny_bert.get_weights()]
    technique = Remove(examples=48)
    technique.check(tiny_bert)
    smaller = technique.prepare(tiny_bert, Context(tiny_text, {}))
    assert sizes(smaller) == ([1, 1], [16, 16, 16])  # The last is the pooler, which was 16 wide before.
    assert smaller.count_params() < tiny_bert.count_params()
    assert accuracy(smaller, tiny_text) > accuracy(tiny_bert, tiny_text) - 0.2
    for old, now in zip(before, tiny_bert.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


def test_what_does_nothing_goes_first_and_leaves_the_outputs_as_they_are(tiny_vit, tiny_data, images):
    for name, rows in (("block_0_output", slice(0, 8)), ("block_0_mlp2", slice(0, 64, 2))):
        kernel, bias = tiny_vit.get_layer(name).get_weights()
        kernel[rows] = 0  # Of the first head, and of every other neuron.
        tiny_vit.get_layer(name).set_weights([kernel, bias])
    smaller = Remove().prepare(tiny_vit, Context(tiny_data, {}))
    assert sizes(smaller) == ([1], [32])
    query, whole = (model.get_layer("block_0_query").get_weights()[0] for model in (smaller, tiny_vit))
    np.testing.assert_array_equal(query, whole[:, 8:])
    difference = answers(smaller, images) - answers(tiny_vit, images)
    assert np.abs(difference).max() < 0.05


def test_either_can_be_left_alone(tiny_vit, tiny_data):
    assert sizes(Remove(heads=0).prepare(tiny_vit, Context(tiny_data, {}))) == ([2], [32])
    assert sizes(Remove(neurons=0).prepare(tiny_vit, Context(tiny_data, {}))) == ([1], [64])
    assert sizes(Remove(heads=0.99, neurons=0.25).prepare(tiny_vit, Context(tiny_data, {}))) == ([1], [48])


def test_a_frozen_model_with_probabilities_goes_too(tiny_data):
    model = vit(ViTConfig(image_size=8, patch_size=4, width=12, depth=1, heads=3), 10, dropout=0.1)
    model = tf_keras.Model(model.input, tf_keras.layers.Softmax()(model.output))
    model.trainable = False
    assert sizes(Remove().prepare(model, Context(tiny_data, {}))) == ([2], [24])


def test_a_halved_model_is_made_smaller_still_and_converts(tiny_data, images, tmp_path):
    model = vit(ViTConfig(image_size=8, patch_size=4, width=16, depth=2, heads=4), 10)
    halved = Halve(examples=64).prepare(model, Context(tiny_data, {}))
    smaller = Remove().prepare(halved, Context(tiny_data, {}))
    assert sizes(smaller) == ([1, 1], [16, 16])
    smaller.save(tmp_path / "model.h5")
    loaded = tf_keras.models.load_model(tmp_path / "model.h5", compile=False, custom_objects=CUSTOM_OBJECTS)
    (tmp_path / "model.tflite").write_bytes(convert(loaded, "float32", logits=True))
    expected = answers(smaller, images)
    np.testing.assert_allclose(predict(tmp_path / "model.tflite", images), expected, atol=1e-4)


def test_a_removal_that_cannot_be_is_refused(tiny_vit):
    x = tf_keras.Input((4,))
    with pytest.raises(UserError, match="has neither an attention nor a feed-forward pair"):
        Remove().check(tf_keras.Model(x, tf_keras.layers.Dense(2)(tf_keras.layers.Dense(3)(x))))
    with pytest.raises(UserError, match=r"heads: 0\.1 and neurons: 0\.01 take nothing out .* set larger shares"):
        Remove(heads=0.1, neurons=0.01).check(tiny_vit)
