"""Runs a file on LiteRT piece by piece, and carries the activations of all examples from cut to cut."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import count
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from tfcompress.errors import UserError, first_line
from tfcompress.measure.interpreter import Example, Port, without_batch
from tfcompress.names import distinct_names, is_mask, plain_name
from tfcompress.post_training.activations import MEMORY, Activations
from tfcompress.quiet import native_libraries_quiet
from tfcompress.tflite.graph import Graph, Model, Operator
from tfcompress.tflite.tensor import Array, Shape, Tensor
from tfcompress.tflite.writing import write_file

_MOST_THREADS = 4


class Pieces:
    """The activations of all examples at a cut through the first graph of a file.

    The operators before the cut have run once for each example, with the constants that they had then. Of their outputs
    those are kept that an operator behind the cut reads, and those of the graph.

    Args:
        model: without control flow and state.
        examples: features with or without a batch axis of the file's size.
        folder: an existing folder for temporary files.
        memory: how many bytes of activations are kept in memory.

    Raises:
        UserError: there are no examples; one has another shape than the file takes, or numbers that are not finite; or
            the file takes texts or inputs of no fixed size.
    """

    def __init__(self, model: Model, examples: Sequence[Example], folder: Path, memory: int = MEMORY) -> None:
        if not len(examples):
            raise UserError("there are no calibration examples; give a few hundred, or leave calibration out")
        self._model, self._graph, self._folder, self._done = model, model.graphs[0], folder, 0
        self._activations: Activations[Tensor] = Activations(len(examples), folder, memory)
        self._numbers = count()
        inputs = _inputs(model)
        masks = (tensor for name, (tensor, _) in inputs.items() if is_mask(name) and len(tensor.shape) <= 2)
        self._mask = next(masks, None)
        for example in examples:
            for tensor, values in _fed(example, inputs).items():
                self._activations.add(tensor, values)

    def run_to(self, operator: Operator | None) -> None:
        """Moves the cut on to just before an operator, or, with None, to the end.

        Raises:
            UserError: LiteRT cannot run an operator.
        """
        operators = self._graph.operators
        cut = len(operators) if operator is None else operators.index(operator)
        assert cut >= self._done, "a cut only moves on"
        piece, behind = operators[self._done : cut], operators[cut:]
        needed = {tensor for one in behind for tensor in one.inputs} | set(self._graph.outputs)
        if self._mask is not None:
            needed.add(self._mask)
        outputs = [tensor for one in piece for tensor in one.outputs if tensor in needed]
        if outputs:
            for found in self._run(piece, outputs, self._activations.examples):
                for tensor, values in zip(outputs, found, strict=True):
                    self._activations.add(tensor, values)
        self._activations.keep_only(needed)
        self._done = cut

    def behind(self, output: Tensor, examples: int) -> Callable[[], Array]:
        """Returns a function that runs what is behind the cut, once, with the constants that it has now.

        It may run in another thread, as long as the cut stays where it is.

        Args:
            output: of the graph.
            examples: how many, the first of all.

        Returns:
            The function, which returns the values `(examples, …)`, without a batch axis of their own; see
            `without_batch`.

        Raises:
            UserError: LiteRT cannot run an operator.
        """
        examples = min(examples, self._activations.examples)
        if output in self._activations:
            found = iter([[self._activations.get(output, place)] for place in range(examples)])
        else:
            found = self._run(self._graph.operators[self._done :], [output], examples)
        return lambda: np.stack([without_batch(values) for [values] in found])

    def rows(self, tensor: Tensor, rows: Callable[[Array], Array]) -> Iterator[Array]:
        """Yields the rows that `rows` makes of a tensor's values at the cut, for each example; a constant's once.

        If the file takes a mask `(1, tokens)` and there are as many rows, those where it is 0 are left out.
        """
        numbers = tensor.numbers()
        if numbers is not None:
            yield rows(numbers)
            return
        for place in range(self._activations.examples):
            found = rows(self._activations.get(tensor, place))
            if self._mask is not None:
                kept = self._activations.get(self._mask, place).ravel() != 0
                found = found[kept] if len(kept) == len(found) else found
            yield found

    def _run(self, operators: Sequence[Operator], outputs: Sequence[Tensor], examples: int) -> Iterator[list[Array]]:
        """Returns the outputs of operators, with the constants that they have now, for each of the first examples."""
        inputs = [tensor for one in operators for tensor in one.inputs if tensor in self._activations]
        inputs = list(dict.fromkeys(inputs))
        path = self._folder / f"piece_{next(self._numbers)}.tflite"
        write_file(_piece(self._model, operators, inputs, outputs), path)
        with _refusing(), native_libraries_quiet():
            interpreter = Interpreter(str(path), num_threads=min(os.cpu_count() or 1, _MOST_THREADS))
        path.unlink()
        return self._invoke(interpreter, inputs, examples)

    def _invoke(self, interpreter: Interpreter, inputs: Sequence[Tensor], examples: int) -> Iterator[list[Array]]:
        with _refusing():
            yield from self._outputs(interpreter, inputs, examples)

    def _outputs(self, interpreter: Interpreter, inputs: Sequence[Tensor], examples: int) -> Iterator[list[Array]]:
        places = [detail["index"] for detail in interpreter.get_input_details()]
        found = [detail["index"] for detail in interpreter.get_output_details()]
        shapes: list[Shape] = []
        for example in range(examples):
            values = [self._activations.get(tensor, example) for tensor in inputs]
            if shapes != (shapes := [one.shape for one in values]) or not example:
                # The file may leave a length free that the operators before the cut have determined.
                for place, shape in zip(places, shapes, strict=True):
                    interpreter.resize_tensor_input(place, shape)
                interpreter.allocate_tensors()
            interpreter.reset_all_variables()
            for place, one in zip(places, values, strict=True):
                interpreter.set_tensor(place, one)
            interpreter.invoke()
            yield [interpreter.get_tensor(place) for place in found]


@contextmanager
def _refusing() -> Iterator[None]:
    """Raises a `UserError` for what LiteRT raises."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"LiteRT cannot run the file on the calibration examples: {first_line(error).rstrip('.')}; give other "
            "examples, or leave calibration out"
        ) from error


def _inputs(model: Model) -> dict[str, tuple[Tensor, Port]]:
    """Returns the inputs of the first graph by the names of its signature, or else of the tensors."""
    graph = model.graphs[0]
    signed = next((one.inputs for one in model.signatures if one.graph is graph), {})
    names = {tensor: name for name, tensor in signed.items()}
    plain = distinct_names([names.get(one, plain_name(one.name)) for one in graph.inputs], "input")
    return {name: (tensor, _port(name, tensor)) for name, tensor in zip(plain, graph.inputs, strict=True)}


def _port(name: str, tensor: Tensor) -> Port:
    if not tensor.bits or tensor.dtype.startswith(("bfloat", "float8")):
        raise UserError(f"input {name} takes {tensor.dtype}; only a file that takes numbers can be calibrated")
    if -1 in tensor.free_shape[1:]:
        raise UserError(
            f"input {name} has no fixed size; convert the model for inputs of one size, or leave out the calibration"
        )
    return Port(name, 0, tensor.shape, np.dtype(tensor.dtype), 0.0, 0, False)


def _fed(example: Example, inputs: Mapping[str, tuple[Tensor, Port]]) -> dict[Tensor, Array]:
    """Returns the features of an example as the file takes them."""
    features = example if isinstance(example, Mapping) else dict.fromkeys(inputs, example)
    found = {}
    for name, (tensor, port) in inputs.items():
        if name not in features:
            raise UserError(f"the file takes {', '.join(inputs)}; the calibration examples have {', '.join(features)}")
        values = np.asarray(features[name])
        if values.shape not in (port.shape, port.shape[1:]):
            raise UserError(f"the file takes {port} as {name}; the calibration examples have shape {values.shape}")
        if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
            raise UserError(f"a calibration example has numbers in {name} that are not finite; remove it or repair it")
        found[tensor] = np.ascontiguousarray(np.broadcast_to(port.encoded(values), port.shape))
    return found


def _piece(model: Model, operators: Sequence[Operator], inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Model:
    """Returns a model of some operators of another one, which keeps its own."""
    used = [tensor for one in operators for tensor in (*one.inputs, *(one.intermediates or ()), *one.outputs)]
    scales = [scale for tensor in used for scale in tensor.scale_tensors.values()]
    tensors = [tensor for tensor in dict.fromkeys((*inputs, *used, *scales)) if tensor.dtype]
    # Copies, because an operator belongs to one graph.
    graph = Graph("", tensors, map(copy, operators), inputs, outputs)
    return Model(b"", list(model.codes), [graph], [], [], model.buffers[:1], None, model.source)
