"""Programs in benchmarks/ that can run at once, on data which they generate, and the pages that show their results."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peer_rows import NEEDED, lacking
from tests.native import has_runtime

ROOT = Path(__file__).parents[1]
PEERS = sum(not lacking(row) for row in NEEDED)
"""How many rows the installed extra `bench` adds to each of two models."""
QUICK = {
    "training_free": f"{10 + 2 * PEERS} files were made and measured",
    "vit_clusters": "3 rows were measured",
    "halved_paper": "2 models were measured",
}


def run(module: str, *options: str) -> str:
    command = [sys.executable, "-m", f"benchmarks.{module}", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not has_runtime(), reason="no packed runtime")
@pytest.mark.parametrize("module", QUICK)
def test_the_program_runs(module):
    assert QUICK[module] in run(module, "--quick")


def test_the_page_shows_the_results(tmp_path):
    shown = (ROOT / "docs/results.md").read_text()
    page = tmp_path / "results.md"
    page.write_text(re.sub(r"(<!-- begin of .*? -->).*?(<!-- end of)", r"\1\n\2", shown, flags=re.DOTALL))
    assert page.read_text() != shown
    for module in QUICK:
        run(module, "--render", f"--save=benchmarks/results/{module}.json", f"--table={page}")
    shutil.copy(ROOT / ".mdformat.toml", tmp_path)
    subprocess.run([sys.executable, "-m", "mdformat", page], check=True)
    assert page.read_text() == shown, "run `make results`"


def test_a_row_without_its_packages_is_skipped_in_one_line(monkeypatch):
    for package in NEEDED["openvino-int8"]:
        monkeypatch.setitem(sys.modules, package, None)
    assert lacking("openvino-int8") == (
        "openvino-int8: skipped, because it needs openvino, nncf: pip install 'tfcompress[bench]'"
    )
    assert lacking("int8") == ""
