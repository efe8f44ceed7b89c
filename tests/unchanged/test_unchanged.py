"""What today's code writes, byte for byte: see tests.unchanged.files.py."""

import json

import pytest

from .files import FIGURES, figures, report_keys

GOLDEN = json.loads(FIGURES.read_text())


@pytest.mark.slow
def test_files_have_the_bytes_that_they_had(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = figures(tmp_path)
    assert found.keys() == GOLDEN["files"].keys()
    for name, expected in GOLDEN["files"].items():
        assert {what for what in expected if found[name][what] != expected[what]} == set(), name


@pytest.mark.slow
def test_a_report_has_the_keys_that_it_had(tmp_path):
    assert report_keys(tmp_path / "run") == GOLDEN["report"]
