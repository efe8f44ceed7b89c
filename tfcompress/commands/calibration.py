"""The examples that a file is calibrated with, for each of its signatures."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfcompress.errors import UserError, first_line
from tfcompress.files import has_suffix
from tfcompress.measure.interpreter import Example
from tfcompress.tflite.attached import ARCHIVE_ERRORS
from tfcompress.tflite.reading import open_file
from tfcompress.tflite.signatures import fed_shape, signed_inputs
from tfcompress.tflite.tensor import Tensor

Arrays = dict[str, npt.NDArray[Any]]


def needs_tensorflow(calibration: str | Sequence[Example] | None) -> bool:
    """Returns whether TensorFlow reads the examples; see `calibration_examples`."""
    return isinstance(calibration, str) and not has_suffix(calibration, ".npz")


def calibration_examples(
    calibration: str | Sequence[Example], count: int, model: str, reference: Path
) -> dict[str, list[Arrays]]:
    """Returns the examples of each signature, that of the first graph first.

    Args:
        calibration: a data set, `NAME` or `NAME:PATH`; a folder of pictures at any depth; a `.txt` file with one text a
            line, or a `.csv` or `.tsv` file with a column `text`; an `.npz` file of arrays by name; or examples without
            a batch axis. An input is called by its name, or by `SIGNATURE/NAME`, which goes first; a single array for a
            single input, by any.
        count: the largest number of examples.
        model: what messages call the model.
        reference: its `.tflite` file, with a signature for its first graph.

    Returns:
        By the name of the signature, examples without a batch axis by input name, in the types of the inputs.

    Raises:
        UserError: the examples cannot be read, there are none, or an input is missing, has another shape or type, or
            numbers that are not finite.
    """
    signatures = signed_inputs(open_file(reference))
    if not isinstance(calibration, str):
        found: Sequence[Example] = calibration[:count]
    elif not needs_tensorflow(calibration):
        found = _stored(Path(calibration), count)
    else:
        from tfcompress.commands.calibration_data import read_examples

        found = read_examples(calibration, count, model, reference)
    if not len(found):
        raise UserError("there are no examples to calibrate with; give at least one")
    names = [name for inputs in signatures.values() for name in inputs]
    rows = [_by_name(example, names) for example in found]
    return {
        signature: [_fitting(row, signature, inputs, model, len(signatures) > 1) for row in rows]
        for signature, inputs in signatures.items()
    }


def _by_name(example: Example, names: Sequence[str]) -> Arrays:
    if not isinstance(example, dict):
        return dict.fromkeys(names, example)
    return dict.fromkeys(names, *example.values()) if len(names) == len(example) == 1 else example


def _fitting(row: Arrays, signature: str, inputs: Mapping[str, Tensor], model: str, several: bool) -> Arrays:
    """Returns an example in the types that a signature takes.

    Raises:
        UserError: an input is missing, or has another shape or type, or numbers that are not finite.
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
        values, shape = np.asarray(row[own if own in row else name]), fed_shape(tensor)
        if values.shape != shape[1:] or not np.can_cast(values.dtype, tensor.dtype, "same_kind"):
            raise UserError(
                f"{model} takes {tensor.dtype} {shape} as {name}, but an example to calibrate with has {values.dtype} "
                f"{values.shape}; it must be {tensor.dtype} {shape[1:]}, with an axis for the examples in front in an "
                ".npz"
            )
        with np.errstate(over="ignore"):  # What is too large becomes infinite, as below.
            found[name] = values.astype(tensor.dtype)
        if np.issubdtype(found[name].dtype, np.inexact) and not np.isfinite(found[name]).all():
            raise UserError(
                f"an example to calibrate with has numbers in {name} that are not finite in {tensor.dtype}; remove the "
                "example or repair it"
            )
    return found


def _stored(path: Path, count: int) -> list[Example]:
    """Reads the first examples of an `.npz` file."""
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):  # np.load would take it for another kind of file.
                raise zipfile.BadZipFile("it is no archive, as np.savez writes it")
            with np.load(file, allow_pickle=False) as stored:
                arrays = {name: np.atleast_1d(stored[name])[:count] for name in stored.files}
    except ARCHIVE_ERRORS as error:
        raise UserError(f"{path} cannot be read as an .npz of arrays: {first_line(error)}") from error
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise UserError(f"{path} has arrays of different lengths: {sizes}; all must have the same number of examples")
    return [{name: array[i] for name, array in arrays.items()} for i in range(max(sizes.values(), default=0))]
