"""Loads saved models of tf_keras and Keras 3 without running code that the files contain."""

from __future__ import annotations

import json
import re
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError, first_line
from tfcompress.models.layers import CUSTOM_OBJECTS
from tfcompress.models.safety import check_safe

_BROKEN = (
    OSError,
    AttributeError,
    ImportError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    tf.errors.OpError,
)
"""The exceptions that Keras raises for a file that is not a model, or that it cannot load."""

_UNKNOWN = re.compile(r"(?:Could not locate|Could not deserialize|Unknown)(?: \w+){1,2}:? '?([\w.>]+)'?")
"""What Keras says about a class or function that is not registered."""


def file_of(path: Path) -> Path:
    """Returns the path of the model file if `path` is the folder of a stage, and `path` itself otherwise."""
    file = path / "model.h5"
    return file if file.is_file() else path


def load(path: Path, allow_code: bool = False) -> Any:
    """Loads a model from an `.h5` or `.keras` file of tf_keras or Keras 3, or from a SavedModel folder of tf_keras.

    The model is one of the Keras that wrote the file. Classes of its own must have been registered with that Keras.

    Args:
        path: path of the file or folder.
        allow_code: whether to load the model even if it can run code; see `safety.check_safe`.

    Raises:
        UserError: if there is no valid model, it can run code, or a class of its own is unknown.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; name an .h5 or .keras file or a SavedModel folder")
    version = _keras_version(path)
    of_keras_3 = version.startswith("3.")
    kind = "Keras 3" if of_keras_3 else "tf_keras"
    try:
        if not allow_code:
            check_safe(path)
        model = _load_keras_3(path, allow_code) if of_keras_3 else _load_tf_keras(path, allow_code)
    except UserError:
        raise
    except _BROKEN as error:
        reason = str(error).rpartition("Exception encountered: ")[2]
        unknown = _UNKNOWN.search(reason)
        if unknown is not None:
            raise _unknown(path, unknown[1]) from error
        advice = (
            "mend the class or the file, or build the model in Python and pass it from there"
            if version
            else "name an .h5 or .keras file or a SavedModel folder"
        )
        raise UserError(
            f"{path} cannot be loaded as a {kind} model: {first_line(ValueError(reason))}; {advice}"
        ) from error
    if not of_keras_3 and not isinstance(model, tf_keras.Model):
        raise UserError(
            f"{path} contains only a graph, not a tf_keras model, so its layers cannot be replaced; save the model "
            "itself as .h5 or .keras"
        )
    for layer in model._flatten_layers():
        if type(layer).__module__.endswith("saved_model.load"):  # tf_keras puts its graph in place of the class
            raise _unknown(path, type(layer).__name__)
    if not getattr(model, "inputs", None):
        _call_once(model)
    return model


def _unknown(path: Path, name: str) -> UserError:
    return UserError(
        f"{path} has {name}, which is neither part of Keras nor registered; import the module that defines it before, "
        "on the command line with --allow-code --import MODULE"
    )


def _keras_version(path: Path) -> str:
    """Returns the version of Keras that wrote a file, or an empty string."""
    try:
        if path.is_file() and h5py.is_hdf5(path):
            with h5py.File(path) as file:
                return str(file.attrs.get("keras_version", ""))
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return ""


def _load_tf_keras(path: Path, allow_code: bool) -> Any:
    options: dict[str, object] = {"compile": False, "custom_objects": CUSTOM_OBJECTS}
    if allow_code:
        options["safe_mode"] = False
    return tf_keras.models.load_model(path, **options)


def _load_keras_3(path: Path, allow_code: bool) -> Any:
    import keras

    return keras.models.load_model(path, compile=False, safe_mode=not allow_code)


def _call_once(model: Any) -> None:
    """Calls a subclassed model on zeros, because Keras records only then what it takes; the file has the shapes."""
    shapes = getattr(model, "_build_shapes_dict", None) or {"": getattr(model, "_build_input_shape", None)}
    with suppress(Exception):  # The model's own code runs. What needs its inputs refuses it if they stay unknown.
        first, *others = (_zeros(shape, model) for shape in shapes.values())
        names = [name.removesuffix("_shape") for name in shapes][1:]
        model(first, training=False, **dict(zip(names, others, strict=True)))


def _zeros(shape: Any, model: Any) -> Any:
    """Returns an example, or a structure of examples, for a shape, or a structure of shapes, with a batch axis."""
    if isinstance(shape, dict):
        return {key: _zeros(part, model) for key, part in shape.items()}
    if all(side is None or isinstance(side, int) for side in shape):
        return tf.zeros([1, *shape[1:]], getattr(model, "input_dtype", "float32"))
    return [_zeros(part, model) for part in shape]
