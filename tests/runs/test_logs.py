import numpy as np
import pytest
import tf_keras

from tfcompress.errors import UserError
from tfcompress.runs.logs import write_logs

from .tensorboard import logged

ROWS = [{"epoch": 0, "loss": 2.0, "val_loss": 3.0, "learning_rate": 0.5}, {"epoch": 1, "loss": 1.0, "val_loss": 2.5}]


@pytest.fixture
def model() -> tf_keras.Model:
    dense = tf_keras.layers.Dense(3, name="dense")
    model = tf_keras.Sequential([tf_keras.Input((4,)), dense])
    dense.kernel.assign(np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, -1, -1, 2]).reshape(4, 3))
    return model


def test_a_stage_written_twice_is_there_once(model, tmp_path):
    for _ in range(2):
        write_logs(tmp_path / "logs", ROWS, model)
    found = logged(tmp_path / "logs")
    assert found["loss/train"] == [(0, 2.0), (1, 1.0)]
    assert found["loss/validation"] == [(0, 3.0), (1, 2.5)]
    assert found["learning_rate"] == [(0, 0.5)]
    assert found["sparsity/dense"] == [(2, 0.5)]
    assert found["distinct_values/dense"] == [(2, 4)]


def test_centroids_stand_alone_in_the_histogram(model, tmp_path):
    write_logs(tmp_path / "logs", [], model)
    [(step, bins)] = logged(tmp_path / "logs")["weights/dense"]
    peaks = bins[bins[:, 2] > 0]
    assert step == 0
    assert peaks[:, 2].tolist() == [2, 6, 3, 1]
    for value, (left, right, _) in zip((-1, 0, 1, 2), peaks, strict=True):
        assert left <= value <= right


def test_a_folder_that_cannot_be_written_is_named(model, below_a_file):
    with pytest.raises(UserError, match=f"cannot write {below_a_file}"):
        write_logs(below_a_file, ROWS, model)
