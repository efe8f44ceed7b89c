"""Programs in benchmarks/ that can run at once, on data which they generate, and the pages that show their results."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
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


def test_the_pages_show_the_results(tmp_path):
    pages = {name: (ROOT / "docs" / name).read_text() for name in ("results.md", "compared.md")}
    for name, shown in pages.items():
        emptied = re.sub(r"(<!-- begin of .*? -->).*?(<!-- end of)", r"\1\n\2", shown, flags=re.DOTALL)
        assert emptied != shown
        (tmp_path / name).write_text(emptied)
    for module in QUICK:
        into = [f"--save=benchmarks/results/{module}.json", f"--table={tmp_path / 'results.md'}"]
        if module == "training_free":
            into.append(f"--compared={tmp_path / 'compared.md'}")
        run(module, "--render", *into)
    shutil.copy(ROOT / ".mdformat.toml", tmp_path)
    for name, shown in pages.items():
        subprocess.run([sys.executable, "-m", "mdformat", tmp_path / name], check=True)
        assert (tmp_path / name).read_text() == shown, "run `make results`"
    pictures = sorted(tmp_path.glob("*.svg"))
    assert len(pictures) == 4
    for picture in pictures:
        assert f"]({picture.name})" in pages["results.md"]
        drawn, shown = (_drawn(path.read_text()) for path in (picture, ROOT / "docs" / picture.name))
        assert drawn[0] == shown[0], "run `make results`"
        np.testing.assert_allclose(drawn[1], shown[1], atol=0.01)


def _drawn(svg: str) -> tuple[list[str], list[float]]:
    """Returns what a picture has but for its numbers, and those; ids are made of what may be rounded otherwise."""
    without = re.sub(r'((?:id|href)=")[^"]*|(url\()[^)]*', "", svg)
    number = r"-?\d+(?:\.\d+)?"
    return re.split(number, without), [float(found) for found in re.findall(number, without)]


def test_a_row_without_its_packages_is_skipped_in_one_line(monkeypatch):
    for package in NEEDED["openvino-int8"]:
        monkeypatch.setitem(sys.modules, package, None)
    assert lacking("openvino-int8") == (
        "openvino-int8: skipped, because it needs openvino, nncf: pip install 'tfcompress[bench]'"
    )
    assert lacking("int8") == ""
