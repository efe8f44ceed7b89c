import numpy as np
import pytest

from tests.models.pretrained import hugging_face_forward as forward
from tests.models.pretrained.hugging_face_folders import LENGTH, ROWS, WIDTH, WORDS
from tests.models.pretrained.sentence_folders import ENCODER, NORMALIZE, pooling, sentence_folder
from tfcompress.errors import UserError
from tfcompress.models.pretrained import hugging_face


def dense(size, activation="torch.nn.modules.activation.Tanh", bias=True):
    rng = np.random.default_rng(7)
    config = {"in_features": WIDTH, "out_features": size, "bias": bias, "activation_function": activation}
    tensors = {"linear.weight": rng.normal(size=(size, WIDTH)).astype(np.float32)}
    return "Dense", config, tensors | ({"linear.bias": rng.normal(size=size).astype(np.float32)} if bias else {})


def texts():
    rng = np.random.default_rng(1)
    mask = np.arange(LENGTH) < np.array([[LENGTH], [3]])
    return rng.integers(0, len(WORDS), (2, LENGTH)), rng.integers(0, 2, (2, LENGTH)), mask


def embedding(folder):
    found = hugging_face.load_whole(folder, LENGTH)
    assert (found.task, found.with_head, found.labels) == ("embedding", True, ())
    assert found.model.output_names == ["embedding"]
    return np.asarray(found.model(list(texts())))


def pools():
    ids, segments, mask = texts()
    states = forward.bert(ENCODER, 2, 1e-5, ids, segments, mask)
    total, count = (states * mask[:, :, None]).sum(1), mask.sum(1)[:, None]
    longest = np.where(mask[:, :, None], states, -np.inf).max(1)
    return {"cls": states[:, 0], "max": longest, "mean": total / count, "root": total / np.sqrt(count)}


def close(found, expected):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        (pooling("cls_token"), ["cls"]),
        (pooling("max_tokens"), ["max"]),
        (pooling("mean_tokens"), ["mean"]),
        (pooling("mean_sqrt_len_tokens"), ["root"]),
        (pooling("mean_tokens", "cls_token", "max_tokens"), ["cls", "max", "mean"]),
        ({"embedding_dimension": WIDTH, "pooling_mode": "cls"}, ["cls"]),
    ],
)
def test_tokens_are_pooled_as_asked_and_padding_does_not_count(tmp_path, asked, parts):
    close(embedding(sentence_folder(tmp_path, asked)), np.concatenate([pools()[part] for part in parts], -1))


def test_dense_layers_and_normalization_follow(tmp_path):
    wide = dense(5)
    found = embedding(sentence_folder(tmp_path, pooling("mean_tokens"), wide, NORMALIZE, encoder="0_Transformer"))
    hidden = np.tanh(pools()["mean"] @ wide[2]["linear.weight"].T + wide[2]["linear.bias"])
    close(found, hidden / np.linalg.norm(hidden, axis=1, keepdims=True))
    plain = dense(4, "torch.nn.modules.linear.Identity", bias=False)
    found = embedding(sentence_folder(tmp_path, pooling("mean_tokens"), NORMALIZE, plain, encoder="0_Transformer"))
    mean = pools()["mean"]
    close(found, mean / np.linalg.norm(mean, axis=1, keepdims=True) @ plain[2]["linear.weight"].T)


def test_length_and_case_are_those_of_the_folder(tmp_path):
    sentence_folder(tmp_path, pooling("mean_tokens"), max_seq_length=5, do_lower_case=True)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    found = hugging_face.load_whole(tmp_path)
    assert found.model.input_shape[0] == (None, 5)
    assert (found.text.most_tokens, found.lowercase, found.strip_accents) == (5, True, False)
    assert hugging_face.load(tmp_path, 0, ROWS, task="embedding").model.input_shape[0] == (None, ROWS)
    classifier = hugging_face.load(tmp_path, 3, LENGTH, pooling="mean")
    assert (classifier.task, classifier.with_head, classifier.lowercase) == ("classification", False, True)
    assert classifier.model.output_shape == (None, 3)


@pytest.mark.parametrize(
    ("pooled", "after", "message"),
    [
        (pooling("weightedmean_tokens"), [], "1_Pooling pools by weightedmean; accepted are cls, max, mean, mean_sqrt"),
        (pooling(), [], "1_Pooling pools by nothing; accepted are cls"),
        (pooling("mean_tokens"), [("LSTM", {}, None)], "lists a LSTM; accepted are Transformer, Pooling, Dense"),
        (pooling("mean_tokens"), [("Pooling", pooling(), None)], "lists Transformer, Pooling, Pooling; accepted are"),
        (pooling("mean_tokens"), [dense(4, "mine.Swish")], "2_Dense has the activation mine.Swish; accepted are Ident"),
        (pooling("mean_tokens", "cls_token"), [dense(4)], "2_Dense has weights of .* to 4 and reads 32; use an undam"),
        (pooling("mean_tokens"), [(*dense(4)[:2], {})], r"2_Dense has weights of shape \[\], but its config.json says"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(tmp_path, pooled, after, message):
    with pytest.raises(UserError, match=message):
        hugging_face.load_whole(sentence_folder(tmp_path, pooled, *after), LENGTH)


def test_torch_weights_of_a_dense_layer_come_with_the_command_that_converts_them(tmp_path):
    sentence_folder(tmp_path, pooling("mean_tokens"), dense(4))
    (tmp_path / "2_Dense" / "model.safetensors").rename(tmp_path / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"where sentence_transformers is installed: python -c .*SentenceTransformer as"
    ):
        hugging_face.load_whole(tmp_path, LENGTH)
