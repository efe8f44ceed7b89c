import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
AREAS = YAML(typ="safe").load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["area"]["strategy"]["matrix"][
    "include"
]


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area["area"])
def test_an_areas_targets_exist_and_their_packages_are_known(area):
    targets = set(area["targets"].split())
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    cases = re.findall(r"^    ([a-z |-]+)\)", (ROOT / "tools" / "packages.sh").read_text(), re.M)
    assert targets <= {target for case in cases for target in case.split(" | ")}


def test_the_workflow_covers_what_the_script_checks():
    script = (ROOT / ".ci" / "run").read_text()
    lists = re.findall(r"^\w+=\(([a-z -]+)\)$", script, re.M)
    checked = set(" ".join(lists).split())
    covered = {target for area in AREAS for target in area["targets"].split()}
    assert checked <= covered | {"test"}
    assert "coverage" in covered  # It runs the same tests.
    assert len(checked) > 8
