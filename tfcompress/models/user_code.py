"""Imports the modules in which users define their own layers and models."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

import tf_keras

from tfcompress.errors import UserError, first_line


def import_modules(names: Sequence[str], allow_code: bool) -> None:
    """Imports modules from the current folder or the Python path, so that Keras knows their classes.

    Layers and models that a module defines without registering them are registered under their own names.

    Args:
        names: of the modules, as in Python's `import`.
        allow_code: whether their code may run.

    Raises:
        UserError: it may not, or a module cannot be imported.
    """
    if names and not allow_code:
        raise UserError(f"--import {names[0]} runs the code of that module; pass --allow-code too if you trust it")
    if names and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in names:
        if name.endswith(".py") or "/" in name:
            plain = name.removesuffix(".py").strip("./").replace("/", ".")
            raise UserError(f"--import is {name}; it takes the name of a module as in `import {plain}`")
        try:
            module = importlib.import_module(name)
        except (Exception, SystemExit) as error:  # whatever the module's own code raises
            raise UserError(
                f"--import {name} failed with {type(error).__name__}: {first_line(error)}; run the command in the "
                "folder of the module, or add that folder to PYTHONPATH"
            ) from error
        _register(module)


def _register(module: ModuleType) -> None:
    import keras

    for name, value in vars(module).items():
        if not isinstance(value, type) or value.__module__.partition(".")[0] in ("keras", "tf_keras"):
            continue
        if issubclass(value, tf_keras.layers.Layer) and tf_keras.utils.get_registered_name(value) == name:
            tf_keras.utils.get_custom_objects().setdefault(name, value)
        if issubclass(value, keras.layers.Layer) and keras.saving.get_registered_name(value) == name:
            keras.saving.get_custom_objects().setdefault(name, value)
