from dataclasses import replace

import numpy as np
import pytest
import tf_keras

from tests.answers import answers
from tfcompress.data.dataset import Dataset
from tfcompress.errors import UserError
from tfcompress.models.bert import BertConfig, bert
from tfcompress.models.vit import ViTConfig, vit
from tfcompress.optimize.halving import Halve
from tfcompress.optimize.technique import Context

from ..apply import accuracy
from .conftest import BERT

layers = tf_keras.layers


def halved(model: tf_keras.Model, data: Dataset) -> tf_keras.Model:
    technique = Halve()
    return technique.finalize(technique.prepare(model, Context(data, {})))


def test_a_halved_bert_answers_as_its_teacher_without_training(teacher, words):
    before = teacher.get_weights()
    student = halved(teacher, words)
    assert student.get_layer("block_0_query").kernel.shape == (16, 16)
    assert student.get_layer("block_0_mlp1").kernel.shape == (16, 32)
    assert student.get_layer("block_0_attention").num_heads == 2
    assert student.get_layer("token_embedding").embeddings.shape == (40, 16)
    assert accuracy(teacher, words) > 0.95
    assert accuracy(student, words) > accuracy(teacher, words) - 0.1
    for old, now in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


def test_a_halved_bert_has_the_shape_of_the_half_config(teacher, words):
    half = bert(replace(BERT, width=16, heads=2, mlp=32), 3)
    student = halved(teacher, words)
    for name in (layer.name for layer in half.layers):
        shapes = [[w.shape for w in model.get_layer(name).weights] for model in (half, student)]
        assert shapes[0] == shapes[1]


def test_a_halved_vit_gives_its_teachers_logits_without_training(tiny_vit, tiny_data):
    student = halved(tiny_vit, tiny_data)
    assert student.count_params() < tiny_vit.count_params() / 2
    wanted, found = (answers(model, tiny_data.batches("test", 64)) for model in (tiny_vit, student))
    assert ((wanted - found) ** 2).sum() < 0.5 * ((wanted - wanted.mean(0)) ** 2).sum()


def test_the_same_seed_gives_the_same_student(tiny_vit, tiny_data):
    for one, other in zip(
        halved(tiny_vit, tiny_data).get_weights(), halved(tiny_vit, tiny_data).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_an_odd_number_of_heads_is_kept_and_each_head_halved(tiny_data):
    model = vit(ViTConfig(image_size=8, patch_size=4, width=24, depth=1, heads=3), 10)
    student = halved(model, tiny_data)
    assert student.get_layer("block_0_attention").num_heads == 3
    assert student.get_layer("block_0_query").kernel.shape == (12, 12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embedding": 8}, "they begin with embedding_projection, a Dense; choose a model whose embeddings"),
        ({"relative": 8}, "layer relative_bias is a RelativePositionBias, which it cannot halve"),
    ],
)
def test_parts_of_electra_and_mpnet_are_refused_by_name(change, message):
    model = bert(BertConfig(20, 8, width=16, depth=1, heads=2, mlp=32, **change), 3)
    with pytest.raises(UserError, match=message):
        Halve().check(model)


def test_an_odd_width_is_an_error_that_says_why(tiny_data):
    model = vit(ViTConfig(image_size=8, patch_size=4, width=15, depth=1, heads=3), 10, name="odd")
    with pytest.raises(UserError, match="model odd is 15 wide, an odd number"):
        Halve().check(model)


def test_either_heads_or_their_size_may_be_odd(tiny_data):
    model = vit(ViTConfig(image_size=8, patch_size=4, width=30, depth=1, heads=6), 10)  # of five features each
    assert halved(model, tiny_data).get_layer("block_0_attention").num_heads == 3
    model = vit(ViTConfig(image_size=8, patch_size=4, width=18, depth=1, heads=9), 10)
    assert halved(model, tiny_data).get_layer("block_0_attention").num_heads == 9


def test_a_layer_of_unknown_role_is_refused():
    x = tf_keras.Input((8, 8, 3))
    y = layers.Conv2D(8, 3)(x)
    model = tf_keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))
    with pytest.raises(UserError, match="no attention"):
        Halve().check(model)
