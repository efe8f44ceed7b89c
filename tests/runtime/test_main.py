"""`python -m tfcompress_runtime` measures files, and `tfcompress compare --from-phone` reads what it prints."""

import subprocess
import sys

import pytest

from tests.build import build, graph, node, tensor
from tfcompress.measure import phone
from tfcompress_runtime import UserError
from tfcompress_runtime.benchmark import RUNS, measure

from .packed import text_encoder


def tanh(size: int) -> bytes:
    return build(graph([tensor("x", (1, size)), tensor("y", (1, size))], [node("TANH", (0,), (1,))], outputs=(1,)))


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tfcompress_runtime", "--seconds=0.01", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def packed(tmp_path_factory, library):
    """A packed file whose inputs are ids."""
    made, output = text_encoder()
    path = tmp_path_factory.mktemp("packed") / "packed.tflite"
    path.write_bytes(made.file(output))
    return path


@pytest.fixture
def stock(tmp_path):
    path = tmp_path / "stock.tflite"
    path.write_bytes(tanh(8))
    return path


def test_a_line_for_each_file_and_number_of_threads(packed, stock):
    ended = run(packed, stock, "--threads=1,2")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert [line.partition(": median ")[0] for line in lines] == [
        f"{packed}, 1 thread, packed",
        f"{packed}, 2 threads, packed",
        f"{stock}, 1 thread, stock",
        f"{stock}, 2 threads, stock",
    ]
    assert all("; peak memory " in line for line in lines)


def test_compare_reads_the_json(packed, stock, tmp_path):
    path = tmp_path / "measured.json"
    path.write_text(run(stock, packed, "--json").stdout)
    report = phone.load(path).of({"packed": packed, "stock": stock})
    assert [(row.title, row.delegate) for row in report.rows] == [("packed", "tfcompress"), ("stock", "xnnpack")]
    assert all(row.runs >= RUNS and 0 < row.median_ms <= row.p90_ms for row in report.rows)
    assert str(report.device).startswith("Linux ")


def test_memory_is_that_of_the_file(tmp_path):
    added, peaks = [], []
    for size in (1 << 22, 8):
        path = tmp_path / f"{size}.tflite"
        path.write_bytes(tanh(size))
        measured = measure(path, seconds=0)
        added.append(measured.added_mib)
        peaks.append(measured.peak_kib / 1024)
    assert added[0] - added[1] > 30  # the input and the output have 16 MiB each
    assert peaks[0] - peaks[1] > 30


def test_what_cannot_be_run_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no\.tflite does not exist; name a \.tflite file"):
        measure(tmp_path / "no.tflite")
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"nothing")
    ended = run(broken)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1].startswith(f"LiteRT cannot run {broken}: ")
    for threads in ("0", "two", "1,"):
        assert f"'{threads}' is not a list of numbers from 1 to 64" in run(broken, f"--threads={threads}").stderr
