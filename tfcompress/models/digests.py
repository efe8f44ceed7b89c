"""Digests of what the tensors of a graph are computed from, to compare two graphs."""

from __future__ import annotations

from collections.abc import Hashable

import tensorflow as tf

from tfcompress.models.expand import Trace
from tfcompress.models.probing import ALIASES

_IGNORED = {"seed", "seed2", "shared_name"}
"""Attributes that differ from trace to trace."""


class Digests:
    """The digests of the tensors of a graph that may still grow; those of equal computations are equal.

    Attributes:
        tensors: the first tensor with each digest.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._of: dict[str, int] = {}
        self._marks: dict[str, int] = {}
        self._done = 0
        self.tensors: dict[int, tf.Tensor] = {}

    def of(self, tensor: tf.Tensor) -> int:
        return self._of[tensor.name]

    def mark(self, tensor: tf.Tensor, token: Hashable) -> None:
        """Gives a tensor a digest of its own, whatever it is computed from."""
        self._marks[tensor.name] = hash(token)
        if tensor.name in self._of:
            self._of[tensor.name] = hash(token)
            self.tensors.setdefault(hash(token), tensor)

    def update(self, end: int | None = None) -> None:
        """Digests the operations that are new, up to the position `end` in the graph."""
        operations = self._trace.graph.get_operations()[self._done : end]
        if not operations:
            return
        self._done += len(operations)
        outer = {inner.name: id(outer) for outer, inner in self._trace.graph.captures}
        given = {tensor.name: name for name, tensor in self._trace.inputs.items()}
        for operation in operations:
            inputs = [self._of[tensor.name] for tensor in operation.inputs]
            key = None if operation.type in ALIASES else hash((operation.type, _attributes(operation), *inputs))
            for i, tensor in enumerate(operation.outputs):
                name = tensor.name
                if name in self._marks:
                    digest = self._marks[name]
                elif name in given:
                    digest = hash(("input", given[name]))
                elif name in outer:
                    digest = hash(("outer", outer[name]))
                else:
                    digest = inputs[i] if key is None else hash((key, i))
                self._of[name] = digest
                self.tensors.setdefault(digest, tensor)


def _attributes(operation: tf.Operation) -> tuple[tuple[str, bytes], ...]:
    attributes = operation.node_def.attr
    kept = (name for name in sorted(attributes) if not name.startswith("_") and name not in _IGNORED)
    return tuple((name, attributes[name].SerializeToString(deterministic=True)) for name in kept)
