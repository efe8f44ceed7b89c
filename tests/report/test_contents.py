import io
import json
import subprocess
import sys

import numpy as np
import pytest
from pydantic import TypeAdapter
from rich.console import Console

from tests.build import build, constant, graph, node, tensor
from tfcompress.inspect.contents import Contents, inspect
from tfcompress.report.contents import print_contents, to_json


@pytest.fixture
def path(tmp_path):
    """A file of a lookup, a layer, a custom operator and metadata."""
    table = constant("table;fused/with", np.arange(800, dtype=np.float32).reshape(100, 8) % 4)
    weights = constant("[red]weights\x1b[2J", np.zeros((4, 8), np.float32))
    bias = constant("bias", np.ones(4, np.float32))
    results = (tensor("row", (1, 8)), tensor("y", (1, 4)), tensor("z", (1, 4)))
    nodes = [node("GATHER", (1, 0), (4,)), node("FULLY_CONNECTED", (4, 2, 3), (5,)), node("Clustered", (5,), (6,))]
    made = graph([tensor("ids", (1,), "int32"), table, weights, bias, *results], nodes, outputs=(6,))
    other = graph([tensor("x", (1,))], [], name="other")
    signatures = [("main", 0, {"ids": 0}, {"z": 6})]
    (tmp_path / "a.tflite").write_bytes(build(made, other, metadata={"note": b"hello"}, signatures=signatures))
    return tmp_path / "a.tflite"


def printed(contents: Contents) -> list[str]:
    text = io.StringIO()
    print_contents(contents, Console(file=text, width=160))
    return [" ".join(line.replace("│", " ").split()) for line in text.getvalue().splitlines()]


def test_totals_operators_and_a_row_a_weight_tensor(path):
    contents = inspect(path)
    lines = printed(contents)
    assert f"bytes {path.stat().st_size:,}" in lines
    assert f"weight bytes read {8 * 4 + 4 * 8 * 4 + 4 * 4}" in lines
    assert "FULLY_CONNECTED 1 1 1.5.0" in lines
    assert "Clustered 1 1 not known" in lines
    assert "minimum runtime: TFLite 1.6.0, as far as is known: not of Clustered 1" in lines
    assert "signature main takes: ids int32 (1,)" in lines
    assert "metadata: note (5 bytes)" in lines
    assert "graph 1 other 0 operators, reads 0 weight bytes" in lines
    assert "table;… GATHER 100 x 8 float32 4 25.0% 2.00 3,200 200" in lines
    assert any(
        line.startswith("Besides these, there are 1 tensors with at most one dimension: 4 parameters") for line in lines
    )
    assert not any(line.startswith("after") for line in lines)
    compressed = inspect(path, compressed=True)
    assert {f"after gzip {compressed.gzip:,}", f"after zstd {compressed.zstd:,}"} <= {*printed(compressed)}


def test_names_are_printed_as_they_are_and_do_nothing_to_a_terminal(path):
    (row,) = (line for line in printed(inspect(path)) if "weights" in line and "4 x 8" in line)
    assert "[red]weights\N{REPLACEMENT CHARACTER}[2J" in row


def test_json_holds_it_all(path):
    contents = inspect(path, compressed=True)
    assert TypeAdapter(Contents).validate_json(to_json(contents)) == contents


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from tfcompress.cli import main; import atexit; "
    program += "atexit.register(lambda: print('tensorflow' in sys.modules, file=sys.stderr)); main()"
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


def test_the_command_needs_no_tensorflow(path):
    found = command("inspect", str(path), "--json")
    assert json.loads(found.stdout)["parameters"] == 836
    assert found.stderr.strip() == "False"
    found = command("inspect", str(path.parent))
    assert (found.returncode, found.stderr.splitlines()[0]) == (
        2,
        f"error: {path.parent} is not a file; give the path of a .tflite file",
    )
