"""Where the runs of a study are made: in this process, or as tasks of Ray on this machine or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tfcompress.errors import UserError

T = TypeVar("T")

HERE = "local"
"""The name of the engine that is this process."""


class Engine(Executor):
    """Calls functions; those of an engine other than this process must be ones that can be imported, without Keras 3.

    Attributes:
        parallel: whether it makes calls beside this process.
        workers: how many calls it makes at once, at most.
    """

    parallel = False
    workers = 1

    def shares(self, folder: Path) -> bool:
        """Returns whether every machine that calls functions sees this folder, which exists."""
        return True


class InProcess(Engine):
    """Calls each function at once, before `submit` returns."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def engine(name: str = HERE) -> Iterator[Engine]:
    """Yields the engine of that name; when the block ends, calls that are not finished are given up.

    Args:
        name: `local`; `ray`, which starts Ray on this machine with a worker for each core; or `ray://HOST:PORT`, a
            cluster whose head listens there for clients, by default of Ray at port 10001.

    Raises:
        UserError: there is no such engine, Ray is not installed, or the cluster does not answer or cannot be used.
    """
    kind, separator, address = name.partition("://")
    if name == HERE:
        yield InProcess()
    elif kind == "ray" and bool(separator) == bool(address):
        from tfcompress.study.ray_engine import started

        with started(address) as found:
            yield found
    else:
        raise UserError(
            f"engine {name!r} is not known; use {HERE}, ray on this machine, or a cluster: ray://HOST:PORT with the "
            "head's port for clients, usually 10001"
        )
