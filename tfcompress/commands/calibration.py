"""The examples that a file is calibrated with, for each of its signatures."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfcompress.commands.examples import examples_for, image_size, images, keep_tokenizer, tokens
from tfcompress.data import registry
from tfcompress.data.folders import unlabelled_pictures
from tfcompress.data.text import unlabelled_texts
from tfcompress.errors import UserError
from tfcompress.export.quantizer import calibrated_signatures, port_shape
from tfcompress.measure.comparison import Examples
from tfcompress.measure.interpreter import Example, Runner
from tfcompress.progress import track
from tfcompress.tflite.tensor import Tensor

Arrays = dict[str, npt.NDArray[Any]]

_TEXTS = (".csv", ".tsv", ".txt")


def calibration_examples(
    calibration: str | Sequence[Example], count: int, model: str, reference: Path
) -> dict[str, list[Arrays]]:
    """Returns the examples of each signature, that of the first graph first.

    Args:
        calibration: a data set, `NAME` or `NAME:PATH`; a folder of pictures at any depth; a `.txt` file with one text a
            line, or a `.csv` or `.tsv` file with a column `text`; an `.npz` file of arrays by name; or examples without
            a batch axis. An input is called by its name, or by `SIGNATURE/NAME`, which goes first.
        count: the largest number of examples.
        model: what messages call the model.
        reference: its `.tflite` file, with a signature for its first graph.

    Returns:
        By the name of the signature, examples without a batch axis by input name, in the types of the inputs.

    Raises:
        UserError: the examples cannot be read, there are none, or an input is missing or has another shape or type.
    """
    signatures = calibrated_signatures(reference.read_bytes())
    if not isinstance(calibration, str):
        found: Sequence[Example] = calibration[:count]
    elif calibration.endswith(".npz"):
        found = _stored(Path(calibration), count)
    else:
        found = _read(calibration, count, model, reference)
    if not len(found):
        raise UserError("there are no examples to calibrate with; give at least one")
    names = [name for inputs in signatures.values() for name in inputs]
    rows = [example if isinstance(example, dict) else dict.fromkeys(names, example) for example in found]
    return {
        signature: [_fitting(row, signature, inputs, model, len(signatures) > 1) for row in rows]
        for signature, inputs in signatures.items()
    }


def _fitting(row: Arrays, signature: str, inputs: Mapping[str, Tensor], model: str, several: bool) -> Arrays:
    """Returns an example in the types that a signature takes.

    Raises:
        UserError: an input is missing, or has another shape or type.
    """
    found = {}
    for name, tensor in inputs.items():
        own = f"{signature}/{name}"
        if own not in row and name not in row:
            taker, hint = (f"signature {signature} of {model}", f" as {own}") if several else (model, "")
            raise UserError(
                f"{taker} takes {', '.join(inputs)}, but the examples to calibrate with are called {', '.join(row)}; "
                f"{name} is missing; give it{hint}"
            )
        values, shape = np.asarray(row[own if own in row else name]), port_shape(tensor)
        if values.shape != shape[1:] or not np.can_cast(values.dtype, tensor.dtype, "same_kind"):
            raise UserError(
                f"{model} takes {tensor.dtype} {shape} as {name}, but an example to calibrate with has {values.dtype} "
                f"{values.shape}; it must be {tensor.dtype} {shape[1:]}, with an axis for the examples in front in an "
                ".npz"
            )
        found[name] = values.astype(tensor.dtype)
    return found


def _stored(path: Path, count: int) -> list[Example]:
    """Reads the first examples of an `.npz` file."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: np.atleast_1d(stored[name])[:count] for name in stored.files}
    except (EOFError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read as an .npz of arrays: {error}") from error
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise UserError(f"{path} has arrays of different lengths: {sizes}; all must have the same number of examples")
    return [{name: array[i] for name, array in arrays.items()} for i in range(max(sizes.values(), default=0))]


def _read(calibration: str, count: int, model: str, reference: Path) -> list[Example]:
    """Returns pictures of a folder, texts of a file or training examples of a data set, as the model takes them."""
    try:
        keep_tokenizer(Path(model), reference)
        feed = _feed(calibration, count, reference)
        return [
            tf.nest.map_structure(np.asarray, example)
            for example in track(feed, f"reading {calibration.partition(':')[0]}", len(feed))
        ]
    except UserError as error:
        raise UserError(str(error).replace(str(reference), model)) from error


def _feed(calibration: str, count: int, reference: Path) -> Examples:
    given = Path(calibration)
    if calibration.partition(":")[0] in registry.NAMES or given.suffix.lower() in registry.YAML:
        return examples_for([reference], calibration, None, count, "train").feeds[reference]
    if given.is_dir():
        runner = Runner(reference)
        return images(reference, runner, unlabelled_pictures(given, image_size(reference, runner), count))
    if given.suffix.lower() in _TEXTS:
        texts = tf.data.Dataset.from_tensor_slices(unlabelled_texts(given, count))
        return tokens(reference, Runner(reference), texts)
    raise UserError(
        f"{calibration} is no data set ({', '.join(registry.NAMES)}), no folder of pictures that is there, and no "
        ".txt, .csv, .tsv or .npz file; give one of these to calibrate with"
    )
