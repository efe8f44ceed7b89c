"""The whole line on real text: the shipped recipe, shortened, in a process of its own as a user starts it."""

import csv
import subprocess
import sys
from itertools import islice

import pytest
from ai_edge_litert.interpreter import Interpreter

from tfcompress.data.corpora import trec
from tfcompress.data.text import texts
from tfcompress.data.tokenizer import Tokenizer
from tfcompress.report.document import Report

TRAINED = {2: "distil", 3: "prune", 4: "cluster", 5: "quantize"}
QUESTIONS = {"train": 1200, "validation": 200, "test": 400}
SHORT = (
    "model.depth=1",
    "model.vocabulary=1000",
    "model.sequence_length=16",
    "training.epochs=4",
    "techniques[0].halve.examples=256",
    *(
        f"techniques[{number}].{name}.fit={{epochs: 1, batch_size: 150, learning_rate: 1.0e-3}}"
        for number, name in TRAINED.items()
    ),
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Report, object]:
    workdir, questions = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("questions")
    data = trec()
    for split, count in QUESTIONS.items():
        with (questions / f"{split}.tsv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, delimiter="\t")
            table.writerow(("text", "label"))
            labels = (data.classes[label] for label in data.labels[split])
            table.writerows(islice(zip(texts(data, split), labels, strict=True), count))
    changes = [f"--set={change}" for change in (*SHORT, f"data={{name: text_file, path: {questions}}}")]
    command = [sys.executable, "-m", "tfcompress", "run", "bert_half_trec", f"--workdir={workdir}", *changes]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "embedding" in ended.stdout
    return Report.load(workdir / "report.json"), workdir


def test_every_stage_has_its_file_and_the_last_is_the_smallest(finished):
    report, workdir = finished
    assert [v.stage for v in report.variants] == [
        "base", "halve", "trim_vocabulary", "distil", "prune", "cluster", "quantize"
    ]  # fmt: skip
    first, last = report.variants[0], report.variants[-1]
    assert last.scheme == "PCQAT"
    assert last.size.raw < first.size.raw / 6
    assert last.size.gzip < first.size.raw / 8
    assert not (workdir / "teacher").exists()


def test_the_compressed_model_still_answers(finished):
    report, _ = finished
    first, last = report.variants[0], report.variants[-1]
    assert first.quality[0].value > 0.5
    assert last.quality[0].value > first.quality[0].value - 0.15


def test_the_file_takes_what_a_phones_text_classifier_feeds(finished):
    _, workdir = finished
    interpreter = Interpreter(str(workdir / "model.tflite"))
    inputs = interpreter.get_signature_runner().get_input_details()
    assert set(inputs) == {"token_ids", "segment_ids", "padding_mask"}
    assert all(detail["dtype"].__name__ == "int32" and list(detail["shape"]) == [1, 16] for detail in inputs.values())
    with pytest.raises(RuntimeError, match="only allows mutating unknown dimensions"):
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], [1, 8], strict=True)


def test_the_vocabulary_travels_with_each_stage(finished):
    _, workdir = finished
    sizes = {path.name: len(Tokenizer.load(path).vocabulary) for path in sorted((workdir / "stages").iterdir())}
    assert sizes["00-base"] == sizes["01-halve"]
    assert sizes["02-trim_vocabulary"] <= sizes["01-halve"]
    assert sizes["06-quantize"] == sizes["02-trim_vocabulary"]


def test_every_kernel_and_table_is_int8_and_clustered(finished):
    report, _ = finished
    tensors = report.variants[-1].tensors
    assert {tensor.format for tensor in tensors} == {"int8"}
    assert max(tensor.distinct for tensor in tensors if not tensor.table) <= 64
    assert max(tensor.distinct for tensor in tensors if tensor.table) <= 256
    assert min(tensor.sparsity for tensor in tensors if not tensor.table) >= 0.49
