import json
from pathlib import Path

import pytest

from tfcompress.errors import UserError
from tfcompress.measure.phone import load

from .phone_reports import MADE_UP, report_of


@pytest.fixture
def files(tmp_path) -> list[Path]:
    paths = [tmp_path / name for name in ("a.tflite", "b.tflite", "c.tflite")]
    for path in paths:
        path.write_text(path.name)
    return paths


def written(tmp_path: Path, report: object) -> Path:
    path = tmp_path / "phone.json"
    path.write_text(report if isinstance(report, str) else json.dumps(report))
    return path


def test_rows_come_in_the_order_of_the_files_and_ratios_are_within_a_number_of_threads(files, tmp_path):
    a, b, c = files
    found = load(written(tmp_path, report_of({a: {1: 2.0}, c: {1: 9.0}, b: {2: 3.0, 1: 4.0}}))).of({"B": b, "A": a})
    assert [(row.title, row.threads) for row in found.rows] == [("B", 1), ("B", 2), ("A", 1)]
    assert [found.ratio(row) for row in found.rows] == [1, 1, 0.5]
    assert found.rows[0].pss_mib == 2
    assert str(found.device) == "Nobody Made Up, Android 15 (API 35), arm64-v8a"


def test_a_machine_without_android_is_told_by_its_name(tmp_path):
    device = {
        "manufacturer": "Linux",
        "model": "Board",
        "android": None,
        "api": None,
        "abi": "aarch64",
        "cores": 4,
    }
    assert str(load(written(tmp_path, {**MADE_UP, "device": device})).device) == "Linux Board, aarch64"


def test_what_the_first_file_was_not_measured_with_has_no_ratio(files, tmp_path):
    a, b, _ = files
    found = load(written(tmp_path, report_of({a: {1: 2.0}, b: {1: 1.0, 4: 0.5}}))).of({"A": a, "B": b})
    assert [found.ratio(row) for row in found.rows] == [1, 0.5, None]


def test_a_file_that_is_not_in_the_app_is_named(files, tmp_path):
    report = load(written(tmp_path, report_of({files[0]: {1: 2.0}})))
    with pytest.raises(UserError, match=r"did not measure B, but vit/a\.tflite; compare the same files"):
        report.of({"A": files[0], "B": files[1]})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "tfcompress.android"}, "format: Input should be 'tfcompress.phone'"),
        ({"version": 2}, "version: Input should be 1"),
        ({"rows": [{"group": "vit"}]}, "rows.0.model: Field required"),
        ({"more": 1}, "more: Unexpected keyword argument"),
        ({"device": {}}, "device.manufacturer: Field required"),
    ],
)
def test_another_file_is_refused_with_the_place(change, said, tmp_path):
    with pytest.raises(UserError, match="is not what the demo app shares or") as error:
        load(written(tmp_path, {**MADE_UP, **change}))
    assert said in str(error.value)


def test_no_json_and_no_file_are_refused(tmp_path):
    with pytest.raises(UserError, match="the file: Invalid JSON"):
        load(written(tmp_path, "{"))
    with pytest.raises(UserError, match=r"cannot read .*No such file"):
        load(tmp_path / "missing.json")


@pytest.mark.parametrize(("key", "value"), [("median_ms", 0), ("median_ms", "inf"), ("sha256", "abc"), ("threads", 0)])
def test_a_figure_that_cannot_be_is_refused(key, value, files, tmp_path):
    report = report_of({files[0]: {1: 2.0}})
    report["rows"][0][key] = value
    with pytest.raises(UserError, match=f"rows.0.{key}"):
        load(written(tmp_path, report))
