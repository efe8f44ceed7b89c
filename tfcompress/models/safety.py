"""Detects model files that contain code which would run when they are loaded, converted or used.

Keras does not detect every such file: tf_keras runs a Lambda layer from an `.h5` file even in its safe mode, and
imports any module that a configuration names. Therefore the configuration and graph are checked before loading.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import h5py
import tf_keras
from google.protobuf.message import DecodeError
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf import saved_model_pb2
from tf_keras.protobuf import saved_metadata_pb2

from tfcompress.errors import UserError

_ELSEWHERE = "which is not part of Keras"

_CODE = {
    "Lambda": "a Lambda layer, whose code would run",
    "__lambda__": "a lambda function, whose code would run",
    "TFSMLayer": "a TFSMLayer, which would load another SavedModel",
    "TorchModuleWrapper": "a TorchModuleWrapper, whose pickle would run",
    "JaxLayer": "a JaxLayer, whose code would run",
    "FlaxLayer": "a FlaxLayer, whose code would run",
}
"""Classes that execute code in their configuration, each with its description in an error message."""

_FUNCTIONS = {"activations", "constraints", "initializers", "losses", "metrics", "ops", "regularizers"}
_CLASSES = _FUNCTIONS | {"dtype_policies", "engine", "layers", "mixed_precision", "models", "quantizers", "random"}
"""The submodules of Keras that a model consists of; others, such as `keras.utils`, can open files and URLs."""

_UNSAFE_OPERATIONS = re.compile(
    r"PyFunc|File|Reader|Save|Restore|MergeV2|Dataset|Summary|^Debug|^Print|Rpc|^(Send|Recv|Collective)"
)
"""TensorFlow operations that call Python, or access files or other machines."""

_SAVER_OPERATIONS = {"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"}
"""Operations with which every SavedModel saves and loads its own variables."""

_UNSAFE_FUNCTIONS = re.compile(
    r"^(io|data|raw_ops|train|summary|saved_model|profiler|distribute|debugging|config|experimental|compat)\.|"
    r"^(py_function|numpy_function|load_library|load_op_library|function|print)$"
)
"""The same for TensorFlow functions, by their public names."""


def check_safe(path: Path) -> None:
    """Refuses a model file, `.h5`, `.keras` or a SavedModel folder, that can run code.

    The following count as code: Lambda layers and marshalled functions at any depth; classes and functions that are
    neither part of Keras nor registered, because their module would be imported; and graph operations that call Python
    or access files.

    Raises:
        UserError: names the code that would run.
        OSError, ValueError, KeyError: if the file is not a valid model.
    """
    try:
        danger = next(_dangers(path), "")
    except DecodeError as error:
        raise ValueError(str(error)) from error
    if danger:
        own = " --import MODULE, which must define it" if _ELSEWHERE in danger else ""
        raise UserError(f"{path} has {danger}; load it only if you trust its source, with --allow-code{own}")


def _dangers(path: Path) -> Iterator[str]:
    """Yields a description of each piece of code in a model file."""
    for config in _configs(path):
        for part in _objects(config):
            yield from _dangers_of_object(part)
    if (path / "saved_model.pb").is_file():
        yield from _dangers_of_graphs(path / "saved_model.pb")


def _configs(path: Path) -> Iterator[object]:
    """Yields the Keras configurations in a file as decoded JSON."""
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
        config.pop("compile_config", None)  # the loss and optimizer are not loaded
        yield config


def _objects(config: object) -> Iterator[dict[str, object]]:
    """Yields every JSON object in a configuration, at any depth."""
    if isinstance(config, dict):
        yield config
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _objects(value)


def _dangers_of_object(part: dict[str, object]) -> Iterator[str]:
    kind, config, module = part.get("class_name"), part.get("config"), part.get("module")
    if not isinstance(kind, str):
        return
    plain = kind.rpartition(">")[2]
    if plain in _CODE:
        yield _CODE[plain]
    if plain.endswith("OpLambda") and isinstance(config, dict):  # a TensorFlow function between Keras layers
        function = str(config.get("function"))
        if _UNSAFE_FUNCTIONS.search(function):
            yield f"a call of tf.{function}"
    if not isinstance(module, str):
        return
    name = str(config) if kind == "function" else kind
    if not (_registered(name) or _registered(str(part.get("registered_name"))) or _keras_has(module, name, kind)):
        yield f"{module}.{name}, {_ELSEWHERE}, so its module would be imported"


def _keras_has(module: str, name: str, kind: str) -> bool:
    """Returns whether the name belongs to a submodule of Keras that models consist of.

    A dotted name is refused, because it may lead out of the submodule.
    """
    library, *inner = [part for part in module.split(".") if part != "src"]
    if "." in name or library == "builtins":
        return "." not in name and kind == "function"  # Keras stores built-in functions under their bare names
    allowed = _FUNCTIONS if kind == "function" else _CLASSES
    return library in ("keras_hub", "keras_nlp") or (
        library in ("keras", "tf_keras") and (inner[0] in allowed if inner else kind != "function")
    )


def _registered(name: str) -> bool:
    """Returns whether a class or function is registered with Keras under that name, so no module is imported for it."""
    keras = sys.modules.get("keras")
    known = tf_keras.utils.get_registered_object(name)
    return known is not None or (keras is not None and keras.saving.get_registered_object(name) is not None)


def _dangers_of_graphs(path: Path) -> Iterator[str]:
    """Yields a description of each unsafe operation in the graphs of a SavedModel."""
    for graph in saved_model_pb2.SavedModel.FromString(path.read_bytes()).meta_graphs:
        functions = {function.signature.name: function.node_def for function in graph.graph_def.library.function}
        saver = {graph.saver_def.save_tensor_name.partition(":")[0], graph.saver_def.restore_op_name}
        entries = [node for node in graph.graph_def.node if node.name not in saver]
        for name in graph.object_graph_def.concrete_functions:
            entries += functions.get(name, ())
        savers = [node for node in graph.graph_def.node if node.name in saver]
        operations = _operations(entries, functions) | (_operations(savers, functions) - _SAVER_OPERATIONS)
        for operation in sorted(filter(_UNSAFE_OPERATIONS.search, operations)):
            yield f"the operation {operation} in its graph, which calls Python or accesses files"


def _operations(nodes: Iterable[NodeDef], functions: Mapping[str, Iterable[NodeDef]]) -> set[str]:
    """Returns the operations of nodes and of all functions that they call, directly or indirectly."""
    pending, seen, found = list(nodes), set[str](), set[str]()
    while pending:
        node = pending.pop()
        found.add(node.op)
        for value in node.attr.values():
            for called in {function.name for function in (value.func, *value.list.func)} - seen:
                seen.add(called)
                pending += functions.get(called, ())
    return found
