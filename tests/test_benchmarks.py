"""Programs in benchmarks/ that can run at once, on data which they generate, and the pages that show their results."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peer_rows import NEEDED, lacking
from benchmarks.training_free_rows import COMPARED_ROWS
from tests.native import has_runtime

ROOT = Path(__file__).parents[1]
PEERS = sum(not lacking(row) for row in NEEDED)
"""How many rows the installed extra `bench` adds to each of two models."""
QUICK = {
    "training_free": f"{10 + 2 * PEERS} files were made and measured",
    "halved_accuracy": "rows measured: 1",
    "vit_clusters": "rows measured: 3",
    "energy": "multiply-adds were counted",
    "ablations": "rows measured: 2",
    "halved_paper": "2 models were measured",
    "text_models": "2 models were measured",
    "training_step": "2 variants were measured",
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
    assert len(pictures) == 5
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


def test_what_the_comparison_says_is_what_the_results_show():
    """See docs/compared.md: what changes here is to be changed there."""
    models = json.loads((ROOT / "benchmarks/results/training_free.json").read_text())["models"]
    vit, bert = (
        {name: file for row in COMPARED_ROWS if row in rows for name, file in rows[row]["files"].items()}
        for rows in (models["deit_tiny"], models["minilm_l6"])
    )
    octav, blocks, int8 = (f"litert-quantizer, {kind}" for kind in ("int4 OCTAV", "int4 in blocks of 32", "int8"))
    stock, openvino = "stock converter, dynamic int8", "OpenVINO, NNCF int8"
    sixty_four, sixteen = (f"{clusters} clusters, compensated, float32" for clusters in (64, 16))
    packed = {name for name in vit if "compensated" in name}
    in_int8 = {name for name in packed if name.endswith("int8")}

    assert {name for name, file in vit.items() if file["change"]["p_value"] < 0.05} == {octav}
    assert {name for name, file in bert.items() if not file["change"]["low"] <= 0 <= file["change"]["high"]} == {
        blocks, int8, stock
    }  # fmt: skip
    likeness = {name: file["divergence"]["value"] for name, file in vit.items()}
    nearest = sorted(likeness, key=lambda name: round(likeness[name], 4))
    order = [int8, stock, sixty_four, "ONNX Runtime, dynamic int8", "64 clusters, compensated, int8"]
    order += ["tfmot, 64 clusters, stock file", openvino, sixteen, "16 clusters, compensated, int8", blocks, octav]
    assert nearest[1:] == order
    assert likeness[blocks] > 2 * likeness["16 clusters, compensated, int8"]
    assert (
        max((name for name in bert if name != "float32"), key=lambda name: bert[name]["cosine"]["value"]) == sixty_four
    )

    for files in (vit, bert):
        assert min(files, key=lambda name: files[name]["bytes"]) == sixteen
        assert max(files, key=lambda name: files[name]["memory"]) == openvino
        times = {name: file["time"] for name, file in files.items()}
        fastest = sorted(times, key=lambda name: times[name]["ratio"])[:3]
        assert set(fastest) == in_int8 | {octav}
        apart = files is vit
        assert all((times[name]["ratio_high"] < times[octav]["ratio_low"]) == apart for name in in_int8)
        assert times[openvino]["ratio_low"] > 1
    assert 0.92 < vit[octav]["zipped"] / vit[sixteen]["zipped"] < 0.94
    assert 4 < likeness[octav] / likeness[sixteen] < 5
    assert bert[octav]["zipped"] > bert[sixteen]["zipped"]
    assert vit["tfmot, 64 clusters, stock file"]["zipped"] > vit[sixty_four]["bytes"]
    assert max(vit[name]["memory"] for name in packed) < min(vit[name]["memory"] for name in set(vit) - packed)
    assert max(bert[name]["memory"] for name in packed) < min(bert[name]["memory"] for name in set(bert) - packed)
    assert models["deit_tiny"]["int8"]["processor_seconds"] < 2
    assert (
        30
        < models["deit_tiny"]["ours-16"]["processor_seconds"]
        < models["deit_tiny"]["ours-64"]["processor_seconds"]
        < 70
    )


def test_a_row_without_its_packages_is_skipped_in_one_line(monkeypatch):
    for package in NEEDED["openvino-int8"]:
        monkeypatch.setitem(sys.modules, package, None)
    assert lacking("openvino-int8") == (
        "openvino-int8: skipped, because it needs openvino, nncf: pip install 'tfcompress[bench]'"
    )
    assert lacking("int8") == ""


def test_what_the_page_says_of_text_models_is_what_the_results_show():
    """See docs/results.md, "Halving alone": what changes here is to be changed there."""
    rows = json.loads((ROOT / "benchmarks/results/text_models.json").read_text())["rows"]
    files = {name: row["files"] for name, row in rows.items()}
    lengths = ("32", "64", "128")

    def costs(name: str, kind: str) -> list[float]:
        file = files[name][kind]
        return [file["bytes"], file["memory"], *(file["time"][length]["ratio"] for length in lengths)]

    whole, half = costs("BERT-base", "float32"), costs("BERT-base halved", "float32")
    assert [round(100 * (1 - half[place] / whole[place])) for place in (1, -1)] == [74, 74]
    whole, half = costs("MiniLM-L6", "float32"), costs("MiniLM-L6 halved", "float32")
    assert [round(100 * (1 - half[place] / whole[place])) for place in (1, -1)] == [69, 72]
    for kind in files["DistilBERT"]:
        for peer in ("DistilBERT", "MobileBERT"):
            assert all(np.less(costs("MiniLM-L6 halved", kind), costs(peer, kind)))
        assert 0.9 < costs("BERT-base halved", kind)[-1] / costs("MobileBERT", kind)[-1] < 1.1
    for kinds in files.values():
        for length in lengths:
            assert min(kinds, key=lambda kind: kinds[kind]["time"][length]["ratio"]) == "packed_int8"
    for kinds in files.values():
        assert max(kinds["packed_float32"]["memory"], kinds["packed_int8"]["memory"]) < kinds["dynamic"]["memory"]


def test_what_the_pages_say_of_ablations_is_what_the_results_show():
    """See docs/results.md, docs/cluster.md and docs/clustering.md: what changes here is to be changed there."""
    rows = json.loads((ROOT / "benchmarks/results/ablations.json").read_text())["rows"]
    default = rows["16-default"]["divergence"]["value"]
    shown = {"k-means": 2.8, "scales-never": 1.5, "examples-32": 1.1}
    for name, times in shown.items():
        row = rows[f"16-{name}"]
        assert round(row["divergence"]["value"] / default, 1) == times
        assert row["beside"]["divergence"]["low"] > 0
    for name in ("weighted", "examples-64", "examples-128", "scales-never"):
        assert rows[f"16-{name}"]["beside"]["divergence"]["low"] > 0
    for name in ("scales-always", "examples-512", "damping-0.001", "damping-0.1", "damping-1.0"):
        change = rows[f"16-{name}"]["beside"]["divergence"]
        assert change["low"] < 0 < change["high"]
    for name, loses in {"k-means": 0.0027, "scales-never": 0.0007}.items():
        change = rows[f"64-{name}"]["beside"]["divergence"]
        assert round(change["value"], 4) == loses
        assert change["low"] > 0
    for name in ("scales-always", "examples-32"):
        change = rows[f"64-{name}"]["beside"]["divergence"]
        assert change["low"] < 0 < change["high"]
    top1 = [row["beside"]["top-1"] for row in rows.values() if "beside" in row and row["base"] == "deit-tiny"]
    assert all(change["low"] < 0 < change["high"] for change in top1)


def test_what_the_pages_say_of_ablations_with_training_is_what_the_results_show():
    """See docs/results.md and the pages of the techniques: what changes here is to be changed there."""
    rows = json.loads((ROOT / "benchmarks/results/ablations.json").read_text())["rows"]

    def top1(name: str) -> float:
        return round(100 * float(np.mean([one["value"] for one in rows[name]["quality"]])), 1)

    def changed(name: str) -> list[float]:
        return [round(100 * rows[name]["beside"]["top-1"][key], 2) for key in ("value", "low", "high")]

    for clusters, starts in ((64, ("linear", "density", "compensated")), (16, ("linear", "density"))):
        for start in starts:
            _, low, high = changed(f"cluster-{clusters}-{start}")
            assert low < 0 < high
    assert [round(rows[f"cluster-16{end}"]["divergence"]["value"], 4) for end in ("", "-compensated")] == [
        0.0045,
        0.0017,
    ]
    assert changed("cluster-16-compensated") == [-0.16, -0.31, -0.03]
    shown = {30: [0.34, 0.17, 0.52], 50: [-0.24, -0.45, -0.02], 70: [-2.41, -2.74, -2.06]}
    assert {percent: changed(f"prune-{percent}+cluster-64") for percent in shown} == shown
    other, usual = (f"{order}+quantize-2" for order in ("cluster-64+prune-50", "prune-50+cluster-64"))
    _, low, high = changed(other)
    assert low < 0 < high
    zipped = [sum(file["zipped"] for file in rows[name]["files"]) for name in (other, usual)]
    assert round(zipped[0] / zipped[1], 2) == 1.05
    _, low, high = changed("cluster-64+quantize-1")
    assert low <= 0 < high
    assert changed("cluster-64+quantize-4") == [0.14, 0.02, 0.26]
    whole = top1("fashion-mnist")
    shown_alone = {"halve": 77.2, "halve-distil": 79.0, "remove": 73.3, "remove-distil": 80.1, "whole-distil": 81.9}
    assert (whole, {name: top1(name) for name in shown_alone}) == (82.3, shown_alone)


def test_what_the_page_says_of_bits_that_are_shared_out_is_what_the_results_show():
    """See docs/results.md, "Bits under a budget" and "16 to 256 clusters": what changes here is to be changed there."""
    rows = json.loads((ROOT / "benchmarks/results/vit_clusters.json").read_text())["rows"]
    alone, tuned, sixteen, wider = (
        rows[name]["files"]["float32"]
        for name in ("compensated-shared", "distilled-shared", "compensated-16", "compensated-32")
    )
    assert (round(alone["divergence"]["value"], 4), round(tuned["divergence"]["value"], 4)) == (0.0187, 0.0178)
    assert round(alone["bytes"] / sixteen["bytes"], 2) == 1.08
    assert round(wider["bytes"] / alone["bytes"], 2) == 1.13
    assert wider["divergence"]["value"] < 0.01 < 0.03 < sixteen["divergence"]["value"]
    vit = json.loads((ROOT / "benchmarks/results/training_free.json").read_text())["models"]["deit_tiny"]
    files = {name: file for row in vit.values() for name, file in row["files"].items()}
    for name in ("litert-quantizer, int4 in blocks of 32", "litert-quantizer, int4 OSCAR"):
        assert files[name]["bytes"] > alone["bytes"]
        assert files[name]["divergence"]["value"] > 5 * alone["divergence"]["value"]
