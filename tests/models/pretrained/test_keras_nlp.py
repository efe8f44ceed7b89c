import numpy as np
import pytest
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.layers import approximate_gelu
from tfcompress.models.pretrained import keras_nlp
from tfcompress.models.pretrained.checkpoint import check_same_outputs

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "quick", "brown", "fox", "##es", "jump", "##ed"]
SIZES = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16}


@pytest.fixture(scope="module")
def models():
    import keras_nlp

    return keras_nlp.models


def random(model):
    """Changes every weight from its initial value, including biases and scales."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(np.asarray(variable) + rng.normal(size=variable.shape, scale=0.1))
    return model


def bert(models, kind="Bert", **options):
    make = getattr(models, f"{kind}Backbone")
    return make(
        vocabulary_size=len(WORDS), **SIZES, intermediate_dim=40, max_sequence_length=24, name="source", **options
    )


def bert_classifier(models, kind="Bert", activation=None, words=WORDS):
    tokenizer = getattr(models, f"{kind}Tokenizer")(
        vocabulary=words, lowercase=True, strip_accents=kind == "DistilBert"
    )
    preprocessor = getattr(models, f"{kind}TextClassifierPreprocessor")(tokenizer, sequence_length=8)
    make = getattr(models, f"{kind}TextClassifier")
    return random(make(bert(models, kind), 3, preprocessor, activation=activation, name="source"))


def vit(models, kind="ViT", **options):
    mlp = {"mlp_dim": 32} if kind == "ViT" else {"intermediate_dim": 32}
    return getattr(models, f"{kind}Backbone")(
        **{"image_shape": (8, 8, 3), "patch_size": 4, **SIZES, **mlp, "name": "source", **options}
    )


def vit_classifier(models, kind="ViT", converter=None, **options):
    import keras_nlp

    preprocessor = None
    if converter is not None:
        image_converter = getattr(keras_nlp.layers, f"{kind}ImageConverter")(image_size=(8, 8), **converter)
        preprocessor = getattr(models, f"{kind}ImageClassifierPreprocessor")(image_converter)
    backbone = vit(models, kind)
    make = getattr(models, f"{kind}ImageClassifier")
    return random(make(backbone, 3, preprocessor=preprocessor, name="source", **options))


def text_outputs(model, length):
    """Returns two random texts, one of them padded, and the outputs of our model for them."""
    rng = np.random.default_rng(1)
    inputs = {
        "token_ids": rng.integers(0, len(WORDS), (2, length)),
        "segment_ids": rng.integers(0, 2, (2, length)),
        "padding_mask": (np.arange(length) < np.array([[length], [3]])).astype(np.int32),
    }
    return inputs, model({name: inputs[name] for name in model.input_names}).numpy()


@pytest.mark.parametrize("kind", ["Bert", "DistilBert"])
@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
def test_a_text_classifier_is_loaded_with_head_and_vocabulary(models, tmp_path, kind, activation):
    source = bert_classifier(models, kind, activation)
    source.save_to_preset(str(tmp_path))
    loaded = keras_nlp.load(str(tmp_path), 3, sequence_length=8, dropout=0.1)
    inputs, found = text_outputs(loaded.model, 8)
    expected = np.asarray(source({name: inputs[name] for name in source.input}, training=False))
    if activation == "softmax":
        found = tf_keras.activations.softmax(tf_keras.backend.constant(found)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert loaded.vocabulary == tuple(WORDS)
    assert (loaded.lowercase, loaded.strip_accents) == (True, kind == "DistilBert")
    assert loaded.model.get_layer("block_0_mlp1").activation == (
        approximate_gelu if kind == "Bert" else tf_keras.activations.gelu
    )


@pytest.mark.parametrize("kind", ["Bert", "DistilBert"])
def test_a_text_backbone_gets_a_random_head(models, tmp_path, kind):
    random(bert(models, kind)).save_to_preset(str(tmp_path))
    loaded = keras_nlp.load(str(tmp_path), 5, sequence_length=24)
    assert loaded.model.output_shape == (None, 5)
    assert loaded.vocabulary == ()


def test_a_head_with_another_number_of_classes_is_not_copied(models):
    source = bert_classifier(models)
    kept, fresh = keras_nlp.convert(source, sequence_length=8), keras_nlp.convert(source, 2, sequence_length=8)
    np.testing.assert_array_equal(kept.model.get_layer("head").kernel, np.asarray(source.output_dense.kernel))
    np.testing.assert_array_equal(fresh.model.get_layer("pooler").kernel, kept.model.get_layer("pooler").kernel)
    assert fresh.model.output_shape == (None, 2)


@pytest.mark.parametrize("kind", ["ViT", "DeiT"])
@pytest.mark.parametrize(
    "converter",
    [
        None,
        {"scale": 1 / 127.5, "offset": -1.0},
        {"scale": [1 / 58.4, 1 / 57.1, 1 / 57.4], "offset": [-2.1, -2.0, -1.8]},
        {},
    ],
)
def test_an_image_classifier_takes_images_from_0_to_1(models, tmp_path, kind, converter):
    source = vit_classifier(models, kind, converter, activation="softmax")
    source.save_to_preset(str(tmp_path))
    loaded = keras_nlp.load(str(tmp_path), 3)
    images = np.random.default_rng(1).random((4, 8, 8, 3), np.float32)
    expected = source.predict(images if converter is None else images * 255, verbose=0)
    found = tf_keras.activations.softmax(loaded.model(images)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["ViT", "DeiT"])
def test_an_image_backbone_gets_a_random_head(models, kind):
    model = keras_nlp.convert(random(vit(models, kind, layer_norm_epsilon=1e-3)), 7).model
    assert model.output_shape == (None, 7)
    assert model.get_layer("norm").epsilon == 1e-3
    assert model.get_layer("position_embedding").input_shape[1] == (5 if kind == "ViT" else 6)


def test_missing_biases_become_zeros(models):
    model = keras_nlp.convert(random(vit(models, use_mha_bias=False, use_mlp_bias=False)), 2).model
    assert not model.get_layer("block_0_query").bias.numpy().any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: tf_keras.Sequential(), "is a Sequential; accepted are BERT, DistilBERT, ViT and DeiT"),
        (bert, "source is a backbone without a head; pass classes"),
        (
            lambda m: m.RobertaBackbone(vocabulary_size=9, **SIZES, intermediate_dim=8),
            "is a RobertaBackbone; accepted are BERT",
        ),
        (
            lambda m: bert_classifier(m, words=[*WORDS, "more"]),
            "the vocabulary has 13 tokens, but the token embedding has 12 rows",
        ),
        (lambda m: vit_classifier(m, pooling="gap"), "source has the pooling gap"),
        (lambda m: vit_classifier(m, intermediate_dim=4), "source has intermediate_dim 4"),
        (
            lambda m: m.ViTImageClassifier(vit(m, image_shape=(8, 12, 3)), 3, name="source"),
            r"source has images of \(8, 12, 3\)",
        ),
        (
            lambda m: m.ViTImageClassifier(vit(m, mlp_dim=40), 3, name="source"),
            "source has feed-forward networks of width 40",
        ),
    ],
)
def test_models_that_cannot_be_copied_are_refused(models, make, message):
    with pytest.raises(UserError, match=message):
        keras_nlp.convert(make(models), sequence_length=8)


def test_too_few_positions_are_refused(models):
    with pytest.raises(UserError, match="sequence_length is 25; the checkpoint has positions for 1 to 24 tokens"):
        keras_nlp.convert(bert(models), 2, sequence_length=25)


def test_a_folder_without_a_preset_is_refused(models, tmp_path):
    (tmp_path / "empty").mkdir()
    for preset in (str(tmp_path / "nowhere"), str(tmp_path / "empty")):
        with pytest.raises(UserError, match=r"cannot be loaded as a keras-nlp preset: .*; accepted are BERT"):
            keras_nlp.load(preset, 2)


def test_parts_that_are_not_copied_are_detected_by_comparing_outputs(models):
    source = bert(models)
    source.transformer_layers[1]._feedforward_intermediate_dense.activation = lambda x: x
    with pytest.raises(UserError, match=r"source, block_1_norm2: the outputs of the copy differ by .*"):
        keras_nlp.convert(source, 2, sequence_length=8)


def test_outputs_may_differ_by_a_hundred_thousandth_of_the_largest():
    theirs = np.array([[100.0, 0.0]])
    assert check_same_outputs(theirs + 9e-4, theirs, "x") == pytest.approx(9e-6)
    for wrong in (theirs + 2e-3, theirs * np.nan, theirs[:, :1]):
        with pytest.raises(UserError, match=r"^x: "):
            check_same_outputs(wrong, theirs, "x")
