"""Whether a model file brings along code that would run when it is loaded, converted or used.

Keras does not ask for every such file: tf_keras runs a Lambda out of `.h5` even in its safe mode, and imports whatever
module a configuration names. So the file's configuration and graph are read before anything is loaded.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import tf_keras
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tf_keras.protobuf import saved_metadata_pb2

from tfcompress.errors import UserError

_CODE = {
    "Lambda": "a Lambda layer, whose code would run",
    "__lambda__": "a lambda function, whose code would run",
    "TFSMLayer": "a TFSMLayer, which would load another SavedModel",
    "TorchModuleWrapper": "a TorchModuleWrapper, whose pickle would run",
    "JaxLayer": "a JaxLayer, whose code would run",
    "FlaxLayer": "a FlaxLayer, whose code would run",
}
"""Classes that execute what their configuration holds."""

_FUNCTIONS = {"activations", "constraints", "initializers", "losses", "metrics", "ops", "regularizers"}
_CLASSES = _FUNCTIONS | {"dtype_policies", "engine", "layers", "mixed_precision", "models", "quantizers", "random"}
"""The parts of Keras that a model is made of; its others, such as `keras.utils`, open files and web addresses."""

_UNSAFE_OPERATIONS = re.compile(
    r"PyFunc|File|Reader|Save|Restore|MergeV2|Dataset|Summary|^Debug|^Print|Rpc|^(Send|Recv|Collective)"
)
"""Operations of TensorFlow that call Python, or reach files or other machines."""

_OF_A_SAVER = {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"}
"""What every SavedModel has to save and load its own variables."""

_UNSAFE_FUNCTIONS = re.compile(
    r"^(io|data|raw_ops|train|summary|saved_model|profiler|distribute|debugging|config|experimental|compat)\.|"
    r"^(py_function|numpy_function|load_library|load_op_library|function|print)$"
)
"""Functions of TensorFlow, by their public name, that do."""


def check_safe(path: Path) -> None:
    """Refuses a model file that can run code: `.h5`, `.keras`, or a SavedModel folder.

    Code is: Lambda layers and marshalled functions, however deep; classes and functions outside Keras that nobody
    registered, since their module would be imported; in a graph, operations that call Python or reach files.

    Raises:
        UserError: with what would run.
        OSError, ValueError, KeyError: what is there is no such file.
    """
    try:
        found = next(_found(path), "")
    except DecodeError as error:
        raise ValueError(str(error)) from error
    if found:
        raise UserError(f"{path} has {found}; load it only if you trust where it comes from, with --allow-code")


def _found(path: Path) -> Iterator[str]:
    for config in _configs(path):
        for part in _parts(config):
            yield from _in_part(part)
    if (path / "saved_model.pb").is_file():
        yield from _in_graphs(path / "saved_model.pb")


def _configs(path: Path) -> Iterator[Any]:
    """Yields the configurations in a file, as JSON holds them."""
    if path.is_dir():
        metadata = path / "keras_metadata.pb"
        if metadata.is_file():
            for node in saved_metadata_pb2.SavedMetadata.FromString(metadata.read_bytes()).nodes:
                yield json.loads(node.metadata or "null")
    elif h5py.is_hdf5(path):
        with h5py.File(path) as file:
            yield json.loads(file.attrs["model_config"])
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
        config.pop("compile_config", None)  # Loss and optimizer are not loaded.
        yield config


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """Yields every object of a configuration, however deep."""
    if isinstance(config, dict):
        yield config
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _parts(value)


def _in_part(part: dict[str, Any]) -> Iterator[str]:
    kind, config, module = part.get("class_name"), part.get("config"), part.get("module")
    if not isinstance(kind, str):
        return
    plain = kind.rpartition(">")[2]
    if plain in _CODE:
        yield _CODE[plain]
    if plain.endswith("OpLambda") and isinstance(config, dict):  # a function of TensorFlow between Keras layers
        function = str(config.get("function"))
        if _UNSAFE_FUNCTIONS.search(function):
            yield f"a call of tf.{function}"
    if not isinstance(module, str):
        return
    name = str(config) if kind == "function" else kind
    if not (_registered(name) or _registered(str(part.get("registered_name"))) or _keras_has(module, name, kind)):
        yield f"{module}.{name}, which is not Keras's, and whose module would be imported"


def _keras_has(module: str, name: str, kind: str) -> bool:
    """Tells whether a module is a part of Keras that models are made of; a dotted name may lead out of it."""
    library, *inner = [part for part in module.split(".") if part != "src"]
    if "." in name or library == "builtins":
        return "." not in name and kind == "function"  # of a built-in function Keras stores the name alone
    allowed = _FUNCTIONS if kind == "function" else _CLASSES
    return library in ("keras_hub", "keras_nlp") or (
        library in ("keras", "tf_keras") and (inner[0] in allowed if inner else kind != "function")
    )


def _registered(name: str) -> bool:
    """Tells whether this process knows a class or function by that name, which then is not taken from the file."""
    keras = sys.modules.get("keras")
    known = tf_keras.utils.get_registered_object(name)
    return known is not None or (keras is not None and keras.saving.get_registered_object(name) is not None)


def _in_graphs(path: Path) -> Iterator[str]:
    """Yields what is unsafe in any graph of a SavedModel."""
    for graph in saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs:
        functions = {function.signature.name: function.node_def for function in graph.graph_def.library.function}
        saver = {graph.saver_def.save_tensor_name.partition(":")[0], graph.saver_def.restore_op_name}
        entries = [node for node in graph.graph_def.node if node.name not in saver]
        for name in graph.object_graph_def.concrete_functions:
            entries += functions.get(name, ())
        savers = [node for node in graph.graph_def.node if node.name in saver]
        operations = _operations(entries, functions) | (_operations(savers, functions) - _OF_A_SAVER)
        for operation in sorted(filter(_UNSAFE_OPERATIONS.search, operations)):
            yield f"the operation {operation} in its graph, which calls Python or reaches files"


def _operations(nodes: Iterable[Any], functions: Mapping[str, Iterable[Any]]) -> set[str]:
    """Returns the operations of nodes and of all functions that they call."""
    pending, seen, found = list(nodes), set[str](), set[str]()
    while pending:
        node = pending.pop()
        found.add(node.op)
        for value in node.attr.values():
            for called in {function.name for function in (value.func, *value.list.func)} - seen:
                seen.add(called)
                pending += functions.get(called, ())
    return found
