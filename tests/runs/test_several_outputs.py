"""Models with several outputs, through a whole run: question answering, where an answer begins and where it ends."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tfcompress import Cluster, Distil, Halve, Prune, Quantize, Remove, Training, compress
from tfcompress.data.dataset import SPLITS, Dataset
from tfcompress.data.tasks import Classification, OwnTask
from tfcompress.errors import UserError
from tfcompress.export.sources import open_source
from tfcompress.measure.comparison import compare
from tfcompress.measure.interpreter import Runner
from tfcompress.models.bert import BertConfig, bert
from tfcompress.runs.recipe import Export

FIT = Training(epochs=1, batch_size=64, learning_rate=1e-3)
NAMES = ["start", "stop"]
TOKENS = 8


class BothEnds(tf_keras.losses.Loss):
    """The cross-entropy of both positions."""

    def call(self, labels, outputs):
        of_token = tf.nn.sparse_softmax_cross_entropy_with_logits
        return of_token(labels[:, 0], outputs["start"]) + of_token(labels[:, 1], outputs["stop"])


class StartRight(tf_keras.metrics.SparseCategoricalAccuracy):
    """The share of answers that begin where they should."""

    def update_state(self, labels, outputs, sample_weight=None):
        return super().update_state(labels[:, 0], outputs["start"], sample_weight)


def exact(labels, outputs):
    """Returns which answers are right at both ends."""
    return np.all([outputs[name].argmax(1) == labels[:, place] for place, name in enumerate(NAMES)], axis=0)


def questions() -> Dataset:
    """Returns texts of eight tokens, in which the answer is what stands from token 1 to token 2."""
    rng = np.random.default_rng(0)
    splits = []
    for size in (384, 64, 64):
        ends = np.sort([rng.choice(TOKENS, 2, replace=False) for _ in range(size)], axis=1)
        ids = rng.integers(3, 16, (size, TOKENS))
        for place in (0, 1):
            ids[np.arange(size), ends[:, place]] = place + 1
        features = {"token_ids": ids.astype(np.int32), "padding_mask": np.ones_like(ids, np.int32)}
        splits.append((features, ends))
    return Dataset.from_arrays("questions", (), *splits, task=OwnTask(exact, "exact answer", percent=True))


@pytest.fixture(scope="module")
def answering() -> tf_keras.Model:
    """Returns a BERT that gives logits of the first and the last token of the answer, and finds most answers."""
    tf_keras.utils.set_random_seed(0)
    config = BertConfig(16, TOKENS, width=16, depth=1, heads=2, mlp=32, segments=0, pooling="tokens")
    encoder = bert(config, 2)
    start, stop = tf.unstack(encoder.output, axis=-1)
    model = tf_keras.Model(encoder.inputs, {"stop": stop, "start": start}, name="answering")
    (features, ends), *_ = questions().stream(384, 0, 0, 1).as_numpy_iterator()
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trained = tf_keras.Model(encoder.inputs, [start, stop])
    trained.compile(tf_keras.optimizers.Adam(0.01), [loss, loss])
    trained.fit(features, [ends[:, 0], ends[:, 1]], epochs=15, verbose=0)
    return model


@pytest.mark.slow
def test_an_answering_bert_through_all_techniques(answering, tmp_path, capsys):
    data = questions()
    techniques = [Prune(sparsity=0.25, schedule="constant", fit=FIT), Cluster(clusters=32, fit=FIT), Quantize(fit=FIT)]
    report = compress(answering, data, techniques, tmp_path, loss=BothEnds(), metrics=[StartRight(name="start")])
    assert "no folder for the Android demo, which shows" in capsys.readouterr().err
    assert {"loss", "val_loss", "start", "val_start"} <= report.history["01-prune"][0].keys()
    assert report.history["01-prune"][0]["start"] > 0.9

    features, ends = next(data.batches("test", 64).as_numpy_iterator())
    expected = {name: np.asarray(x) for name, x in answering(features).items()}
    files = [tmp_path / variant.file for variant in report.variants]
    assert [variant.scheme for variant in report.variants][-1] == "PCQAT"
    for file in files:
        assert list(Runner(file).results) == NAMES
    base, *_, last = report.variants
    assert base.quality[0].value == exact(ends, expected).mean() > 0.9
    assert last.quality[0].value > 0.8
    assert base.agreement.largest_difference < 1e-4

    examples = [{name: x[row] for name, x in features.items()} for row in range(64)]
    compared = compare([files[0], files[-1]], examples, ends, rounds=2, metrics=data.task.metrics(ends))
    assert [file.quality[0].value for file in compared.files] == [base.quality[0].value, last.quality[0].value]
    stage = open_source(tmp_path / "stages" / "02-cluster")
    assert list(stage.run({name: x[:1] for name, x in features.items()})) == NAMES

    again = compress(answering, data, techniques, tmp_path, loss=BothEnds(), metrics=[StartRight(name="start")])
    assert again.variants == report.variants


@pytest.mark.slow
def test_a_teacher_and_the_importance_of_heads(answering, tmp_path, rehearsed_here):
    fit = FIT.model_copy(update={"epochs": 3, "batch_size": 32})
    techniques = [Remove(heads=0.5, neurons=0.5), Distil(labels=0.5, fit=fit)]
    report = compress(
        answering, questions(), techniques, tmp_path, loss=BothEnds(), export=Export(formats=("float32",))
    )
    _, removed, taught = (variant.quality[0].value for variant in report.variants)
    assert min(removed, taught) > 0.9
    rows = report.history["02-distil"]
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]
    assert len(rehearsed_here) == 1
    assert list(Runner(tmp_path / report.variants[-1].file).results) == NAMES


@pytest.mark.parametrize(
    ("techniques", "options", "message"),
    [
        ([Halve()], {}, "halve: model answering has 2 outputs, and halve takes one"),
        ([Distil(states=1.0)], {}, r"distil.states: model answering has 2 outputs, .* leave states out"),
        ([Prune(fit=FIT)], {"metrics": ["accuracy"]}, "metrics: 'accuracy' takes one output, but the model has start"),
    ],
)
def test_what_takes_one_output_is_refused(answering, tmp_path, techniques, options, message):
    with pytest.raises(UserError, match=message):
        compress(answering, questions(), techniques, tmp_path / "work", loss=BothEnds(), **options)
    assert not (tmp_path / "work").exists()


def test_other_tasks_judge_one_output(answering, tmp_path):
    starts = {split: getattr(questions(), split).map(lambda x, y: (x, y[0])) for split in SPLITS}
    data = replace(questions(), **starts, classes=tuple("abcdefgh"), task=Classification())
    with pytest.raises(UserError, match=r"has the outputs start, stop, but classification judges one; .*OwnTask"):
        compress(answering, data, [], tmp_path / "work")
