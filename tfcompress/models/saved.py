"""Loading a model that a file holds, without running code that the file brings along."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import tf_keras

from tfcompress.errors import UserError
from tfcompress.models.layers import CUSTOM_LAYERS


def load(path: Path) -> tf_keras.Model:
    """Loads a tf_keras model from `.h5`, `.keras` or a SavedModel folder.

    Raises:
        UserError: there is no such model, or it has a Lambda layer: its code would run as soon as it is loaded, from
            `.h5` in spite of Keras's safe mode.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; name a .h5 or .keras file or a SavedModel folder")
    try:
        if path.suffix in (".h5", ".hdf5"):
            with h5py.File(path) as file:
                config = json.loads(file.attrs["model_config"])
            if _has_lambda(config):
                raise UserError(
                    f"{path} has a Lambda layer, whose code would run now; write it as a Layer class instead"
                )
        return tf_keras.models.load_model(path, compile=False, custom_objects=CUSTOM_LAYERS)
    except UserError:
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be loaded as a tf_keras model: {str(error).splitlines()[0]}") from error


def _has_lambda(config: object) -> bool:
    if isinstance(config, dict):
        return config.get("class_name") == "Lambda" or any(_has_lambda(value) for value in config.values())
    return isinstance(config, list) and any(_has_lambda(value) for value in config)
