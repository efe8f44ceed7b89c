"""Ray as an engine: every call is a task on one core, which Ray makes again elsewhere if its worker dies."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from uuid import uuid4

from tfcompress.errors import UserError, first_line
from tfcompress.process import Outcome, outcome_of, pickled_call
from tfcompress.study.cores import own_core
from tfcompress.study.engines import Engine

T = TypeVar("T")

SECONDS = 10
"""How long a cluster may take to answer."""

_PORT = 10001

_STORE = 100 * 2**20
"""Bytes for what passes between processes of this machine; models go through files."""


class RayEngine(Engine):
    """Ray's workers, one core each."""

    parallel = True

    def __init__(self, ray: ModuleType, local: bool, retries: int = 5) -> None:
        """Takes Ray, connected to a cluster.

        Args:
            ray: the module.
            local: whether the cluster is this machine alone.
            retries: how often a call is made again after its worker died.
        """
        self._ray, self._local, self._retries = ray, local, retries
        self.workers = int(sum(node["Resources"]["CPU"] for node in _nodes(ray)))
        self._call = ray.remote(num_cpus=1, max_retries=retries)(_call)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Starts a task. What its worker writes is shown here, each line behind the function's name or text."""
        future: Future[T] = Future()
        made = (
            self._call.options(name=getattr(fn, "__name__", None) or str(fn))
            .remote(pickled_call(fn, *args, **kwargs), os.getcwd())
            .future()
        )
        made.add_done_callback(lambda done: self._settle(future, done))
        return future

    def shares(self, folder: Path) -> bool:
        if self._local:
            return True
        token = folder.resolve() / f".{uuid4().hex}"
        token.touch()
        try:
            return all(self._on_each_node(_is_file, str(token)))
        finally:
            token.unlink()

    def _settle(self, future: Future[T], done: Future[bytes]) -> None:
        """Passes on what came of a task."""
        try:
            if error := done.exception():
                raise UserError(
                    f"Ray gave the run up ({first_line(error)}), which it repeats {self._retries} times if its worker "
                    "dies; if memory ran out, start Ray with fewer CPUs, so that fewer runs share that of a machine"
                )
            outcome: Outcome = pickle.loads(done.result())
            future.set_result(outcome.result())
        except Exception as error:
            future.set_exception(error)

    def _on_each_node(self, function: Callable[..., T], *args: Any) -> list[T]:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        remote = self._ray.remote(num_cpus=0)(function)
        calls = [
            remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(*args)
            for node in _nodes(self._ray)
        ]
        found: list[T] = self._ray.get(calls)
        return found


@contextmanager
def started(address: str) -> Iterator[RayEngine]:
    """Yields Ray on this machine, started for the block, or the cluster at `HOST[:PORT]`; see `engines.engine`."""
    try:
        import ray
    except ImportError:
        raise UserError("the engine ray needs Ray: pip install 'tfcompress[ray]'") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # else 15, with which latencies would be those of a busy machine
    if address:
        _connect(ray, address)
    else:
        _start(ray)
    try:
        yield RayEngine(ray, local=not address)
    finally:
        ray.shutdown()


def _start(ray: ModuleType) -> None:
    """Starts Ray on this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        ray.init("local", num_cpus=cores, include_dashboard=False, object_store_memory=_STORE, logging_level="ERROR")
    except Exception as error:  # Ray raises it as such.
        raise UserError(
            f"Ray does not start on this machine ({first_line(error)}); try again when it is less busy, or use the "
            "engine local"
        ) from error


def _connect(ray: ModuleType, address: str) -> None:
    """Connects to a cluster, some of whose machines must have a core for a task."""
    host, _, port = address.partition(":")
    if not host or not (port or str(_PORT)).isdecimal():
        raise UserError(f"engine ray://{address}: the address is HOST or HOST:PORT, such as head.example:{_PORT}")
    try:
        # Ray itself would try for minutes.
        socket.create_connection((host, int(port or _PORT)), SECONDS).close()
        ray.init(f"ray://{host}:{port or _PORT}", logging_level="ERROR")
    except (OSError, OverflowError, RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(
            f"ray://{address} does not answer as Ray does ({first_line(error)}); start its head with "
            f"`ray start --head --ray-client-server-port={port or _PORT}`, of the same Ray and Python as here, and "
            "give its token if it wants one (RAY_AUTH_MODE=token)"
        ) from None
    if not _nodes(ray):
        ray.shutdown()
        raise UserError(
            f"ray://{address} has no machine that gives a run a core of its own; start Ray on one with --num-cpus=1 "
            "or more"
        )


def _nodes(ray: ModuleType) -> list[dict[str, Any]]:
    """Returns the machines that can take a task."""
    return [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]


def _call(call: bytes, folder: str) -> bytes:
    """Makes a call in a worker, in the driver's working folder if the worker sees one of that name."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    _prepare_worker()
    if Path(folder).is_dir():
        os.chdir(folder)
    try:
        # Before TensorFlow is imported, which starts as many threads as it may use cores.
        with own_core():
            return outcome_of(call).pickled()
    except UserError as error:
        return Outcome(error=error).pickled()


@cache
def _prepare_worker() -> None:
    """Lets this process end with Ray, and drops from now on what libraries write to file descriptor 2.

    Loggers keep the stream that they find first, so `sys.stderr` stays open for all calls of a worker.
    """
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    for name in ("tensorflow", "absl"):
        logging.getLogger(name).setLevel("ERROR")


def _end_with(parent: int) -> None:
    """Ends this process soon after its parent, for which Ray takes a minute if the driver was killed."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _is_file(path: str) -> bool:
    return Path(path).is_file()
