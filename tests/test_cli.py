import json
import re
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import tfcompress_runtime
from tests.build import build, graph, node, tensor
from tests.command_line import run
from tests.measure.phone_reports import report_of
from tfcompress.cli.program import as_user_sees
from tfcompress.export.converter import convert
from tfcompress.measure.comparison import Comparison


def test_the_version_is_the_packages(monkeypatch, capsys):
    assert run(monkeypatch, capsys, "--version")[:2] == (0, version("tfcompress") + "\n")


@pytest.mark.parametrize(
    ("verb", "expected"), [("recipes", "vit_fashion_mnist"), ("datasets", "image_folder"), ("presets", "minilm_l6")]
)
def test_what_there_is_is_listed(monkeypatch, capsys, verb, expected):
    status, out, _ = run(monkeypatch, capsys, verb)
    assert status == 0
    assert expected in out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("techniques[1].cluster.clusters=two", "techniques[1].cluster.clusters"),
        ("data.name=cifar", "the data sets are digits"),
        ("data={name: fashion_mnist, path: /nothing/here}", "/nothing/here has no train-images"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(monkeypatch, capsys, tmp_path, change, message):
    status, out, err = run(monkeypatch, capsys, "run", "vit_digits", "--workdir", str(tmp_path), "--set", change)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("allocate", "reason"),
    [
        (lambda: np.zeros(1 << 50), "Unable to allocate 8.00 PiB for an array"),
        (lambda: tf.zeros(1 << 50), "OOM when allocating tensor with shape[1125899906842624] and type float); use"),
    ],
)
def test_too_little_memory_is_one_line(capsys, allocate, reason):
    with pytest.raises(SystemExit, match="2"), as_user_sees():
        allocate()
    err = capsys.readouterr().err
    assert err.startswith(f"error: memory ran out ({reason}")
    assert err.count("\n") == 1


def test_a_workdir_below_a_file_is_named(monkeypatch, capsys, below_a_file):
    status, _, err = run(monkeypatch, capsys, "run", "vit_digits", "--workdir", str(below_a_file))
    assert status == 2
    assert f"error: cannot write {below_a_file}" in err
    assert err.count("\n") == 1


def test_a_full_disk_ends_in_one_line_and_no_half_written_file(tmp_path):
    command = [sys.executable, "-m", "tfcompress", "run", "vit_digits", "--workdir", str(tmp_path / "work")]
    changes = ["--set", "training={epochs: 1, batch_size: 1000}", "--set", "techniques=[]"]
    limit = 300_000  # Bytes a file may have: less than the model.
    ended = subprocess.run(
        command + changes,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "error: cannot write " in ended.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob("*.h5"))
    assert not list(tmp_path.rglob("*.tflite"))


def test_files_are_compared_and_the_figures_written(monkeypatch, capsys, tiny_vit, tmp_path):
    files = [tmp_path / f"{stored_as}.tflite" for stored_as in ("float32", "dynamic")]
    for path in files:
        path.write_bytes(convert(tiny_vit, path.stem))
    phone = tmp_path / "phone.json"
    phone.write_text(json.dumps(report_of({files[1]: {1: 1.5}, files[0]: {1: 2.0}})))
    options = ["--data", "digits", "--examples", "20", "--threads", "1,2", "--rounds", "2", "--from-phone", str(phone)]
    figures = tmp_path / "figures.json"
    status, out, _ = run(monkeypatch, capsys, "compare", *map(str, files), *options, "--json", str(figures))
    assert status == 0
    assert "digits, 20 test examples" in out
    found = Comparison.load(figures)
    assert [file.name for file in found.files] == ["float32", "dynamic"]
    assert found.threads == (1, 2)
    assert found.files[0].quality[0].cases == 20
    assert "On Nobody Made Up, Android 15" in out
    assert [found.phone.ratio(row) for row in found.phone.rows] == [1, 0.75]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "error: nothing.tflite does not exist"),
        (["--threads", "1,two"], "error: --threads is '1,two'"),
        (["--examples", "3"], "error: --path, --examples and --task belong to a data set"),
        (["--task", "embedding"], "error: --path, --examples and --task belong to a data set"),
        (["--data", "cifar"], "the data sets are digits"),
    ],
)
def test_a_comparison_that_cannot_be_made_is_one_line(monkeypatch, capsys, options, message):
    status, _, err = run(monkeypatch, capsys, "compare", "nothing.tflite", *options)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "command", [["compare"], ["convert", "-o", "out.tflite", "--to", "dynamic"], ["cluster", "-o", "out.tflite"]]
)
def test_a_file_that_may_crash_litert_is_one_line_and_leaves_nothing(monkeypatch, capsys, tmp_path, command):
    """An ADD without its second input, in whose place LiteRT reads whatever lies before its tensors."""
    monkeypatch.chdir(tmp_path)
    rows = [tensor(name, (1, 4)) for name in "xy"]
    (tmp_path / "a.tflite").write_bytes(build(graph(rows, [node("ADD", (0, -1), (1,))], outputs=(1,))))
    status, out, err = run(monkeypatch, capsys, *command, "a.tflite")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert re.search(r" a\.tflite: (the process died of SIGSEGV; |Tensor at index 1 )", err)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tflite"]


def test_a_file_is_clustered_and_warned_of(monkeypatch, capsys, tmp_path):
    x = tf_keras.Input((64,), name="x")
    source, output = tmp_path / "float16.tflite", tmp_path / "out.tflite"
    source.write_bytes(convert(tf_keras.Model(x, tf_keras.layers.Dense(64)(x)), "float16"))
    status, out, err = run(monkeypatch, capsys, "cluster", str(source), "-o", str(output), "--bits", "4", "--stock")
    assert status == 0
    assert out.startswith(f"{output}: stock; 1 kernel of at most 16 values (4 bits a weight)\n")
    assert "clustered by k-means, because there are no calibration data" in out
    assert "warning: the file stores weights as float16, so their rounding stays" in err


@pytest.fixture
def of_digits(tmp_path) -> Path:
    """A Keras file of a classifier of digits with random weights."""
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.Dense(48, "relu")(tf_keras.layers.Flatten()(image))
    tf_keras.Model(image, tf_keras.layers.Dense(10, "softmax")(x)).save(tmp_path / "model.h5")
    return tmp_path / "model.h5"


@pytest.mark.usefixtures("library")
def test_a_model_is_clustered_and_shown_beside_its_float_file(monkeypatch, capsys, of_digits, tmp_path):
    output, page = tmp_path / "small.tflite", tmp_path / "pages/proof.html"
    options = ["--data", "digits", "--page", str(page)]
    status, out, _ = run(monkeypatch, capsys, "cluster", str(of_digits), "-o", str(output), *options)
    assert status == 0
    assert out.startswith(f"{output}: packed")
    assert "digits, 450 test examples" in out
    assert out.endswith(f"{page}\n")
    assert (tmp_path / "small_float32.tflite").is_file()
    assert all(word in page.read_text() for word in ("small_float32", "top-1", "450"))


@pytest.mark.usefixtures("library")
def test_without_labelled_data_files_are_shown_on_the_calibration_examples(monkeypatch, capsys, of_digits, tmp_path):
    page, examples = tmp_path / "proof.html", tmp_path / "examples.npz"
    np.savez(examples, image=np.random.default_rng(0).random((40, 8, 8, 3), np.float32))
    shown = {"Compared on 30 calibration examples.": ["--calibration", str(examples), "--examples", "30"]}
    shown["Compared on 32 random inputs. They say little of the answers to real ones."] = []
    for sentence, options in shown.items():
        made = ["-o", str(tmp_path / "small.tflite"), "--page", str(page)]
        status, _, err = run(monkeypatch, capsys, "cluster", str(of_digits), *made, *options)
        assert status == 0, err
        assert sentence in page.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "digits"], "name the page with --page"),
        (["--path", "x"], "name the page with --page"),
        (["--page", "."], "error: . is a folder; name the file to write"),
        (["--page", "proof.html", "--data", "cifar"], "the data sets are digits"),
        (["--page", "small.tflite"], "error: small.tflite would replace another file that this command reads or"),
        (["--page", "model.h5"], "error: model.h5 would replace another file"),
        (["--page", "proof.html", "--calibration", "missing.npz"], "missing.npz cannot be read as an .npz"),
    ],
)
def test_a_page_that_cannot_be_made_is_refused_before_anything_is_clustered(
    monkeypatch, capsys, of_digits, tmp_path, options, message
):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(monkeypatch, capsys, "cluster", str(of_digits), "-o", "small.tflite", *options)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.h5"]


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--bits", "9"], "9 bits were asked for"), (["--budget-kl", "-1"], "a budget of -1 was given")],
)
def test_settings_are_checked_before_the_model_is_opened_for_the_page(monkeypatch, capsys, tmp_path, options, message):
    monkeypatch.chdir(tmp_path)
    command = ["cluster", "missing.h5", "-o", "small.tflite", "--page", "a.html", "--stock", *options]
    status, _, err = run(monkeypatch, capsys, *command)
    assert (status, err.count("\n")) == (2, 1)
    assert message in err


def test_a_file_is_not_compared_with_what_replaces_it(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tflite").write_bytes(b"a model")
    status, _, err = run(monkeypatch, capsys, "cluster", "a.tflite", "-o", "a.tflite", "--stock", "--page", "a.html")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("error: a.tflite would replace another file")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"a model"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["compare", "a.tflite", "--json", "./a.tflite"], "a.tflite would replace another file"),
        (["compare", "a.tflite", "--page", "a.tflite"], "a.tflite would replace another file"),
        (["compare", "a.tflite", "--json", "b", "--page", "b"], "b would replace another file"),
        (["compare", "a.tflite", "--from-phone", "b.json", "--json", "b.json"], "b.json would replace another file"),
        (["compare", "a.tflite", "--json", "a.tflite/b"], "cannot write a.tflite/b"),
        (["evaluate", "a.tflite", "--data", "digits", "--json", "a.tflite"], "a.tflite would replace another file"),
        (["evaluate", "a.tflite", "--data", "digits", "--json", "."], ". is a folder; name the file to write"),
        (["sensitivity", "a.h5", "--data", "digits", "--workdir", "a.tflite/w"], "cannot write a.tflite/w"),
        (["run", "none.yaml", "--workdir", "a.tflite"], "cannot write a.tflite/report.json: Not a directory"),
        (["sweep", "none.yaml", "--workdir", "a.tflite", "--grid", "seed=1,2"], "cannot write a.tflite/figures.json"),
        (["search", "none.yaml", "--workdir", "a.tflite"], "cannot write a.tflite/figures.json"),
        (
            ["cluster", "a.tflite", "-o", "b", "--workdir", "a.tflite", "--budget-kl", "1", "--calibration", "b.npz"],
            "cannot write a.tflite/bits.json",
        ),
        (["sensitivity", "a.h5", "--data", "digits", "--workdir", "w", "--json", "."], ". is a folder; name"),
    ],
)
def test_figures_that_cannot_be_written_are_refused_before_the_files_are_opened(
    monkeypatch, capsys, tmp_path, command, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tflite").write_bytes(b"damaged")
    status, _, err = run(monkeypatch, capsys, *command)
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith(f"error: {message}")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"damaged"]


def test_without_the_runtime_a_page_is_refused_before_anything_is_clustered(monkeypatch, capsys, of_digits, tmp_path):
    monkeypatch.setattr(tfcompress_runtime, "__path__", [])
    options = ["-o", str(tmp_path / "small.tflite"), "--page", str(tmp_path / "proof.html")]
    status, _, err = run(monkeypatch, capsys, "cluster", str(of_digits), *options)
    assert status == 2
    assert "the packed runtime" in err
    assert [path.name for path in tmp_path.iterdir()] == ["model.h5"]


def test_a_model_is_converted_and_a_model_with_code_is_not(monkeypatch, capsys, tmp_path):
    x = tf_keras.Input((4,), name="x")
    tf_keras.Model(x, tf_keras.layers.Dense(3)(x)).save(tmp_path / "safe.h5")
    tf_keras.Model(x, tf_keras.layers.Lambda(lambda v: v)(x)).save(tmp_path / "unsafe.h5")
    output = tmp_path / "out.tflite"
    status, out, _ = run(monkeypatch, capsys, "convert", f"{tmp_path}/safe.h5", "-o", str(output), "--to", "float32")
    assert status == 0
    assert out.startswith(f"{output}: float32, {output.stat().st_size:,} bytes, for TFLite ")
    assert "takes x float32 (1, 4)" in out
    output.unlink()
    status, out, err = run(
        monkeypatch, capsys, "convert", f"{tmp_path}/unsafe.h5", "-o", str(output), "--to", "float32"
    )
    assert (status, out, output.exists()) == (2, "", False)
    assert err.startswith(f"error: {tmp_path}/unsafe.h5 has a Lambda layer")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["run", "vit_digits", "--set", "techniques=[]", "--set", "export.formats=[float32]", "--model"],
        ["sensitivity", "--data", "digits", "--examples", "8"],
    ],
)
def test_a_stage_with_code_is_opened_when_that_is_allowed(monkeypatch, capsys, tmp_path, command):
    image = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.Flatten()(tf_keras.layers.Lambda(lambda v: v * 2)(image))
    tf_keras.Model(image, tf_keras.layers.Dense(10, name="head")(x)).save(tmp_path / "model.h5")
    arguments = [*command, str(tmp_path), "--workdir", str(tmp_path / "work")]
    status, _, err = run(monkeypatch, capsys, *arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{tmp_path}/model.h5 has a Lambda layer" in err
    status, out, _ = run(monkeypatch, capsys, *arguments, "--allow-code")
    assert (status, "head" in out or "base float32" in out) == (0, True)
