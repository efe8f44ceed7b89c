import json

import numpy as np
import pytest
import tf_keras

from tests.command_line import run
from tfcompress.commands.evaluate import evaluate_model
from tfcompress.data.text import text_file
from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.measure.interpreter import predict


def test_a_file_is_evaluated_on_the_test_split(tiny_vit, tiny_data, images, tmp_path, monkeypatch, capsys):
    file, figures = tmp_path / "vit.tflite", tmp_path / "figures.json"
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
    assert found.quality[0].value == np.mean(tiny_bert.predict(tokens, verbose=0).argmax(1) == labels)


def test_a_model_that_the_data_cannot_judge_is_refused(tmp_path):
    image = tf_keras.Input((8, 8, 3), name="image")
    model = tf_keras.Model(image, tf_keras.layers.Dense(7)(tf_keras.layers.Flatten()(image)), name="seven")
    with pytest.raises(UserError, match=r"^seven gives float32 \(1, 7\), but digits has 10 classes; give a model that"):
        evaluate_model(model, "digits", examples=2)
