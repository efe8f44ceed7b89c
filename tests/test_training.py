import dataclasses

import numpy as np
import pytest
import tf_keras

from tfcompress.errors import UserError
from tfcompress.files import read_json, write_json
from tfcompress.models.vit import vit
from tfcompress.strategy import begin
from tfcompress.training import Objective, Training, delete_checkpoint, fit, make_repeatable

from .tiny import TINY

TRAINING = Training(epochs=3, batch_size=32, learning_rate=1e-3, warmup=0.2, weight_decay=0.01)


class Killed(BaseException):
    pass


class KillIn(tf_keras.callbacks.Callback):
    def __init__(self, epoch, batch):
        super().__init__()
        self.at, self.epoch = (epoch, batch), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise Killed


def train(data, folder, *callbacks):
    make_repeatable(7)
    model = vit(TINY, 10, dropout=0.2)
    rows = fit(model, data, TRAINING, Objective(), 7, folder, callbacks)
    return model, rows


def test_training_that_was_killed_twice_ends_with_the_same_bits(tiny_data, tmp_path):
    whole, rows = train(tiny_data, tmp_path / "whole")
    for at in [(0, 1), (2, 2)]:
        with pytest.raises(Killed):
            train(tiny_data, tmp_path / "killed", KillIn(*at))
    history = tmp_path / "killed" / "checkpoint" / "history.json"
    write_json(history, [*read_json(history), {"epoch": 2}])  # as if it was killed between history and checkpoint
    for _ in range(2):  # the second time as if it was killed after the last epoch
        resumed, resumed_rows = train(tiny_data, tmp_path / "killed")
        assert rows == resumed_rows
        for expected, found in zip(whole.get_weights(), resumed.get_weights(), strict=True):
            np.testing.assert_array_equal(expected, found)
    history.write_text("[")
    with pytest.raises(
        UserError, match=r"history\.json cannot be read \(Expecting value.*\); delete .*checkpoint, and"
    ):
        train(tiny_data, tmp_path / "killed")


@pytest.mark.parametrize(("epochs", "traced"), [(2, False), (3, True)])
def test_only_a_training_of_many_steps_is_traced(tiny_data, tmp_path, epochs, traced):
    layers = tf_keras.layers
    model = tf_keras.Sequential([tf_keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(10)])
    fit(model, tiny_data, Training(epochs=epochs, batch_size=32), Objective(), 0, tmp_path)
    assert model.run_eagerly is not traced


class Nested(tf_keras.losses.Loss):
    def call(self, y_true, y_pred):
        return tf_keras.losses.MeanSquaredError()(y_true[:, None], y_pred)


def test_a_loss_that_averages_another_is_refused_by_a_strategy(tiny_data, tmp_path):
    layers = tf_keras.layers
    with begin("mirrored").scope():  # of one device
        model = tf_keras.Sequential([tf_keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(10)])
        with pytest.raises(UserError, match="the loss calls another loss that averages, which no strategy takes"):
            fit(model, tiny_data, TRAINING, Objective(Nested()), 0, tmp_path)


def test_whoever_watches_sees_the_rows_and_may_end_the_training(tiny_data, tmp_path):
    def watch(rows):
        seen.append([row["epoch"] for row in rows])
        if len(rows) == 2:
            raise Killed

    seen = []
    layers = tf_keras.layers
    model = tf_keras.Sequential([tf_keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(10)])
    for _ in range(2):  # the second time, the rows are shown at once
        with pytest.raises(Killed):
            fit(model, tiny_data, TRAINING, Objective(), 0, tmp_path, watch=watch)
    assert seen == [[0], [0, 1], [0, 1]]


def test_another_seed_gives_other_weights(tiny_data, tmp_path):
    first, _ = train(tiny_data, tmp_path / "first")
    make_repeatable(8)
    second = vit(TINY, 10, dropout=0.2)
    fit(second, tiny_data, TRAINING, Objective(), 8, tmp_path / "second")
    difference = first.get_layer("head").kernel.numpy() - second.get_layer("head").kernel.numpy()
    assert np.abs(difference).max() > 1e-3


def test_nan_stops_training_and_the_last_good_epoch_is_kept(tiny_data, tmp_path):
    class NaNFromSecondEpoch(tf_keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                head = self.model.get_layer("head")
                head.kernel.assign(head.kernel * np.nan)

    with pytest.raises(UserError, match=r"loss became nan in epoch 2, step 1; lower learning_rate"):
        train(tiny_data, tmp_path, NaNFromSecondEpoch())
    model, rows = train(tiny_data, tmp_path)
    assert len(rows) == 3
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_nan_from_the_last_step_of_an_epoch_is_detected_by_the_validation(tiny_data, tmp_path):
    class NaNAtTheEnd(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 3:
                self.model.get_layer("head").kernel.assign(self.model.get_layer("head").kernel * np.nan)

    with pytest.raises(UserError, match=r"loss became nan in epoch 1, validation"):
        train(tiny_data, tmp_path, NaNAtTheEnd())
    assert not (tmp_path / "checkpoint" / "history.json").exists()


def test_the_users_loss_optimizer_and_metrics_are_used(tiny_data, tmp_path):
    objective = Objective(
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        tf_keras.optimizers.SGD(0.5),
        [tf_keras.metrics.SparseTopKCategoricalAccuracy(3, name="top3")],
    )
    model = vit(TINY, 10)
    rows = fit(model, tiny_data, TRAINING, objective, 0, tmp_path)
    assert isinstance(model.optimizer, tf_keras.optimizers.SGD)
    assert set(rows[0]) == {"epoch", "loss", "top3", "val_loss", "val_top3", "learning_rate"}
    assert {row["learning_rate"] for row in rows} == {0.5}


def test_the_checkpoint_can_be_deleted(tiny_data, tmp_path):
    train(tiny_data, tmp_path)
    assert (tmp_path / "checkpoint").is_dir()
    delete_checkpoint(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tiny_data, below_a_file):
    with pytest.raises(UserError, match=r"cannot write .*file/work"):
        train(tiny_data, below_a_file)


def test_training_works_with_fewer_examples_than_a_batch(tiny_data, tmp_path):
    few = dataclasses.replace(tiny_data, train=tiny_data.train.take(5))
    rows = fit(vit(TINY, 10), few, Training(epochs=1, batch_size=64), Objective(), 0, tmp_path)
    assert np.isfinite(rows[0]["loss"])


def test_the_step_is_traced_once(tiny_data, tmp_path):
    traces = []

    class Traced(tf_keras.layers.Layer):
        def call(self, inputs, training=None):
            traces.append(training)
            return inputs

    base = vit(TINY, 10)
    model = tf_keras.Model(base.input, Traced()(base.output))
    traces.clear()
    fit(model, tiny_data, TRAINING, Objective(), 0, tmp_path)
    assert traces.count(True) == 1
