"""Files of several lengths, through a whole run."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import tf_keras
from ai_edge_litert.interpreter import Interpreter as LiteRT
from rich.console import Console

from tests.native import has_runtime
from tests.packed.transformers import cluster
from tests.tiny import tiny_bert_of
from tfcompress import Cluster, Export, Quantize, Training, UserError, compress
from tfcompress.data.dataset import Dataset
from tfcompress.report.document import Report
from tfcompress.report.table import print_report
from tfcompress.runtime import Interpreter
from tfcompress.tflite.merging import first_graph

CHAIN = [Cluster(clusters=16, training=False), Quantize(fit=Training(epochs=1, batch_size=32, learning_rate=1e-4))]


def peaked(data: Dataset) -> tf_keras.Model:
    """Returns a BERT that nobody has trained, whose outputs differ much from text to text."""
    return cluster(tiny_bert_of(data))


@pytest.fixture(scope="module")
def finished(tiny_text, tmp_path_factory) -> tuple[Report, Path]:
    workdir = tmp_path_factory.mktemp("lengths")
    export = Export(clustered=has_runtime(), lengths=(6,))
    return compress(peaked(tiny_text), tiny_text, CHAIN, workdir, export=export), workdir


@pytest.fixture(scope="module")
def texts(tiny_text) -> list[dict[str, np.ndarray]]:
    examples = (features for features, _ in tiny_text.examples("test").as_numpy_iterator())
    return [{name: values[None] for name, values in features.items()} for features in examples]


def test_every_file_gives_the_same_at_every_length(finished, texts):
    report, workdir = finished
    for variant in report.variants:
        interpreter = Interpreter(workdir / variant.file)
        assert interpreter.lengths() == {6: "length_6", 12: "serving_default"}, variant.name
        longest = interpreter.get_signature_runner("serving_default")
        for text in texts[:16]:
            expected = longest(**text)["probabilities"]
            found = interpreter.run_text(text)["probabilities"]
            # Where activations are int8, a number between two steps may be rounded to either.
            exact = variant.format.startswith("float") and not variant.scheme
            assert np.abs(found - expected).max() <= (1e-5 if exact else 0.02) * expected.max(), variant.name


def test_every_length_is_compared_with_the_keras_model(finished):
    report, _ = finished
    for variant in report.variants:
        assert [one.tokens for one in variant.lengths] == [6, 12]
        for one in variant.lengths:
            assert one.agreement.largest_difference <= variant.agreement.largest_difference + 1e-3
        assert variant.lengths[-1].agreement.examples == 48
        assert variant.lengths[-1].latency.ratio == 1


def test_the_report_says_what_short_texts_cost(finished):
    report, workdir = finished
    text = io.StringIO()
    print_report(report, Console(file=text, width=180))
    assert {"6 tokens", "12 tokens"} <= {cell.strip() for cell in re.split("[┃│]", text.getvalue())}
    assert "<th>6 tokens</th>" in (workdir / "report.html").read_text()


def test_lengths_take_little_space(finished):
    report, workdir = finished
    for variant in report.variants:
        one = len(first_graph((workdir / variant.file).read_bytes()))
        assert one < variant.size.raw < 2 * one - sum(tensor.bytes for tensor in variant.tensors)


def test_clients_of_one_graph_get_the_longest(finished, texts):
    _, workdir = finished
    alone = LiteRT(str(workdir / "model.tflite"))
    assert list(alone.get_signature_list()) == ["serving_default"]
    whole = LiteRT(str(workdir / "tflite" / "02-quantize-int8.tflite"))
    found, expected = (one.get_signature_runner("serving_default")(**texts[0]) for one in (alone, whole))
    assert np.array_equal(found["probabilities"], expected["probabilities"])


def test_a_length_above_the_models_is_refused_before_anything_is_written(tiny_text, tmp_path):
    with pytest.raises(UserError, match="takes 12 tokens at most"):
        compress(peaked(tiny_text), tiny_text, CHAIN, tmp_path / "run", export=Export(lengths=(8, 16)))
    assert not (tmp_path / "run").exists()
