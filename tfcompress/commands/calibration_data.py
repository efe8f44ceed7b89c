"""Examples without labels that TensorFlow reads: pictures of a folder, texts of a file, or those of a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfcompress.commands.examples import examples_for, image_size, images, keep_tokenizer, tokens
from tfcompress.data import registry
from tfcompress.data.folders import unlabelled_pictures
from tfcompress.data.text import unlabelled_texts
from tfcompress.errors import UserError
from tfcompress.measure.comparison import Examples
from tfcompress.measure.interpreter import Example, Runner
from tfcompress.progress import track

_TEXTS = (".csv", ".tsv", ".txt")


def read_examples(calibration: str, count: int, model: str, reference: Path) -> list[Example]:
    """Returns examples as a model takes them; for arguments and errors see `calibration_examples`."""
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
