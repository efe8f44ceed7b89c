import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.measure.phone_reports import report_of
from tfcompress.export.converter import convert
from tfcompress.measure.comparison import Comparison
from tfcompress.report.document import Report

ROOT = Path(__file__).parents[2]
SHORT = ["--recipe=vit_digits", "--set=training={epochs: 1, batch_size: 1000}"]


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"tools/{name}.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_model_is_trained_then_compressed(tmp_path):
    trained = tool("train", *SHORT, f"--workdir={tmp_path}/trained")
    assert trained.returncode == 0, trained.stderr
    model = trained.stdout.strip()
    assert model == f"{tmp_path}/trained/stages/00-base/model.h5"
    short = ["--set=techniques=[]", "--set=export.formats=[float32]"]
    compressed = tool("compress", *SHORT, *short, f"--model={model}", f"--workdir={tmp_path}/compressed")
    assert compressed.returncode == 0, compressed.stderr
    assert "base float32" in compressed.stdout
    report = Report.load(tmp_path / "compressed" / "report.json")
    assert (report.title, len(report.variants)) == ("vit_digits on digits", 1)


def test_a_missing_model_is_one_line(tmp_path):
    ended = tool("compress", *SHORT, "--model=nothing.h5", f"--workdir={tmp_path}")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: nothing.h5 does not exist")
    assert ended.stderr.count("\n") == 1


def test_files_are_compared(tmp_path, tiny_vit):
    (tmp_path / "model.tflite").write_bytes(convert(tiny_vit, "float32"))
    file, figures, phone = str(tmp_path / "model.tflite"), tmp_path / "figures.json", tmp_path / "phone.json"
    phone.write_text(json.dumps(report_of({Path(file): {1: 2.0}})))
    ended = tool("benchmark", f"--files={file},{file}", "--rounds=2", f"--json={figures}", f"--from_phone={phone}")
    assert ended.returncode == 0, ended.stderr
    assert "32 random inputs" in ended.stdout
    found = Comparison.load(figures)
    assert (len(found.files), found.phone.rows[0].median_ms) == (2, 2.0)


def test_a_file_is_converted(tmp_path, tiny_vit):
    (tmp_path / "float.tflite").write_bytes(convert(tiny_vit, "float32"))
    arguments = [f"--model={tmp_path}/float.tflite", f"--output={tmp_path}/out.tflite", "--to=int4"]
    ended = tool("convert", *arguments)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{tmp_path}/out.tflite: int4, ")
    assert "Traceback" not in ended.stderr
