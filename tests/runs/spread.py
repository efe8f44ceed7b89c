"""Runs whose training is spread over two workers or two devices, each for a process of its own."""

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

from tfcompress import Cluster, Export, Prune, Report, Training, compress
from tfcompress.cli.program import as_user_sees
from tfcompress.data.dataset import Dataset
from tfcompress.optimize.technique import Technique
from tfcompress.runs.chain import Chain
from tfcompress.strategy import StrategyName, begin
from tfcompress.training import Objective, make_repeatable


def training(strategy: StrategyName | None, batch_size: int = 32) -> Training:
    """Returns a training of three epochs, of four steps each."""
    return Training(epochs=3, batch_size=batch_size, learning_rate=1e-2, strategy=strategy)


def techniques(strategy: StrategyName | None, kind: type[Prune] = Prune) -> list[Technique]:
    """Returns one technique that trains and one that does not."""
    prune = kind(sparsity=0.5, schedule="constant", fit=training(strategy))
    return [prune, Cluster(clusters=16, training=False)]


def make_stages(workdir: Path, first: Training | None, then: Sequence[Technique] = ()) -> None:
    """Trains a model, unless there is no first training, and makes the stages of techniques."""
    base = lambda: (_model(), _data())  # noqa: E731
    for _ in Chain(workdir, base, first, then, Objective(), Export(), seed=0).stages(lambda *_: None):
        pass


def on_two_devices(workdir: Path) -> None:
    """Trains a model on two devices that share the processor."""
    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    make_stages(workdir, training("mirrored"))


def worker(workdir: Path, addresses: Sequence[str], index: int, mortal: bool) -> None:
    """Compresses the model as one of several workers; a mortal one is killed in the second epoch."""
    _begin(addresses, index)
    compressed(workdir, mortal)


def terminated(addresses: Sequence[str]) -> None:
    """Begins as the only worker, and is asked to end."""
    _begin(addresses, 0)
    os.kill(os.getpid(), signal.SIGTERM)


def _begin(addresses: Sequence[str], index: int) -> None:
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
    begin("multi_worker")


def compressed(workdir: Path, mortal: bool = False) -> Report:
    """Compresses the untrained model; see `worker`."""
    return compress(_model(), _data(), techniques("multi_worker", _Mortal if mortal else Prune), workdir)


def process(log: Path, function: Callable[..., None], *args: object) -> None:
    """Calls a function as the command line would, with what it writes in a file."""
    with log.open("w") as file:
        os.dup2(file.fileno(), 2)
    with as_user_sees():
        function(*args)


def _model() -> tf_keras.Model:
    make_repeatable(0)
    layers = tf_keras.layers
    point = tf_keras.Input((8,), name="point")
    hidden = layers.Dense(16, "relu", name="hidden")(point)
    return tf_keras.Model(point, layers.Dense(4, name="head")(hidden), name="mine")


def _data() -> Dataset:
    """Returns points, which cost less than pictures: there is no folder for the demo app."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((256, 8)).astype(np.float32)
    labels = np.argmax(points @ rng.standard_normal((8, 4)), axis=1)
    parts = [(points[part], labels[part]) for part in (slice(128), slice(128, 192), slice(192, 256))]
    return Dataset.from_arrays("points", ("a", "b", "c", "d"), *parts)


class _Mortal(Prune):
    def callbacks(self) -> list[tf_keras.callbacks.Callback]:
        return [*super().callbacks(), _Kill()]


class _Kill(tf_keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self._epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)
