from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.models.pretrained.hugging_face_folders import BERT, VIT, WIDTH, bert_tensors, vit_tensors, write
from tfcompress.data.dataset import Dataset
from tfcompress.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from tfcompress.errors import UserError
from tfcompress.models.bert import BertConfig, bert
from tfcompress.optimize.pruning import Prune
from tfcompress.runs.base import build_model, check_fit, load_data, take_model, with_tokenizer
from tfcompress.runs.pipeline import compress
from tfcompress.runs.recipe import Recipe
from tfcompress.training import Training

WORDS = [*SPECIAL_TOKENS, "good", "bad", "film", "##s"]


@pytest.fixture
def reviews(tmp_path):
    lines = [f"a {word} film number {number}\t{word}" for number in range(12) for word in ("good", "bad")]
    (tmp_path / "reviews.tsv").write_text("\n".join(["text\tlabel", *lines]))
    return tmp_path / "reviews.tsv"


def recipe(path, **model):
    fresh = {} if "hugging_face" in model else {"preset": "bert_tiny_trec", "vocabulary": 100}
    settings = {**fresh, "sequence_length": 8, **model}
    return Recipe.checked({"data": {"name": "text_file", "path": str(path)}, "model": settings}, "test")


def test_a_fresh_bert_gets_a_vocabulary_of_the_training_texts(reviews):
    wanted = recipe(reviews, pooling="mean")
    model, data = build_model(wanted, load_data(wanted))
    assert isinstance(data.decode, Tokenizer)
    assert "good" in data.decode.vocabulary
    assert model.get_layer("token_embedding").input_dim == len(data.decode.vocabulary)
    assert [tuple(x.shape) for x in model.inputs] == [(None, 8)] * 3
    assert "pooler" not in [layer.name for layer in model.layers]
    assert data.classes == ("bad", "good")
    features, _ = next(iter(data.batches("test", 2)))
    assert model(features).shape == (2, 2)


@pytest.mark.parametrize(
    "settings", [{"data": {"name": "digits"}, "model": {"preset": "vit_digits", "depth": 1}}, None]
)
def test_a_preset_with_fewer_blocks(reviews, settings):
    wanted = Recipe.checked(settings, "test") if settings else recipe(reviews, depth=1)
    model, _ = build_model(wanted, load_data(wanted))
    assert {layer.name for layer in model.layers if layer.name.startswith("block_")} >= {"block_0_mlp1"}
    assert not [layer.name for layer in model.layers if layer.name.startswith("block_1")]


def test_a_saved_tokenizer_comes_back(reviews, tmp_path):
    wanted = recipe(reviews)
    data = load_data(wanted)
    tokenizer = Tokenizer(tuple(WORDS), sequence_length=6)
    tokenizer.save(tmp_path)
    assert with_tokenizer(data, tmp_path).decode == tokenizer


def classifier(folder, **config):
    """Writes a BERT of two classes that gives the score 4 to its first class and -4 to the other."""
    tensors = {**bert_tensors(), "classifier.weight": np.zeros((2, WIDTH)), "classifier.bias": np.array([4.0, -4.0])}
    return write(folder, {**BERT, **config}, tensors)


def test_pictures_are_as_large_as_the_checkpoint_takes_them(tmp_path):
    for name in ("cats", "dogs", "owls"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        tf.io.write_file(str(tmp_path / "pictures" / name / "0.png"), tf.io.encode_png(tf.zeros((20, 30, 3), tf.uint8)))
    data = {"name": "image_folder_test", "path": str(tmp_path / "pictures")}
    (tmp_path / "vit").mkdir()
    folder = write(tmp_path / "vit", VIT, vit_tensors())
    wanted = Recipe.checked({"data": data, "model": {"hugging_face": str(folder)}, "training": False}, "test")
    model, found = build_model(wanted, load_data(wanted))
    check_fit(model, found)
    assert found.examples("test").element_spec[0].shape == (VIT["image_size"], VIT["image_size"], 3)


@pytest.mark.parametrize("modules", [False, True])
def test_pictures_for_a_checkpoint_of_texts_are_refused(tmp_path, modules):
    folder = write(tmp_path, BERT, bert_tensors())
    if modules:
        (folder / "modules.json").write_text("[]")
    data = {"name": "image_folder", "path": str(tmp_path)}
    with pytest.raises(UserError, match="choose a preset or checkpoint for images"):
        load_data(Recipe.checked({"data": data, "model": {"hugging_face": str(folder)}}, "test"))


@pytest.mark.parametrize(
    ("labels", "scores", "told"),
    [
        ({"0": "GOOD", "1": "bad "}, [-4, 4], ""),
        ({"0": "Bad", "1": "Good"}, [4, -4], ""),
        ({"0": "LABEL_0", "1": "LABEL_1"}, [4, -4], "the checkpoint does not name its classes; its scores are taken"),
    ],
)
def test_the_scores_of_a_checkpoint_are_matched_to_the_classes_by_name(reviews, tmp_path, capsys, labels, scores, told):
    wanted = recipe(reviews, hugging_face=classifier(tmp_path, id2label=labels))
    model, data = build_model(wanted, load_data(wanted))
    assert data.classes == ("bad", "good")
    features, _ = next(iter(data.batches("test", 1)))
    np.testing.assert_allclose(model(features)[0], scores, atol=1e-5)
    assert told in capsys.readouterr().err


def test_an_added_token_that_would_be_cut_is_refused_if_it_occurs(reviews, tmp_path):
    words = [*SPECIAL_TOKENS, "good", "bad", "film", "number", "a"]
    folder = write(tmp_path, BERT, bert_tensors(), words[:8], added_tokens={"number": 8, "[E1]": 9})
    wanted = recipe(reviews, hugging_face=folder)
    _, data = build_model(wanted, load_data(wanted))
    assert data.decode == Tokenizer((*words[:9], "[E1]"), True, 8, strip_accents=True)
    reviews.write_text(reviews.read_text().replace("number 3", "[E1]"))
    with pytest.raises(UserError, match=r"data set reviews has texts with '\[E1\]', which was added to the checkpoint"):
        build_model(wanted, load_data(wanted))


def test_texts_that_transformers_cuts_otherwise_are_counted(reviews, tmp_path, capsys):
    wanted = recipe(reviews, hugging_face=classifier(tmp_path, id2label={"0": "good", "1": "bad"}))
    build_model(wanted, load_data(wanted))
    assert "otherwise" not in capsys.readouterr().err
    reviews.write_text(reviews.read_text().replace("number 3", "größe").replace("number 5", "a\u00a0b"))
    build_model(wanted, load_data(wanted))
    assert "4 of 24 texts have characters (U+00A0, U+00DF) that transformers would cut oth" in capsys.readouterr().err


def test_texts_need_a_checkpoint_with_a_vocabulary(reviews, tmp_path):
    folder = write(tmp_path, BERT, bert_tensors(), words=None)
    wanted = recipe(reviews, hugging_face=folder)
    with pytest.raises(
        UserError, match="data set reviews has texts, but the checkpoint has no vocabulary; choose a te"
    ):
        build_model(wanted, load_data(wanted))


def test_a_checkpoint_of_other_classes_needs_a_new_head(reviews, tmp_path):
    folder = classifier(tmp_path, id2label={"0": "ham", "1": "spam"})
    wanted = recipe(reviews, hugging_face=folder)
    with pytest.raises(UserError, match=r"names its classes ham, spam, but data set reviews has bad, good; .*new_head"):
        build_model(wanted, load_data(wanted))
    wanted = recipe(reviews, hugging_face=folder, new_head=True)
    model, _ = build_model(wanted, load_data(wanted))
    assert model.get_layer("head").kernel.numpy().any()


def three_classes(folder):
    """Writes a BERT of three classes that gives them the scores 1, 2 and 3."""
    head = {"classifier.weight": np.zeros((3, WIDTH)), "classifier.bias": np.array([1.0, 2.0, 3.0])}
    return write(folder, {**BERT, "id2label": {"0": "good", "1": "odd", "2": "bad"}}, {**bert_tensors(), **head})


def untrained(wanted, *techniques):
    return Recipe.checked({**wanted.model_dump(), "training": False, "techniques": techniques}, "test")


def test_some_of_a_checkpoints_classes_are_enough_where_nothing_is_trained(reviews, tmp_path):
    wanted = recipe(reviews, hugging_face=three_classes(tmp_path))
    whole = untrained(wanted, {"cluster": {"training": False}})
    model, data = build_model(whole, load_data(whole))
    assert data.classes == ("good", "odd", "bad")
    texts = [text for text, _ in load_data(whole).test.as_numpy_iterator()]
    assert data.labels["test"].tolist() == [0 if b"good" in text else 2 for text in texts]
    features, _ = next(iter(data.batches("test", 1)))
    np.testing.assert_allclose(model(features)[0], [1, 2, 3], atol=1e-5)
    with pytest.raises(UserError, match="reviews has 2 of the checkpoint's 3 classes, and training would unlearn the"):
        build_model(untrained(wanted, "prune"), load_data(wanted))
    reviews.write_text(reviews.read_text().replace("\tgood", "\tfine"))
    with pytest.raises(UserError, match="names its classes good, odd, bad, but data set reviews has bad, fine, of whi"):
        build_model(whole, load_data(whole))


@pytest.mark.parametrize(
    ("data", "preset", "message"),
    [
        ("digits", "bert_small", "data set digits has images, but preset bert_small takes texts"),
        ("trec", "vit_digits", "data set trec has texts, but preset vit_digits takes images"),
    ],
)
def test_data_of_the_wrong_kind_is_refused(data, preset, message):
    wanted = Recipe.checked({"data": {"name": data}, "model": {"preset": preset}}, "test")
    with pytest.raises(UserError, match=message):
        load_data(wanted)


def test_a_keras_nlp_classifier_goes_through_with_its_head_and_tokenizer(tmp_path):
    from keras_nlp import models

    backbone = models.BertBackbone(
        vocabulary_size=len(WORDS), num_layers=1, num_heads=2, hidden_dim=16, intermediate_dim=32, max_sequence_length=8
    )
    tokenizer = models.BertTokenizer(vocabulary=WORDS, lowercase=True)
    preprocessor = models.BertTextClassifierPreprocessor(tokenizer, sequence_length=6)
    classifier = models.BertTextClassifier(backbone, 2, preprocessor)
    texts = np.array(["good film", "bad films", "Good", "bad"] * 4, object), np.array([0, 1, 0, 1] * 4)
    data = Dataset.from_arrays("reviews", ("good", "bad"), texts, texts, texts)
    model, taken = take_model(classifier, data)
    assert taken.decode == Tokenizer(tuple(WORDS), True, 6)
    expected = classifier.predict(list(texts[0][:4]), verbose=0)
    found = model(taken.decode.encode(list(texts[0][:4])))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    step = Prune(sparsity=0.5, schedule="constant", fit=Training(epochs=1, batch_size=8))
    report = compress(classifier, data, [step], tmp_path)
    assert report.variants[0].agreement.largest_difference < 1e-5
    assert min(tensor.sparsity for tensor in report.variants[1].tensors if not tensor.table) >= 0.5
    assert (tmp_path / "stages" / "01-prune" / "vocab.txt").is_file()


def test_token_ids_out_of_range_are_found_before_training(tmp_path):
    model = bert(BertConfig(vocabulary=9, sequence_length=4, width=8, depth=1, heads=1, mlp=8), 2)
    ids = np.array([[2, 5, 9, 3], [2, 6, 3, 0]], np.int32)
    features = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": np.ones_like(ids)}
    split = features, np.array([0, 1])
    data = Dataset.from_arrays("ids", "ab", split, split, split)
    with pytest.raises(UserError, match=r"ids up to 9 in token_ids, but the table token_embedding has rows for 0 to 8"):
        compress(model, data, [], tmp_path / "work")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda split: split.map(lambda features, _: features), r"pass unbatched \(features, label\) pairs"),
        (lambda split: split.repeat(), "the train split is infinite"),
    ],
)
def test_splits_that_cannot_be_used_are_told_before_a_model_is_fitted_to_them(tmp_path, change, message):
    ids = tf_keras.Input((4,), dtype=tf.int32, name="ids")
    model = tf_keras.Model(
        ids, tf_keras.layers.Dense(2)(tf_keras.layers.Flatten()(tf_keras.layers.Embedding(9, 2)(ids)))
    )
    split = np.zeros((3, 4), np.int32), np.array([0, 1, 0])
    data = Dataset.from_arrays("ids", "ab", split, split, split)
    with pytest.raises(UserError, match=message):
        compress(model, replace(data, train=change(data.train)), [], tmp_path / "work")


def test_a_vocabulary_larger_than_the_table_is_refused(reviews, tmp_path):
    model = bert(BertConfig(vocabulary=8, sequence_length=6, width=8, depth=1, heads=1, mlp=8), 2)
    data = replace(load_data(recipe(reviews)), decode=Tokenizer(tuple(WORDS), sequence_length=6))
    with pytest.raises(UserError, match=r"ids up to 8 in token_ids, .* use the vocabulary that the model was trained"):
        compress(model, data, [], tmp_path / "work")


def test_a_distilbert_takes_texts_without_their_segments(reviews):
    model = bert(BertConfig(vocabulary=100, sequence_length=8, width=8, depth=1, heads=1, mlp=8, segments=0), 2)
    data = replace(load_data(recipe(reviews)), decode=Tokenizer(tuple(WORDS), sequence_length=8))
    check_fit(model, data)
    assert model.input_names == ["token_ids", "padding_mask"]
    assert model.predict(data.batches("test", 4), verbose=0).shape[1] == 2
