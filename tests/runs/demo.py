"""Runs of small models of several tasks, for the tests of the Android demo: `python -m tests.runs.demo FOLDER`.

FOLDER gets a working folder for each. Its name sorts after that of the recipe whose models the tests use for the same
input, because the app offers the models of the first run first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import tensorflow as tf
import tf_keras

from tests.tiny import TINY, embedder_of, few_digits, scored, sentences
from tfcompress import Cluster, Export, compress
from tfcompress.data.dataset import SPLITS, Dataset
from tfcompress.data.tasks import Regression, Task, TokenClassification
from tfcompress.data.tokenizer import Tokenizer
from tfcompress.models.bert import BertConfig, Pooling, bert
from tfcompress.models.vit import vit


def runs() -> Iterator[tuple[str, tf_keras.Model, Dataset]]:
    """Yields the name of each run, its untrained model and its data."""
    words, digits = sentences(), few_digits()
    yield "text_embedding", embedder_of(_text_model(words, 3)), scored(words)
    yield (
        "text_number",
        _text_model(words, 1),
        _changed(words, Regression(), lambda text, y: (text, tf.cast(y, tf.float32))),
    )
    yield (
        "text_pairs",
        _text_model(words, 3),
        _changed(words, words.task, lambda text, y: (tf.stack([text, "the dog"]), y)),
    )
    tagged = _changed(words, TokenClassification(words.classes), _tag)
    assert isinstance(words.decode, Tokenizer)
    yield "text_tokens", _text_model(words, 3, "tokens"), replace(tagged, align=words.decode.align)
    # Its pictures are other ones than those of vit_digits, which are of the test split.
    yield "vit_embedding", embedder_of(vit(TINY, 10)), scored(replace(digits, test=digits.validation))


def _text_model(data: Dataset, units: int, pooling: Pooling = "tanh") -> tf_keras.Model:
    assert isinstance(data.decode, Tokenizer)
    config = BertConfig(
        data.decode.size, data.decode.sequence_length, width=16, depth=1, heads=2, mlp=32, pooling=pooling
    )
    return bert(config, units)


def _changed(data: Dataset, task: Task, change: object) -> Dataset:
    """Returns data of another task, whose examples `change` makes of the features and class of each."""
    splits = {one: getattr(data, one).map(change) for one in SPLITS}
    return replace(data, **splits, task=task, classes=data.classes if task.has_classes else ())


def _tag(text: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the words of a text, each with the class of the text."""
    words = tf.strings.split(text)
    return words, tf.fill([tf.size(words)], label)


if __name__ == "__main__":
    for name, model, data in runs():
        folder = Path(sys.argv[1]) / name
        # A test wants the run whose name comes last to have a packed file.
        techniques = [Cluster(clusters=16, training=False)] if name == "vit_embedding" else []
        compress(
            model, replace(data, name=name), techniques, folder, export=Export(formats=("float32",)), rehearsal=False
        )
