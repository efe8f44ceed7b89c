"""The strategy of a run: over which devices and machines every training step is spread (`tf.distribute`)."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import tensorflow as tf

from tfcompress.errors import UserError, first_line
from tfcompress.files import writing_to
from tfcompress.progress import console

StrategyName = Literal["mirrored", "multi_worker"]

CONFIG = "TF_CONFIG"
"""The environment variable that tells each worker of the others, see https://www.tensorflow.org/guide/distributed_training."""

_EXAMPLE = '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'

_JOBS = ("chief", "worker")

_KINDS = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)

_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)
"""What TensorFlow raises where another worker has ended."""


@dataclass(frozen=True)
class Strategy:
    """Where a run trains.

    Attributes:
        of_tensorflow: what tf_keras uses; TensorFlow's default strategy if the run names none.
    """

    of_tensorflow: tf.distribute.Strategy

    @property
    def distributed(self) -> bool:
        """Whether the run names a strategy, even if that has one device only."""
        return isinstance(self.of_tensorflow, _KINDS)

    @property
    def replicas(self) -> int:
        """On how many devices a step is computed at the same time, on all machines together."""
        return int(self.of_tensorflow.num_replicas_in_sync)

    @property
    def counted(self) -> int:
        """How often tf_keras counts a value in the logs of a step: it adds up what all devices of workers agree on."""
        return self.replicas if self._several_workers else 1

    @property
    def chief(self) -> bool:
        """Whether this process writes the files of the run; of several workers, exactly one does."""
        return bool(self.of_tensorflow.extended.should_checkpoint)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Within it, models are built for the strategy and trained by it; it does nothing if the run names none.

        Raises:
            UserError: another worker has ended.
        """
        if not self.distributed:
            yield
            return
        with self._lost_workers_named(), self.of_tensorflow.scope():
            yield

    def run(self, function: Callable[[], None]) -> None:
        """Calls a function on every device; variables that it makes within `scope` are the strategy's.

        Raises:
            UserError: a loss in it averages what another loss has averaged.
        """
        if not self.distributed:
            function()
            return
        try:
            self.of_tensorflow.run(function)
        except ValueError as error:
            if "losses.Reduction" not in str(error):
                raise
            raise UserError(
                "the loss calls another loss that averages, which no strategy takes; use that loss's `call`, or give "
                "it reduction=tf_keras.losses.Reduction.NONE"
            ) from error

    def check_batches(self, name: str, batch_size: int, examples: int) -> None:
        """Raises a `UserError` unless every device gets as many examples of each batch.

        Args:
            name: of the training.
            batch_size: of all devices together.
            examples: in the training split; a batch is never larger.
        """
        if min(batch_size, examples) % self.replicas == 0:
            return
        few = f" (there are only {examples} examples)" if examples < batch_size else ""
        raise UserError(
            f"{name}: a batch of {min(batch_size, examples)} examples{few} cannot be divided by the {self.replicas} "
            f"devices of the strategy; choose a batch_size that is a multiple of {self.replicas}"
        )

    def wait(self) -> None:
        """Returns once every worker has called this."""
        self.of_chief(0)

    def of_chief(self, number: int) -> int:
        """Returns the chief's number, once every worker has called this."""
        if not self._several_workers:
            return number

        def own(context: Any) -> tf.Tensor:
            return tf.constant(number if self.chief and context.replica_id_in_sync_group == 0 else 0, tf.int64)

        with self._lost_workers_named():
            numbers = self.of_tensorflow.experimental_distribute_values_from_function(own)
            return int(self.of_tensorflow.reduce(tf.distribute.ReduceOp.SUM, numbers, axis=None))

    def check_shared(self, folder: Path) -> None:
        """Raises a `UserError` unless every worker sees the chief's folder; all of them call this."""
        if not self._several_workers:
            return
        mark = folder / f".seen-{self.of_chief(secrets.randbits(60))}"
        try:
            if self.chief:
                with writing_to(mark):
                    folder.mkdir(parents=True, exist_ok=True)
                    mark.touch()
            self.wait()
            if not mark.exists():
                raise UserError(
                    f"this worker does not see the folder {folder} of the chief; give all workers one --workdir that "
                    "all machines see"
                )
            self.wait()
        finally:
            if self.chief:
                mark.unlink(missing_ok=True)

    def own(self, folder: Path) -> Path:
        """Returns where this process writes what the chief writes to `folder`: other workers, to a temporary place."""
        return folder if self.chief else Path(_temporary().name, *folder.parts[1:])

    def shards(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Returns global batches so that each worker trains on its part of every one of them."""
        if not self.distributed:
            return batches
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return batches.with_options(options)

    @property
    def _several_workers(self) -> bool:
        return isinstance(self.of_tensorflow, tf.distribute.MultiWorkerMirroredStrategy)

    @contextmanager
    def _lost_workers_named(self) -> Iterator[None]:
        """Turns the errors of what another worker should have taken part in into a `UserError`."""
        try:
            yield
        except _LOST as error:
            if not self._several_workers:
                raise
            text = re.sub(r"\{\{.*?\}\}", "", str(error))  # It can begin with the name of an operation.
            telling = next((line for line in text.splitlines() if "/job:" in line), first_line(error))
            raise UserError(
                f"another worker has ended or cannot be reached ({telling.strip(' :.')[:200]}); see what it wrote, "
                "then start all workers again: they go on after the last epoch"
            ) from error


def begin(name: StrategyName | None) -> Strategy:
    """Returns the strategy of that name in this process, which is made at the first call.

    `multi_worker` must begin before anything else uses TensorFlow, and waits until all workers have begun.

    Raises:
        UserError: `TF_CONFIG` does not say which worker this is, TensorFlow has been used before, or the workers do not
            find each other.
    """
    return current() if name is None else _made(name)


@cache
def _made(name: StrategyName) -> Strategy:
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        console.print(f"training on {len(devices)} {devices[0].device_type} devices", soft_wrap=True)
        return Strategy(tf.distribute.MirroredStrategy([device.name for device in devices]))
    console.print(f"{_who_of(os.environ.get(CONFIG))}: waiting for the others", soft_wrap=True)
    at_end = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    try:
        made = Strategy(tf.distribute.MultiWorkerMirroredStrategy())
    except RuntimeError as error:
        raise UserError(
            "strategy multi_worker cannot begin, because this process has used TensorFlow before; in Python, call "
            f'tfcompress.strategy.begin("multi_worker") before anything else ({first_line(error)})'
        ) from error
    except tf.errors.OpError as error:
        raise UserError(
            f"strategy multi_worker: the workers in {CONFIG} cannot begin ({first_line(error)}); see that each address "
            "is free and can be reached"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, at_end)  # TensorFlow has taken it, and does nothing with it.
    return made


def current() -> Strategy:
    """Returns the strategy in whose scope this is called."""
    return Strategy(tf.distribute.get_strategy())


def _who_of(config: str | None) -> str:
    """Returns which worker this process is, from the content of `TF_CONFIG`.

    Raises:
        UserError: it does not say that.
    """
    try:
        content = json.loads(config or "")
        jobs, task = dict(content["cluster"]), content["task"]
        job, index = task["type"], int(task["index"])
    except (ValueError, KeyError, TypeError):
        given = "is not set" if config is None else f"is {config!r}"
        raise _refused(f"{given}; set it to {_EXAMPLE}, with another index for each worker") from None
    if unknown := set(jobs) - set(_JOBS):
        raise _refused(f"has the jobs {', '.join(sorted(unknown))}; the cluster takes {' and '.join(_JOBS)} only")
    for listed in jobs.values():
        if not isinstance(listed, list) or not all(re.fullmatch(r"\S+:\d+", str(address)) for address in listed):
            raise _refused(f"has the addresses {listed!r}; write a list of HOST:PORT for each job")
    addresses = [address for listed in jobs.values() for address in listed]
    if len(set(addresses)) < len(addresses):
        raise _refused(f"has an address twice: {', '.join(addresses)}; each worker needs its own")
    members = [f"{one} {number}" for one in _JOBS for number in range(len(jobs.get(one, ())))]
    if f"{job} {index}" not in members:
        raise _refused(f"names the task {job} {index}, but the cluster has {', '.join(members) or 'no worker'}")
    return f"{job} {index} of {len(members)}"


def _refused(what: str) -> UserError:
    return UserError(f"strategy multi_worker: the environment variable {CONFIG} {what}")


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    """Returns a folder that is removed when this process ends."""
    return tempfile.TemporaryDirectory(prefix="tfcompress-")
