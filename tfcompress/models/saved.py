"""Loading a model that a file holds, without running code that the file brings along."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import BadZipFile

import h5py
import tensorflow as tf
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.layers import CUSTOM_LAYERS

_BROKEN = (OSError, AttributeError, KeyError, TypeError, ValueError, BadZipFile, tf.errors.OpError)
"""What Keras raises for a file that is no model, or one it cannot rebuild."""


def load(path: Path) -> tf_keras.Model:
    """Loads a tf_keras model from `.h5`, `.keras` or a SavedModel folder.

    Raises:
        UserError: there is no such model, or it has a Lambda layer: its code would run as soon as it is loaded, from
            `.h5` in spite of Keras's safe mode.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; name a .h5 or .keras file or a SavedModel folder")
    try:
        has_lambda = _has_lambda(path)
        model = None if has_lambda else tf_keras.models.load_model(path, compile=False, custom_objects=CUSTOM_LAYERS)
    except _BROKEN as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} cannot be loaded as a tf_keras model: {reason}") from error
    if has_lambda:
        raise UserError(f"{path} has a Lambda layer, whose code would run now; write it as a Layer class instead")
    return model


def _has_lambda(path: Path) -> bool:
    """Tells whether a saved model's configuration mentions a Lambda. Keras itself refuses one in a zipped `.keras`."""
    if path.is_dir():
        metadata = path / "keras_metadata.pb"
        config = metadata.read_bytes().decode(errors="replace") if metadata.is_file() else ""
    elif h5py.is_hdf5(path):
        with h5py.File(path) as file:
            config = str(file.attrs["model_config"])
    else:
        return False
    return re.search(r'"class_name":\s*"Lambda"', config) is not None
