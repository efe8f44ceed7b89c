import json
import subprocess
import sys

import numpy as np
import pytest
from pydantic import TypeAdapter

from tfcompress.errors import UserError
from tfcompress.export.converter import convert
from tfcompress.measure.comparison import RANDOM_EXAMPLES, Comparison, compare
from tfcompress.measure.divergence import Mean
from tfcompress.measure.interpreter import predict
from tfcompress.measure.phone import PhoneReport
from tfcompress.measure.quality import TOP1, change, quality
from tfcompress.measure.size import size

from ..tiny import tiny_vit_of
from .phone_reports import MADE_UP


@pytest.fixture(scope="module")
def files(trained_weights, tmp_path_factory):
    """A trained model in two formats."""
    folder = tmp_path_factory.mktemp("files")
    model = tiny_vit_of(trained_weights)
    paths = [folder / f"{stored_as}.tflite" for stored_as in ("float32", "dynamic")]
    for path in paths:
        path.write_bytes(convert(model, path.stem))
    return paths


def test_all_is_measured_against_the_first_file(files, images, tiny_data, tmp_path):
    labels = tiny_data.labels["test"]
    found = compare(files, images, labels, threads=(1, 2), rounds=3, data="digits")
    first, second = found.files
    assert [file.name for file in found.files] == ["float32", "dynamic"]
    assert first.inputs == {"image": "float32 (1, 8, 8, 3)"}
    assert first.output == "probabilities: float32 (1, 10)"
    assert [file.size for file in found.files] == [size(path) for path in files]
    for file in found.files:
        assert [cost.threads for cost in file.costs] == [1, 2]
        assert all(
            cost.latency.median_ms > 0 and cost.memory.peak_rss > 0 and not cost.no_memory for cost in file.costs
        )
    assert all((c.latency.ratio, c.latency.ratio_low, c.latency.ratio_high) == (1, 1, 1) for c in first.costs)
    expected, outputs = (predict(path, images) for path in files)
    assert first.agreement is None
    assert second.agreement.examples == len(images)
    assert second.agreement.largest_difference == pytest.approx(np.abs(outputs - expected).max())
    assert second.agreement.top1_agreement == np.mean(outputs.argmax(1) == expected.argmax(1))
    assert first.divergence is second.cosine is None
    lost = (expected * np.log(expected / outputs)).sum(axis=1)
    assert second.divergence.value == pytest.approx(lost.mean(), rel=0.01)
    assert second.divergence.low < second.divergence.value < second.divergence.high
    before, after = (found.argmax(1) == labels for found in (expected, outputs))
    assert (first.quality, second.quality) == ((quality(TOP1, before),), (quality(TOP1, after),))
    assert (first.change, second.change) == ((), (change(TOP1, before, after),))
    assert found.versions["ai-edge-litert"].startswith("2.")
    assert found.machine["cores"] > 0

    found.save(tmp_path / "comparison.json")
    assert Comparison.load(tmp_path / "comparison.json") == found
    times = "--threads 1,2 --rounds 3"
    command = f"tfcompress compare {files[0]} {files[1]} --data digits --examples 64 {times}"
    assert json.loads((tmp_path / "comparison.json").read_text())["command"] == command


def test_what_is_no_comparison_is_told(tmp_path):
    (tmp_path / "other.json").write_text('{"date": "today"}')
    for name in ("other.json", "missing.json"):
        with pytest.raises(UserError, match=rf"{name} is not what `tfcompress compare --json`"):
            Comparison.load(tmp_path / name)


def test_files_of_another_make_are_compared_on_random_inputs(foreign):
    found = compare([foreign[name] for name in ("float", "uint8", "unsigned")], rounds=2)
    assert (found.data, found.described_data) == ("", f"{RANDOM_EXAMPLES} random inputs")
    _, quantized, unsigned = found.files
    assert 0 < quantized.agreement.largest_difference < 0.1
    assert unsigned.agreement.largest_difference == 0
    assert quantized.quality == quantized.change == ()
    again = compare([foreign["uint8"], foreign["float"]], rounds=2)
    assert 0 < again.files[1].agreement.largest_difference < 0.1


def test_random_ids_stay_in_the_table(foreign):
    found = compare([foreign["table"], foreign["table"]], rounds=2)
    assert [file.name for file in found.files] == [f"{foreign['table']} (1)", f"{foreign['table']} (2)"]
    assert found.files[1].agreement.largest_difference == 0


def test_outputs_that_are_no_class_scores_are_embeddings(foreign):
    files = [foreign["signatures"]] * 2
    embedded = compare(files, rounds=2).files[1]
    assert (embedded.divergence, embedded.cosine) == (None, Mean(1, 1, 1))
    named = compare(files, rounds=2, orders={files[0]: range(4)}).files[1]
    assert (named.divergence, named.cosine) == (Mean(0, 0, 0), None)


def test_states_of_padding_are_not_compared(foreign):
    rows = [([0, 1, 2, 3, 3], [1, 1, 1, 0, 0]), ([3, 2, 1, 1, 1], [1, 1, 1, 1, 1])]
    examples = [{"ids": np.int32(ids), "attention_mask": np.int32(mask)} for ids, mask in rows]
    found = compare([foreign["states"], foreign["padded"]], examples, rounds=2).files[1]
    assert found.agreement.largest_difference > 0.5
    assert found.cosine.value == pytest.approx(1)


def test_other_outputs_are_not_compared(foreign):
    found = compare([foreign["several"], foreign["signatures"]], rounds=2)
    assert found.files[0].output == "logits: float32 (1, 3)"
    assert found.files[1].output == "double: float32 (1, 4)"
    assert found.files[1].agreement is found.files[1].divergence is found.files[1].cosine is None


def test_each_file_may_have_its_own_examples(foreign, images):
    as_bytes = np.round(images * 255).astype(np.uint8)
    feeds = {foreign["float"]: images, foreign["uint8"]: [{"pixels": image} for image in as_bytes]}
    found = compare(list(feeds), feeds, rounds=2)
    assert found.files[1].agreement.largest_difference < 0.1
    assert (found.described_data, found.command) == (f"{len(images)} given examples", "")


def test_files_of_the_same_name_are_told_apart(files, tmp_path):
    copy = tmp_path / files[0].name
    copy.write_bytes(files[0].read_bytes())
    names = [file.name for file in compare([files[0], copy, files[1]], rounds=2).files]
    assert names == [str(files[0]), str(copy), "dynamic"]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (
            ["float", "table"],
            {},
            r"float\.tflite takes float32 \(1, 8, 8, 3\) as pixels, but .*table\.tflite takes int32",
        ),
        (["float", "garbage"], {}, r"garbage\.tflite"),
        (["missing"], {"phone": TypeAdapter(PhoneReport).validate_python(MADE_UP)}, r"missing\.tflite does not exist"),
        (["float"], {"rounds": 1}, "1 rounds"),
        (["float"], {"threads": (0,)}, r"\[0\] threads"),
        (["float"], {"examples": []}, "no examples"),
        (["float"], {"examples": np.zeros((2, 8, 8, 3)), "labels": np.zeros(3, int)}, "2 examples but 3 labels"),
        (
            ["float"],
            {"examples": np.zeros((1, 8, 8, 3)), "labels": np.array([10])},
            r"float gives outputs of shape \(10,\) per example, from which top-1 cannot be found: labels go up to 10",
        ),
    ],
)
def test_a_mistake_is_told(foreign, names, options, message):
    with pytest.raises(UserError, match=message):
        compare([foreign[name] for name in names], **options)


def test_tensorflow_is_not_needed(files, tmp_path):
    code = (
        "import sys; from pathlib import Path; from tfcompress.measure.comparison import compare\n"
        "compare([Path(sys.argv[1])], rounds=2).save(Path(sys.argv[2])); sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(files[0]), str(tmp_path / "c.json")], check=False)
    assert done.returncode == 0
    assert Comparison.load(tmp_path / "c.json").files[0].name == "float32"
