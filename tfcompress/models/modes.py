"""Traces a model in both modes, and finds what it computes otherwise in training than in inference.

Stock layers have both modes themselves. Around them, what layers are given and return is compared between a trace in
training and one in inference. Where it differs, the trace in inference gets a call of a `TrainingSide`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import tensorflow as tf

from tfcompress.errors import UserError
from tfcompress.models.digests import Digests
from tfcompress.models.expand import Call, Trace, own_tensor, trace
from tfcompress.models.extraction import extracted
from tfcompress.models.probing import Probe
from tfcompress.models.signature import Signature


class TrainingSide:
    """What a model computes in training in place of some of its tensors.

    Its calls have the arguments `inference`, these tensors, and `given`, the tensors of the model from which training
    computes others.

    Attributes:
        name: that of its layer in the copy.
        trace: what training computes from what is given.
    """

    weights: Sequence[Any] = ()

    def __init__(self, name: str, trace: Trace) -> None:
        self.name, self.trace = name, trace

    def call(self, inference: Any, given: Any, training: bool | None = None) -> None:
        """Has the arguments of a layer's method of this name."""


def trace_both(model: Any, signature: Signature, apart: Collection[int] = ()) -> Trace:
    """Traces a model in inference, with calls of a `TrainingSide` where it computes otherwise in training.

    Args:
        model: see `expand.trace`.
        signature: see `expand.trace`.
        apart: see `expand.trace`.

    Raises:
        UserError: see `expand.trace`; or the model does something in training that a copy cannot.
    """
    recording = _Recording()
    training = trace(model, signature, apart, True, recording.pass_on)
    if training.updates:
        path, variable = training.updates[0]
        raise UserError(
            f"layer {path} changes its variable {variable} in training, which a copy of it cannot; use a layer of "
            "Keras for that, such as BatchNormalization, or keep the variable fixed"
        )
    comparison = _Comparison(training, recording)
    inference = trace(model, signature, apart, False, comparison.pass_on)
    comparison.finish(inference)
    inference.losses = training.losses
    return inference


@dataclasses.dataclass
class _Difference:
    """Tensors of a layer that differ between the modes, and what stands for both in the trace in inference."""

    path: str
    inference: list[tf.Tensor] = dataclasses.field(default_factory=list)
    training: list[tf.Tensor] = dataclasses.field(default_factory=list)
    both: list[tf.Tensor] = dataclasses.field(default_factory=list)


class _Recording:
    """Records what layers are given and return in training."""

    def __init__(self) -> None:
        self.tensors: dict[tuple[str, int, int], tuple[list[tf.Tensor], int]] = {}
        self._numbers = _Numbers()

    def pass_on(self, found: Trace, kind: str, layer: Any, path: str, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        if kind == "outputs":
            tensors = [own_tensor(tensor) for tensor in tensors]
        number = self._numbers.next((kind, id(layer)))
        self.tensors[kind, id(layer), number] = (tensors, len(found.graph.get_operations()))
        return tensors


class _Comparison:
    """Compares what layers are given and return in inference with the same in training."""

    def __init__(self, training: Trace, recording: _Recording) -> None:
        self._training, self._recording = training, recording
        self._numbers, self._of_calls = _Numbers(), _Numbers()
        self._in_training = Digests(training)
        self._in_inference: Digests | None = None
        self._marked_calls = 0
        self._differences: list[_Difference] = []
        self._both: dict[tuple[str, str], tf.Tensor] = {}
        for key, call in _numbered(training.calls):
            for i, tensor in enumerate(call.outputs):
                self._in_training.mark(tensor, ("call", key, i))

    def pass_on(self, found: Trace, kind: str, layer: Any, path: str, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the tensors, or instead of those that differ the ones that stand for both modes."""
        number = self._numbers.next((kind, id(layer)))
        if (kind, id(layer), number) not in self._recording.tensors:
            return tensors
        others, position = self._recording.tensors[kind, id(layer), number]
        if len(others) != len(tensors):
            raise UserError(f"layer {path} has other inputs or outputs in training than in inference; make them equal")
        inference = self._digests(found)
        self._in_training.update(position)
        difference = _Difference(path)
        for mine, other in zip(tensors, others, strict=True):
            if (mine.name, other.name) not in self._both and inference.of(mine) != self._in_training.of(other):
                self._stand_in(mine, other, difference, inference)
        if difference.both:
            self._differences.append(difference)
            inference.update()
        return [self._both.get((mine.name, other.name), mine) for mine, other in zip(tensors, others, strict=True)]

    def _stand_in(self, mine: tf.Tensor, other: tf.Tensor, difference: _Difference, inference: Digests) -> None:
        if not mine.shape.is_compatible_with(other.shape) or mine.dtype != other.dtype:
            kinds = [f"{x.dtype.name} {tuple(x.shape)}" for x in (other, mine)]
            raise UserError(
                f"layer {difference.path} computes {kinds[0]} in training and {kinds[1]} in inference; make them "
                "equal, or do it to the data"
            )
        both = self._both[mine.name, other.name] = own_tensor(mine)
        difference.inference.append(mine)
        difference.training.append(other)
        difference.both.append(both)
        in_training_only = self._in_training.of(other) not in inference.tensors
        inference.mark(both, ("both", both.name))
        if in_training_only:
            self._in_training.mark(other, ("both", both.name))

    def _digests(self, found: Trace) -> Digests:
        """Returns the digests of the trace in inference, where stock layers have the same as in training."""
        if self._in_inference is None:
            self._in_inference = Digests(found)
        for call in found.calls[self._marked_calls :]:
            number = self._of_calls.next(id(call.layer))
            for i, tensor in enumerate(call.outputs):
                self._in_inference.mark(tensor, ("call", (id(call.layer), number), i))
        self._marked_calls = len(found.calls)
        self._in_inference.update()
        return self._in_inference

    def finish(self, found: Trace) -> None:
        """Adds the calls of training sides to the trace, and says which calls have the same mode in both."""
        modes = {key: call.training for key, call in _numbered(self._training.calls)}
        calls = [
            dataclasses.replace(call, training=call.training if modes.get(key) == call.training else None)
            for key, call in _numbered(found.calls)
        ]
        if self._differences:
            calls += self._sides(found)
        found.calls[:] = calls
        found.made_by.update((tensor.name, call) for call in calls for tensor in call.outputs)

    def _sides(self, found: Trace) -> list[Call]:
        inference = self._digests(found)
        probe = Probe(self._training)
        position = {operation.name: i for i, operation in enumerate(found.graph.get_operations())}
        places: dict[str, str] = {}
        calls = []
        for difference in self._differences:
            limit = position[difference.both[0].op.name]
            sources = {digest: x for digest, x in inference.tensors.items() if position[x.op.name] < limit}
            given, operations = self._given(probe, difference.training, sources)
            for operation in filter(_is_random, operations):
                if operation.name in places:
                    first, second = (path or found.graph.name for path in (places[operation.name], difference.path))
                    raise UserError(
                        f"what {first} and {second} compute in training has random numbers in common; draw them for "
                        "each, or move what uses them into one layer"
                    )
                places[operation.name] = difference.path
            if not given:
                given = [(next(iter(self._training.inputs.values())), next(iter(found.inputs.values())))]
            name = f"{difference.path.replace('/', '_') or found.graph.name}_training"
            side = TrainingSide(name, extracted(probe, [x for x, _ in given], difference.training))
            arguments = {"inference": difference.inference, "given": [x for _, x in given]}
            calls.append(Call(side, difference.path, arguments, {}, difference.both, difference.both, None))
        return calls

    def _given(
        self, probe: Probe, wanted: list[tf.Tensor], sources: dict[int, tf.Tensor]
    ) -> tuple[list[tuple[tf.Tensor, tf.Tensor]], list[tf.Operation]]:
        """Returns the tensors in training, each with its equal in inference, and operations that compute others."""
        pending, seen = list(wanted), set[str]()
        given: list[tuple[tf.Tensor, tf.Tensor]] = []
        operations: dict[str, tf.Operation] = {}
        while pending:
            tensor = pending.pop()
            if tensor.name in seen or not probe.depends_on_data(tensor):
                continue
            seen.add(tensor.name)
            source = sources.get(self._in_training.of(tensor))
            if source is not None and probe.is_known(tensor) and probe.has_batch(tensor):
                given.append((tensor, source))
            else:
                operations[tensor.op.name] = tensor.op
                pending += probe.parents(tensor)
        return given, list(operations.values())


class _Numbers:
    """Counts occurrences."""

    def __init__(self) -> None:
        self._next: dict[Any, int] = {}

    def next(self, key: Any) -> int:
        number = self._next.get(key, 0)
        self._next[key] = number + 1
        return number


def _numbered(calls: Sequence[Call]) -> list[tuple[tuple[int, int], Call]]:
    """Returns calls, each with its layer and how many calls of that layer come before it."""
    numbers = _Numbers()
    return [((id(call.layer), numbers.next(id(call.layer))), call) for call in calls]


def _is_random(operation: tf.Operation) -> bool:
    return "Random" in operation.type or operation.type.startswith(("Rng", "Multinomial"))
