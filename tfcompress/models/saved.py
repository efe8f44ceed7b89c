"""Loading a model that a file holds, without running code that the file brings along."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError, first_line
from tfcompress.models.layers import CUSTOM_LAYERS
from tfcompress.models.safety import check_safe

_BROKEN = (OSError, AttributeError, ImportError, KeyError, TypeError, ValueError, BadZipFile, tf.errors.OpError)
"""What Keras raises for a file that is no model, or one it cannot rebuild."""


def file_of(path: Path) -> Path:
    """Returns the model's file in a stage's folder; any other path as it is."""
    file = path / "model.h5"
    return file if file.is_file() else path


def load(path: Path, allow_code: bool = False) -> tf_keras.Model:
    """Loads a tf_keras model from `.h5`, `.keras` or a SavedModel folder.

    Args:
        path: of the file or folder.
        allow_code: also load a file that can run code, see `safety.check_safe`.

    Raises:
        UserError: there is no such model, or it can run code.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; name a .h5 or .keras file or a SavedModel folder")
    options: dict[str, Any] = {"compile": False, "custom_objects": CUSTOM_LAYERS}
    if allow_code:
        options["safe_mode"] = False
    try:
        if not allow_code:
            check_safe(path)
        model = tf_keras.models.load_model(path, **options)
    except UserError:
        raise
    except _BROKEN as error:
        raise UserError(f"{path} cannot be loaded as a tf_keras model: {first_line(error)}") from error
    if not isinstance(model, tf_keras.Model):
        raise UserError(
            f"{path} holds no tf_keras model, only a graph, whose layers cannot be replaced; save the model itself as "
            ".h5 or .keras"
        )
    return model
