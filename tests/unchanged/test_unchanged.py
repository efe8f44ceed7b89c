"""Compares what the code writes with recorded figures, byte for byte; see `tests.unchanged.files`."""

import json

import pytest

from .files import FIGURES, figures, report_keys

GOLDEN = json.loads(FIGURES.read_text())


@pytest.mark.slow
def test_files_have_unchanged_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = figures(tmp_path)
    assert found.keys() == GOLDEN["files"].keys()
    for name, expected in GOLDEN["files"].items():
        assert {what for what in expected if found[name][what] != expected[what]} == set(), name


@pytest.mark.slow
def test_a_report_has_unchanged_keys(tmp_path):
    assert report_keys(tmp_path / "run") == GOLDEN["report"]
