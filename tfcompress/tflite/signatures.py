"""The signatures of a file, which say what the inputs and outputs of its graphs are called."""

from __future__ import annotations

from collections.abc import Sequence

from ai_edge_litert import schema_py_generated as schema

from tfcompress.errors import UserError
from tfcompress.names import distinct_names, plain_name
from tfcompress.tflite.graph import Model, Signature
from tfcompress.tflite.tensor import Shape, Tensor


def complete(model: Model, name: str) -> bool:
    """Gives a model what every reader needs, and returns whether it lacked something.

    That is a signature of the first graph, which is the one that runs, with the tensors' names; and codes of operators
    that readers of today understand, which `write` writes.

    Raises:
        UserError: the model has no outputs; `name` is what the message calls it.
    """
    graph = model.graphs[0]
    if not graph.outputs:
        raise UserError(f"{name} has no outputs, so it computes nothing; convert the model again")
    if any(signature.graph is graph for signature in model.signatures):
        return any(code.source is not None and _is_of_old_kind(code.source) for code in model.codes)
    inputs, outputs = _by_name(graph.inputs, "input"), _by_name(graph.outputs, "output")
    taken = [signature.name for signature in model.signatures]
    called = distinct_names([*taken, "serving_default"], "signature")[-1]
    model.signatures.insert(0, Signature(called, graph, inputs, outputs))
    return True


def signed_inputs(model: Model) -> dict[str, dict[str, Tensor]]:
    """Returns the inputs by name of the first signature of each graph, by the name of the signature."""
    found: dict[str, dict[str, Tensor]] = {}
    for graph in model.graphs:
        for signature in model.signatures:
            if signature.graph is graph:
                found[signature.name] = signature.inputs
                break
    return found


def fed_shape(tensor: Tensor) -> Shape:
    """Returns the shape in which an input is fed, where a free length is 1."""
    return tuple(abs(size) for size in tensor.shape)


def _is_of_old_kind(code: schema.OperatorCode) -> bool:
    """Returns whether TensorFlow up to 2.3 wrote an operator code, which has its number in the older field alone."""
    return bool(code.DeprecatedBuiltinCode() > code.BuiltinCode())


def _by_name(tensors: Sequence[Tensor], kind: str) -> dict[str, Tensor]:
    return dict(zip(distinct_names([plain_name(tensor.name) for tensor in tensors], kind), tensors, strict=True))
