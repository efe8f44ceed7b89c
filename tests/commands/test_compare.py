import numpy as np
import pytest
import tf_keras
from scipy.stats import spearmanr

from tfcompress.commands.compare import compare_files
from tfcompress.data import registry
from tfcompress.data.dataset import Dataset
from tfcompress.data.tasks import Embedding, Regression, Task
from tfcompress.export.converter import convert
from tfcompress.measure.interpreter import predict


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Makes data of a task the data set `digits`, and two files with so many outputs."""

    def make(task: Task, labels: np.ndarray, outputs: int) -> tuple[list, np.ndarray]:
        tf_keras.utils.set_random_seed(0)
        pictures = np.random.default_rng(0).random((len(labels), 8, 8, 3), np.float32)
        split = (pictures, labels.astype(np.float32))
        data = Dataset.from_arrays("given", (), split, split, split, task=task)
        monkeypatch.setattr(registry, "load", lambda *_: data)
        image = tf_keras.Input((8, 8, 3), name="image")
        dense = tf_keras.layers.Dense(32, "relu")(tf_keras.layers.Flatten()(image))
        model = tf_keras.Model(image, tf_keras.layers.Dense(outputs, name="answer")(dense))
        files = [tmp_path / f"{stored_as}.tflite" for stored_as in ("float32", "dynamic")]
        for file in files:
            file.write_bytes(convert(model, file.stem))
        return files, pictures

    return make


def test_embeddings_of_pairs_are_compared_by_the_ranks_of_their_cosines(given):
    likeness = np.random.default_rng(1).random(8)
    files, pictures = given(Embedding(), np.repeat(likeness, 2), 6)
    found = compare_files(files, "digits", examples=15, rounds=2)  # The last pair is kept whole.
    assert found.examples == 16
    expected = []
    for file in files:
        a, b = _halves(predict(file, pictures))
        expected.append(spearmanr(likeness, (a * b).sum(axis=1)).statistic)
    first, second = found.files
    assert [file.quality[0].value for file in found.files] == pytest.approx(expected)
    assert (first.quality[0].metric, first.quality[0].cases) == ("Spearman of cosines", 8)
    (change,) = second.change
    assert change.difference == pytest.approx(expected[1] - expected[0])
    assert change.low <= change.difference <= change.high
    assert change.p_value is None
    assert second.divergence is None
    assert second.cosine.value > 0.9


def _halves(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return (embeddings / lengths)[::2], (embeddings / lengths)[1::2]


def test_numbers_are_compared_by_their_errors(given):
    labels = np.random.default_rng(1).normal(size=12)
    files, pictures = given(Regression(), labels, 1)
    found = compare_files(files, "digits", rounds=2)
    errors = [np.abs(predict(file, pictures)[:, 0] - labels) for file in files]
    assert [file.quality[0].value for file in found.files] == pytest.approx(
        [error.mean() for error in errors], rel=1e-5
    )
    assert [quality.metric for quality in found.files[0].quality] == ["MAE", "Pearson", "Spearman"]
    assert found.files[1].change[0].difference == pytest.approx((errors[1] - errors[0]).mean(), abs=1e-5)


def test_what_the_data_cannot_judge_is_said(given, capsys):
    files, _ = given(Regression(), np.zeros(4), 3)
    found = compare_files(files, "digits", rounds=2)
    assert found.files[0].quality == found.files[1].change == ()
    told = " ".join(capsys.readouterr().err.split())
    assert "float32 (1, 3), but digits is for regression: quality is not measured" in told


def test_the_task_of_ones_own_texts_can_be_told(tmp_path, tiny_text):
    ids = tf_keras.Input((12,), dtype="int32", name="token_ids")
    states = tf_keras.layers.Embedding(len(tiny_text.decode.vocabulary), 8, name="table")(ids)
    model = tf_keras.Model(ids, tf_keras.layers.GlobalAveragePooling1D(name="embedding")(states))
    tiny_text.decode.save(tmp_path)
    (tmp_path / "model.tflite").write_bytes(convert(model, "float32", names=()))
    table = tmp_path / "pairs.tsv"
    table.write_text("one\ttwo\tlabel\nthe dog\tthe cat\t0.5\nthe saw\tone file\t0.9\none fig\tone pear\t0.1\n")
    described = tmp_path / "pairs.yaml"
    described.write_text(f"data: {{name: text_file_test, path: {table}, columns: {{text: one, text_pair: two}}}}")
    files = [tmp_path / "model.tflite"] * 2
    found = compare_files(files, str(described), rounds=2, task="embedding")
    assert [file.quality[0].metric for file in found.files] == ["Spearman of cosines"] * 2
    assert f"--data {described} --examples 6 --task embedding" in found.command
