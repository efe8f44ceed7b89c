import resource
import subprocess
import sys
from importlib.metadata import version

import pytest

from tfcompress.cli import main


def run(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["tfcompress", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capsys.readouterr()
    return int(stopped.value.code or 0), out, err


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
