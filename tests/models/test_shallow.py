import numpy as np
import pytest
import tf_keras

from tfcompress.models.bert import BertConfig, bert
from tfcompress.models.shallow import without_repetition
from tfcompress.models.vit import ViTConfig, vit
from tfcompress.optimize.resizing import resized

BERT = BertConfig(vocabulary=50, sequence_length=6, width=8, depth=5, heads=2, mlp=16)
VIT = ViTConfig(image_size=8, patch_size=4, width=8, depth=5, heads=2)


def blocks(model: tf_keras.Model) -> list[int]:
    """The numbers of the blocks that a model has, in order."""
    found = [int(layer.name.split("_")[1]) for layer in model.layers if layer.name.startswith("block_")]
    return list(dict.fromkeys(found))


def alike(name: str) -> None:
    return None


@pytest.mark.parametrize(
    ("whole", "shorter"),
    [
        (lambda: vit(VIT, 3), lambda: vit(ViTConfig(**{**VIT.__dict__, "depth": 2}), 3)),
        (lambda: bert(BERT, 3, dropout=0.1), lambda: bert(BertConfig(**{**BERT.__dict__, "depth": 2}), 3)),
    ],
)
def test_two_of_several_equal_blocks_are_left(whole, shorter):
    whole, shorter = whole(), shorter()
    short = without_repetition(whole, alike)
    assert blocks(short) == [0, 1]
    assert len(whole.layers) > len(short.layers)
    assert [x.name for x in short.inputs] == [x.name for x in whole.inputs]
    for layer in shorter.layers:
        layer.set_weights(whole.get_layer(layer.name).get_weights())
    example = [np.random.default_rng(0).integers(0, 2, (3, *x.shape[1:])).astype(x.dtype.name) for x in short.inputs]
    np.testing.assert_array_equal(short(example), shorter(example))


def test_blocks_that_are_treated_differently_stay():
    assert blocks(without_repetition(vit(VIT, 3), lambda name: name.startswith("block_3"))) == [0, 1, 3]


def test_blocks_of_other_sizes_stay():
    whole = vit(VIT, 3)
    narrow = {
        "block_2_mlp1": [np.zeros((8, 5)), np.zeros(5)], "block_2_mlp2": [np.zeros((5, 8)), np.zeros(8)],
    }  # fmt: skip
    assert blocks(without_repetition(resized(whole, {"block_2_mlp1": {"units": 5}}, narrow), alike)) == [0, 1, 2]


def test_a_block_whose_inside_is_read_elsewhere_stays():
    whole = vit(VIT, 3)
    inside = tf_keras.layers.GlobalAveragePooling1D()(whole.get_layer("block_3_add1").output)
    read = tf_keras.Model(whole.input, tf_keras.layers.Concatenate()([whole.output, inside]))
    assert blocks(without_repetition(read, alike)) == [0, 1, 3]


def test_a_model_without_blocks_and_one_that_is_short_stay_as_they_are(tiny_vit):
    x = tf_keras.Input((4,))
    for model in (tf_keras.Model(x, tf_keras.layers.Dense(3)(x)), tiny_vit):
        assert without_repetition(model, alike) is model
