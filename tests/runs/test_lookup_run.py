"""A run of a text classifier that looks words up by itself."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tests.command_line import run
from tfcompress.commands.examples import tokens
from tfcompress.measure.interpreter import Runner, predict
from tfcompress.tflite.metadata import LookupInput, read_description

REVIEWS = [f"a {word}, {word} film: number {number}!" for number in range(12) for word in ("good", "bad")]


def test_words_are_looked_up_before_the_model_and_the_file_says_how(tmp_path, monkeypatch, capsys):
    lines = [f"{text}\t{('good', 'bad')[i % 2]}" for i, text in enumerate(REVIEWS)]
    (tmp_path / "reviews.tsv").write_text("\n".join(["text\tlabel", *lines]))
    words = keras.layers.TextVectorization(40, output_sequence_length=6)
    words.adapt(REVIEWS)
    text = keras.Input((1,), dtype="string", name="text")
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(40, 8)(words(text)))
    model = keras.Model(text, keras.layers.Dense(2)(x))
    model.save(tmp_path / "words.keras")
    changes = [
        f"--set=data={{name: text_file, path: {tmp_path / 'reviews.tsv'}}}",
        "--set=techniques=[prune: {sparsity: 0.5, fit: {epochs: 1, batch_size: 8}}]",
        "--set=export.formats=[float32]",
        "--set=export.logits=true",
    ]
    work = tmp_path / "out"
    arguments = ("run", "bert_half_trec", "--workdir", str(work), "--model", str(tmp_path / "words.keras"))
    status, _, err = run(monkeypatch, capsys, *arguments, *changes)
    assert status == 0, err
    assert (work / "stages" / "01-prune" / "lookup.json").is_file()
    file = work / "tflite" / "00-base-float32.tflite"
    description = read_description(file.read_bytes())
    assert description is not None
    assert isinstance(description.input, LookupInput)
    assert "lookup.json" in description.text
    texts = ["A good film.", "a bad one", ""]
    found = predict(file, tokens(file, Runner(file), tf.data.Dataset.from_tensor_slices(texts)))
    np.testing.assert_allclose(found, model(tf.constant(texts)[:, None]), atol=1e-5)
