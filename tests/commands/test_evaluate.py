import json

import numpy as np
import pytest
import tf_keras
from scipy.stats import spearmanr

from tests.answers import answers
from tests.command_line import run
from tfcompress.commands.evaluate import evaluate_model
from tfcompress.data.text_files import text_file
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.measure.interpreter import predict


def test_a_file_is_evaluated_on_the_test_split(tiny_vit, tiny_data, images, tmp_path, monkeypatch, capsys):
    file, figures = tmp_path / "vit.TFLITE", tmp_path / "figures.json"
    file.write_bytes(convert(tiny_vit, "float32"))
    options = ["--data", "digits", "--examples", "64", "--json", str(figures)]
    status, out, _ = run(monkeypatch, capsys, "evaluate", str(file), *options)
    assert status == 0
    right = predict(file, images).argmax(1) == tiny_data.labels["test"]
    found = json.loads(figures.read_text())
    assert (found["model"], found["data"], found["examples"]) == (str(file), "digits", 64)
    top1 = found["quality"][0]
    assert (top1["metric"], top1["value"], top1["cases"]) == ("top-1", right.mean(), 64)
    assert f"{file} on digits, 64 test examples:" in out
    assert f"│ {right.mean():.2%} ({top1['low']:.1%}-{top1['high']:.1%}) │" in out


def test_a_model_is_evaluated_with_the_tokenizer_beside_it(tiny_bert, tiny_text, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    tiny_bert.save(folder / "bert.h5")
    tiny_text.decode.save(folder)
    rows = {text.decode(): tiny_text.classes[label] for text, label in tiny_text.train.as_numpy_iterator()}
    data = tmp_path / "texts.tsv"
    data.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows.items()))
    found = evaluate_model(folder / "bert.h5", f"text_file:{data}")
    expected = text_file(data)
    texts, labels = zip(*expected.test.as_numpy_iterator(), strict=True)
    tokens = tiny_text.decode.encode([text.decode() for text in texts])
    assert found.examples == len(texts)
    assert found.quality[0].value == np.mean(answers(tiny_bert, tokens).argmax(1) == labels)


def test_pairs_of_texts_are_evaluated_by_their_embeddings(tiny_text, tmp_path):
    tf_keras.utils.set_random_seed(0)
    ids = tf_keras.Input((12,), dtype="int32", name="token_ids")
    states = tf_keras.layers.Embedding(len(tiny_text.decode.vocabulary), 8, name="table")(ids)
    model = tf_keras.Model(ids, tf_keras.layers.GlobalAveragePooling1D(name="embedding")(states))
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model" / "embedding.h5")
    tiny_text.decode.save(tmp_path / "model")
    texts = [text.decode() for text, _ in tiny_text.test.as_numpy_iterator()]
    scores = np.random.default_rng(0).random(24).round(3)
    data = tmp_path / "pairs.tsv"
    rows = zip(texts[::2], texts[1::2], scores, strict=True)
    data.write_text("one\ttwo\tscore\n" + "".join(f"{a}\t{b}\t{score}\n" for a, b, score in rows))
    described = tmp_path / "pairs.yaml"
    columns = "{text: one, text_pair: two, label: score}"
    described.write_text(f"data: {{name: text_file_test, path: {data}, columns: {columns}}}")
    found = evaluate_model(tmp_path / "model" / "embedding.h5", str(described), task="embedding")
    vectors = answers(model, tiny_text.decode.encode(texts)["token_ids"])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = spearmanr(scores, (vectors[::2] * vectors[1::2]).sum(axis=1)).statistic
    (likeness,) = found.quality
    assert (found.examples, likeness.cases, likeness.case) == (48, 24, "pair")
    assert likeness.value == pytest.approx(expected, abs=0.01)
    assert likeness.low < likeness.value < likeness.high
    some = evaluate_model(tmp_path / "model" / "embedding.h5", str(described), examples=7, task="embedding")
    assert (some.examples, some.quality[0].cases) == (8, 4)


def test_a_model_that_the_data_cannot_judge_is_refused(tmp_path):
    image = tf_keras.Input((8, 8, 3), name="image")
    model = tf_keras.Model(image, tf_keras.layers.Dense(7)(tf_keras.layers.Flatten()(image)), name="seven")
    with pytest.raises(UserError, match=r"^seven gives float32 \(1, 7\), but digits has 10 classes; give a model that"):
        evaluate_model(model, "digits", examples=2)
