"""Keeps TensorFlow and tfmot from importing Keras 3, which they do not use."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


@contextmanager
def without_keras3() -> Iterator[None]:
    """Makes `import keras` fail inside the block; what is imported already stays, and it can be imported afterwards.

    TensorFlow and tfmot try to import it when they are imported themselves, and go on if they cannot. It brings
    scikit-learn and Matplotlib with it, which takes a third of the time to import all of them.
    """
    refusal = _Refusal()
    sys.meta_path.insert(0, refusal)
    try:
        yield
    finally:
        sys.meta_path.remove(refusal)


class _Refusal(MetaPathFinder, Loader):
    """Finds Keras 3, because TensorFlow asks for its folder, but does not load it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname) if fullname == "keras" else None
        if spec is not None:
            spec.loader = self
        return spec

    def exec_module(self, module: ModuleType) -> None:
        raise ImportError("Keras 3 is not imported here")
