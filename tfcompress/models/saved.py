"""Loads saved models without running code that the files contain."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError, first_line
from tfcompress.models.layers import CUSTOM_LAYERS
from tfcompress.models.safety import check_safe

_BROKEN = (OSError, AttributeError, ImportError, KeyError, TypeError, ValueError, BadZipFile, tf.errors.OpError)
"""The exceptions that Keras raises for a file that is not a model, or that it cannot load."""


def file_of(path: Path) -> Path:
    """Returns the path of the model file if `path` is the folder of a stage, and `path` itself otherwise."""
    file = path / "model.h5"
    return file if file.is_file() else path


def load(path: Path, allow_code: bool = False) -> tf_keras.Model:
    """Loads a tf_keras model from an `.h5` or `.keras` file or a SavedModel folder.

    Args:
        path: path of the file or folder.
        allow_code: whether to load the model even if it can run code; see `safety.check_safe`.

    Raises:
        UserError: if there is no valid model, or it can run code.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; name an .h5 or .keras file or a SavedModel folder")
    options: dict[str, object] = {"compile": False, "custom_objects": CUSTOM_LAYERS}
    if allow_code:
        options["safe_mode"] = False
    try:
        if not allow_code:
            check_safe(path)
        model = tf_keras.models.load_model(path, **options)
    except UserError:
        raise
    except _BROKEN as error:
        raise UserError(
            f"{path} cannot be loaded as a tf_keras model: {first_line(error)}; name an .h5 or .keras file or a "
            "SavedModel folder"
        ) from error
    if not isinstance(model, tf_keras.Model):
        raise UserError(
            f"{path} contains only a graph, not a tf_keras model, so its layers cannot be replaced; save the model "
            "itself as .h5 or .keras"
        )
    return model
