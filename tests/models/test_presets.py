import pytest

from tfcompress.errors import UserError
from tfcompress.models.bert import BertConfig
from tfcompress.models.presets import PRESETS, build, from_config, preset


def count(model, *without):
    return model.count_params() - sum(model.get_layer(name).count_params() for name in without)


@pytest.mark.parametrize(
    ("name", "without", "parameters"),
    [
        ("bert_base", ["head"], 109_482_240),
        ("minilm_l6", ["head"], 22_713_216),
        ("distilbert", ["head", "pooler"], 66_362_880),
        ("mobilebert", ["head"], 24_844_544),
        ("mobilebert", ["head", "pooler"], 24_581_888),
    ],
)
def test_text_models_have_their_published_sizes(name, without, parameters):
    assert count(build(name, 2, sequence_length=512), *without) == parameters


def test_the_distilled_deit_has_its_published_size():
    model = build("deit_tiny_distilled", 1000)
    assert count(model, "head") == 5_524_800
    assert model.get_layer("position_embedding").input_shape == (None, 198, 192)


def test_half_presets_have_half_the_width_and_heads():
    for whole, half in (("vit_base", "vit_half"), ("bert_base", "bert_half")):
        big, small = preset(whole), preset(half)
        assert (small.width, small.heads, small.depth) == (big.width // 2, big.heads // 2, big.depth)


def test_the_tiny_text_model_has_at_most_two_million_parameters():
    assert build("bert_tiny_trec", 6).count_params() <= 2_000_000


def test_the_fields_of_a_preset_can_be_changed():
    model = build("bert_tiny_trec", 6, dropout=0.1, vocabulary=100, sequence_length=9, pooling="mean", depth=1)
    assert model.name == "bert_tiny_trec"
    assert model.input_shape == [(None, 9)] * 3
    assert model.get_layer("token_embedding").input_dim == 100
    assert not any(layer.name == "pooler" for layer in model.layers)


def test_text_presets_take_128_tokens_unless_told_otherwise():
    lengths = {name: config.sequence_length for name, config in PRESETS.items() if hasattr(config, "vocabulary")}
    assert lengths.pop("bert_tiny_trec") == 32
    assert set(lengths.values()) == {128}


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("bert_huge", {}, "unknown preset 'bert_huge'; the presets are vit_digits, .*bert_base"),
        ("vit_digits", {"vocabulary": 9}, "preset vit_digits has no field 'vocabulary'; its fields are image_size, "),
        ("bert_base", {"heads": 5}, "bert_base: 5 heads do not divide 768 features"),
        ("mobilebert", {"heads": 3}, "mobilebert: 3 heads do not divide 128 features"),
        (
            "bert_base",
            {"pooling": "max"},
            "bert_base: unknown pooling 'max'; accepted are tanh, relu, gelu, first, mean, tokens",
        ),
        ("vit_digits", {"patch_size": 3}, "image size 8 is not a multiple of patch size 3"),
    ],
)
def test_invalid_presets_and_fields_are_refused(name, changes, message):
    with pytest.raises(UserError, match=message):
        build(name, 2, **changes)


def test_a_model_can_be_built_from_a_config():
    assert from_config(BertConfig(9, 4, 8, 1, 2, 16), 3).output_shape == (None, 3)
